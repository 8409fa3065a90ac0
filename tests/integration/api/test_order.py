from decimal import Decimal

import httpx
import pytest
from app.domain.money import EXACT, cash_value, format_amount, subtract
from app.replay import ReplayExchange
from tests.conftest import Installation, Person, new_person
from tests.integration.api.test_conventions import assert_is_error

JSON = {"Content-Type": "application/json"}


async def price_of(client: httpx.AsyncClient, symbol: str) -> Decimal:
    response = await client.get("/market/price", params={"symbol": symbol})
    assert response.status_code == 200, response.text
    return Decimal(response.json()["data"]["price"])


async def moved_price_of(
    client: httpx.AsyncClient, symbol: str, exchange: ReplayExchange
) -> Decimal:
    """Once it is another: an hour later it may be what it was, as where a day has its high."""
    before = await price_of(client, symbol)
    while (now := await price_of(client, symbol)) == before:
        exchange.clock.advance(3_600_000)
    return now


@pytest.mark.parametrize(
    "body",
    [{}, {"symbol": "BTCUSDT"}, {"quantity": "1"}, {"symbol": "", "quantity": "1"},
     {"symbol": "ELEVENCHARS", "quantity": "1"}, {"symbol": "BTCUSDT", "quantity": "0"},
     {"symbol": "BTCUSDT", "quantity": "-1"}, {"symbol": "BTCUSDT", "quantity": "1e-21"},
     {"symbol": "BTCUSDT", "quantity": "10000000000"}],
)  # fmt: skip
async def test_an_order_that_breaks_a_rule_is_422_and_books_nothing(
    ada: Person, body: dict[str, object]
) -> None:
    assert_is_error(await ada.client.post("/order", json=body), 422)
    assert await ada.balance() == 1_000_000
    assert (await ada.client.get("/order")).json()["data"]["orders"] == []


async def test_an_unknown_symbol_is_refused_in_an_order_and_not_found_as_a_quote(
    ada: Person,
) -> None:
    for symbol in ("NOSUCH", "BTC/USDT", "É", "B C"):
        order = await ada.client.post("/order", json={"symbol": symbol, "quantity": "1"})
        assert_is_error(order, 400, "unknown_symbol")
        assert order.json()["message"] == "unknown symbol"
    quote = await ada.client.get("/market/price", params={"symbol": "NOSUCH"})
    assert_is_error(quote, 404, "unknown_symbol")
    assert quote.json()["message"] == "unknown symbol"


async def test_an_order_is_bought_and_sold_at_the_venues_price_to_the_last_digit(
    ada: Person, exchange: ReplayExchange
) -> None:
    quantity = Decimal("0.12345678901234567891")
    buy = await price_of(ada.client, "BTCUSDT")
    opened = await ada.client.post(
        "/order",
        content=f'{{"symbol": " btcusdt ", "quantity": {quantity}}}'.encode(),
        headers=JSON,
    )
    assert opened.status_code == 201, opened.text
    order = opened.json()["data"]
    cost = cash_value(buy, quantity)
    assert set(order) == {
        "id", "symbol", "buy_price", "status", "quantity", "user_id", "created_at", "updated_at",
        "buyAggregate", "diffDollar",
    }  # fmt: skip
    assert order["symbol"] == "BTCUSDT"
    assert order["status"] == 1
    assert order["quantity"] == "0.12345678901234567891"
    assert order["buy_price"] == format_amount(buy)
    assert order["buyAggregate"] == format_amount(cost)
    assert order["diffDollar"] == "0.00000000000000000000"
    assert await ada.balance() == subtract(Decimal(1_000_000), cost)

    again = await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "0.001"})
    assert_is_error(again, 400, "rejection")
    assert again.json()["message"] == "rejection"

    sell = await moved_price_of(ada.client, "BTCUSDT", exchange)
    closed = await ada.client.request("DELETE", "/order", json={"symbol": "btcusdt"})
    assert closed.status_code == 200, closed.text
    assert closed.json()["message"] == "sell order complete"
    done = closed.json()["data"]
    proceeds = cash_value(sell, quantity)
    assert done["status"] == 2
    assert done["sell_price"] == format_amount(sell)
    assert done["diff"] == format_amount(subtract(sell, buy))
    assert done["sellAggregate"] == format_amount(proceeds)
    assert done["diffDollar"] == format_amount(subtract(proceeds, cost))
    gained = EXACT.subtract(await ada.balance(), Decimal(1_000_000))
    assert gained == Decimal(done["diffDollar"])


async def test_zero_is_shown_and_only_absence_is_dropped(ada: Person) -> None:
    await ada.client.post("/order", json={"symbol": "ETHUSDT", "quantity": "1"})
    closed = (await ada.client.delete("/order/ethusdt")).json()["data"]
    assert closed["diff"] == closed["diffDollar"] == "0.00000000000000000000"
    assert await ada.balance() == 1_000_000


