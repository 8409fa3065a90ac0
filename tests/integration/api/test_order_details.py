"""Previews, explanations, client order ids, and epochs."""

from decimal import Decimal

from app.domain.money import format_amount, subtract
from app.replay import ReplayExchange
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error


async def test_a_preview_says_what_would_happen_and_books_nothing(ada: Person, bob: Person) -> None:
    order = {"symbol": "btcusdt", "quantity": "2"}
    preview = (await ada.client.post("/order/preview", json=order)).json()["data"]
    assert await ada.balance() == 1_000_000
    assert (await ada.client.get("/order")).json()["meta"]["total_count"] == 0
    booked = (await ada.client.post("/order", json=order)).json()["data"]
    assert preview["price"] == booked["buy_price"]
    assert preview["cost"] == booked["buyAggregate"]
    assert preview["balance_after"] == format_amount(await ada.balance())
    assert "refusal" not in preview

    again = (await ada.client.post("/order/preview", json=order)).json()["data"]
    assert (again["refusal"], again["refusal_code"]) == ("rejection", "rejection")
    poor = (await bob.client.post("/order/preview", json=order)).json()["data"]
    assert poor["refusal_code"] == "insufficient_balance"
    assert "balance_after" not in poor
    unknown = await ada.client.post("/order/preview", json={**order, "symbol": "NOSUCH"})
    assert_is_error(unknown, 400, "unknown_symbol")
    assert_is_error(await ada.client.post("/order/preview", json={}), 422)


async def test_every_order_says_why_it_filled_at_its_prices(
    ada: Person, bob: Person, exchange: ReplayExchange
) -> None:
    opened = await ada.client.post(
        "/order",
        json={"symbol": "ETHUSDT", "quantity": "1"},
        headers={"X-Request-ID": "the-purchase"},
    )
    bought_at_ms = exchange.clock.now_ms()
    exchange.clock.advance(60_000)
    await ada.client.delete("/order/ETHUSDT", headers={"X-Request-ID": "the-sale"})
    path = f"/order/{opened.json()['data']['id']}"
    detail = (await ada.client.get(path)).json()["data"]
    buy, sell = detail["explain"]
    assert (buy["side"], buy["source"], buy["request_id"]) == ("buy", "Bybit", "the-purchase")
    assert (sell["side"], sell["source"], sell["request_id"]) == ("sell", "Bybit", "the-sale")
    assert buy["price"] == detail["buy_price"]
    assert sell["price"] == detail["sell_price"]
    assert buy["venue_time_ms"] == bought_at_ms
    assert sell["venue_time_ms"] == exchange.clock.now_ms()
    assert 0 <= buy["price_age_ms"] < 60_000
    assert buy["filled_at"] == detail["created_at"]
    assert sell["filled_at"] == detail["updated_at"]
    assert_is_error(await bob.client.get(path), 404, "order_missing")
    assert_is_error(await ada.client.get("/order/0"), 404)
    assert_is_error(await ada.client.get(f"/order/{2**63}"), 404)
    assert_is_error(await ada.client.get("/order/BTCUSDT"), 422)


async def test_an_order_is_found_by_the_id_its_client_gave_it(ada: Person, bob: Person) -> None:
    order = {"symbol": "BTCUSDT", "quantity": "1", "client_order_id": "My_bot-1"}
    opened = (await ada.client.post("/order", json=order)).json()["data"]
    assert opened["client_order_id"] == "My_bot-1"
    path = "/order/by-client-id/My_bot-1"
    assert (await ada.client.get(path)).json()["data"]["id"] == opened["id"]
    assert_is_error(await bob.client.get(path), 404, "order_missing")
    for bad in ("x" * 37, "a b", "é", ""):
        sent = await ada.client.post("/order", json={**order, "client_order_id": bad})
        assert_is_error(sent, 422)


async def test_a_reset_begins_a_new_epoch_and_the_old_one_stays_readable(ada: Person) -> None:
    await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "1"})
    await ada.client.post("/order", json={"symbol": "ETHUSDT", "quantity": "1"})
    await ada.client.delete("/order/ETHUSDT")
    before = (await ada.client.get("/order")).json()
    for bad in (-1, "10000000000", "x", None):
        assert_is_error(await ada.client.post("/users/me/reset", json={"balance": bad}), 422)
    fresh = await ada.client.post("/users/me/reset", json={"balance": "500.5"})
    assert fresh.json()["data"]["balance"] == "500.50000000000000000000"
    now = (await ada.client.get("/order")).json()
    assert now["meta"]["total_count"] == 0
    assert now["data"]["unique_symbols"] == []
    old = (await ada.client.get("/order", params={"epoch": 1})).json()
    assert old == before
    assert_is_error(await ada.client.delete("/order/BTCUSDT"), 400, "order_not_found")
    again = await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "0.001"})
    assert again.status_code == 201
    spent = Decimal(again.json()["data"]["buyAggregate"])
    assert await ada.balance() == subtract(Decimal("500.5"), spent)
    assert (await ada.client.post("/users/me/reset", json={"balance": 0})).status_code == 200
    assert await ada.balance() == 0