async def test_an_order_is_closed_by_body_by_query_or_by_path(ada: Person) -> None:
    for request in (
        {"url": "/order", "json": {"symbol": "BTCUSDT"}},
        {"url": "/order/", "params": {"symbol": "btcusdt"}},
        {"url": "/order/BTCUSDT"},
        {"url": "/order", "json": {"symbol": "BTCUSDT"}, "params": {"symbol": "BTCUSDT"}},
    ):
        opened = await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "1"})
        assert opened.status_code == 201
        closed = await ada.client.request("DELETE", **request)
        assert closed.status_code == 200, closed.text
        assert closed.json()["data"]["id"] == opened.json()["data"]["id"]


async def test_a_close_that_names_no_symbol_or_two_is_422(ada: Person) -> None:
    assert_is_error(await ada.client.delete("/order"), 422)
    two = await ada.client.request(
        "DELETE", "/order", params={"symbol": "ETHUSDT"}, json={"symbol": "BTCUSDT"}
    )
    assert_is_error(two, 422)
    await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "0.01"})
    for symbols in (["BTCUSDT", "ETHUSDT"], ["ETHUSDT", "BTCUSDT"]):
        both = await ada.client.delete("/order", params={"symbol": symbols})
        assert_is_error(both, 422, "validation_error")
        assert "more than one symbol" in both.json()["message"]
    assert (await ada.client.get("/order?active=true")).json()["meta"]["total_count"] == 1


async def test_closing_nothing_is_refused_before_any_price_is_fetched(
    ada: Person, bob: Person, exchange: ReplayExchange
) -> None:
    await ada.client.post("/order", json={"symbol": "SOLUSDT", "quantity": "1"})
    asked = exchange.requests.count()
    response = await bob.client.delete("/order/SOLUSDT")
    assert_is_error(response, 400, "order_not_found")
    assert response.json()["message"] == "order not found"
    assert exchange.requests.count() == asked


async def test_nobody_buys_what_they_cannot_pay(bob: Person) -> None:
    response = await bob.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "0.0001"})
    assert_is_error(response, 400, "insufficient_balance")
    assert response.json()["message"] == "insufficient balance"
    assert (await bob.client.get("/order")).json()["meta"]["total_count"] == 0


async def test_proceeds_beyond_the_limit_leave_the_position_open(
    installation: Installation,
) -> None:
    rich = await new_person(installation, balance="9999999999.99999999999999999999")
    await rich.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "1"})
    cost = EXACT.subtract(Decimal("9999999999.99999999999999999999"), await rich.balance())
    await rich.client.post("/users/me/deposit", json={"amount": str(cost)})
    response = await rich.client.delete("/order/BTCUSDT")
    assert_is_error(response, 400, "balance_limit_exceeded")
    assert response.json()["message"] == "balance limit exceeded"
    listed = (await rich.client.get("/order", params={"active": True})).json()
    assert listed["meta"]["total_count"] == 1
    await rich.client.aclose()


async def test_the_list_is_active_first_then_newest_first_with_all_symbols(
    ada: Person, bob: Person
) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"):
        opened = await ada.client.post("/order", json={"symbol": symbol, "quantity": "1"})
        assert opened.status_code == 201, opened.text
    for symbol in ("BTCUSDT", "SOLUSDT"):
        await ada.client.delete(f"/order/{symbol}")

    async def listed(**query: str | int) -> tuple[list[str], dict[str, int]]:
        body = (await ada.client.get("/order", params=query)).json()
        assert body["data"]["unique_symbols"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
        return [order["symbol"] for order in body["data"]["orders"]], body["meta"]

    everything = ["XRPUSDT", "ETHUSDT", "SOLUSDT", "BTCUSDT"]
    assert await listed() == (everything, {"total_count": 4, "limit": 1000, "offset": 0})
    assert (await listed(active=True))[0] == everything[:2]
    assert (await listed(active_only="true"))[0] == everything[:2]
    assert (await listed(symbol=" solusdt"))[0] == ["SOLUSDT"]
    assert (await listed(symbol="SOLUSDT", active=True))[1]["total_count"] == 0
    assert await listed(limit=2, offset=1) == (
        everything[1:3],
        {"total_count": 4, "limit": 2, "offset": 1},
    )
    assert (await listed(offset=10))[1]["total_count"] == 4
    for query in ({"limit": 0}, {"limit": 1001}, {"offset": -1}, {"active": "perhaps"}):
        assert_is_error(await ada.client.get("/order", params=query), 422)
    assert (await bob.client.get("/order")).json() == {
        "status": "success",
        "meta": {"total_count": 0, "limit": 1000, "offset": 0},
        "data": {"orders": [], "unique_symbols": []},
    }
