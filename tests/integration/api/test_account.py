"""GET /account/statistics."""

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import pytest
from app.db.database import open_database
from app.domain.instruments import Venue
from app.domain.statistics import TooManyMovements
from app.domain.statistics.history import MOVEMENTS_MAX
from app.replay import ReplayExchange
from app.services.account_statistics import get_account_statistics
from app.services.accounts import open_account
from tests.conftest import CloneDatabase, Person
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.api.test_order import moved_price_of
from tests.integration.api.test_time_travel import do_something

PATH = "/account/statistics"


async def statistics(person: Person, **query: str | int) -> dict[str, Any]:
    response = await person.client.get(PATH, params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["data"]
    return found


def money(found: dict[str, Any], *names: str) -> Fraction:
    return sum((Fraction(found[name]) for name in names), Fraction(0))


async def test_statistics_are_for_who_is_logged_in(anonymous: httpx.AsyncClient) -> None:
    assert_is_error(await anonymous.get(PATH), 401)


@pytest.mark.parametrize(
    "query",
    [{"epoch": 0}, {"epoch": "x"}, {"from": "yesterday"}, {"from": "0.5"}, {"to": "1767225600"},
     {"from": "2026-01-01T00:00:00"},
     {"to": "1969-12-31T00:00:00Z"}, {"to": "2100-01-01T00:00:00Z"},
     {"from": "9999-12-31T23:59:59-14:00"}, {"symbol": ""}, {"symbol": "x" * 11}],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_422(
    bob: Person, query: dict[str, str | int]
) -> None:
    assert_is_error(await bob.client.get(PATH, params=query), 422, "validation_error")


@pytest.mark.parametrize(
    "query",
    [{"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
     {"from": "2099-01-01T00:00:00Z"}, {"to": "2020-01-01T00:00:00Z"}],
)  # fmt: skip
async def test_a_time_without_an_instant_in_it_is_400(bob: Person, query: dict[str, str]) -> None:
    assert_is_error(await bob.client.get(PATH, params=query), 400, "time_range_empty")


async def test_an_account_without_an_order_has_reasons_instead_of_numbers(bob: Person) -> None:
    found = await statistics(bob)
    assert found["equity_at_end"] == "0.00000000000000000000"
    assert found["total_return"] == {"value": 0.0}
    assert "are needed" in found["sharpe"]["reason"]
    assert found["trades"]["win_rate"] == {"reason": "no order was closed"}
    assert found["days"] == found["symbols"] == []


@pytest.mark.usefixtures("one_day")
async def test_what_an_order_brought_is_in_the_statistics_to_the_last_digit(
    ada: Person, exchange: ReplayExchange
) -> None:
    bought = await ada.client.post(
        "/order", json={"symbol": "BTCUSDT", "quantity": "0.12345678901234567891"}
    )
    assert bought.status_code == 201
    await moved_price_of(ada.client, "BTCUSDT", exchange)
    closed = (await ada.client.delete("/order/BTCUSDT")).json()["data"]
    await ada.client.post("/order", json={"symbol": "ETHUSDT", "quantity": "1"})
    found = await statistics(ada)
    profit = Decimal(closed["diffDollar"])
    assert profit != 0
    assert found["trades"]["profit"] == closed["diffDollar"]
    assert found["trades"]["average_profit"] == {"value": closed["diffDollar"]}
    assert found["trades"]["count"] == 1
    assert found["open_orders"] == 1
    assert found["flow"] == "1000000.00000000000000000000"
    assert Decimal(found["equity_at_end"]) == 1_000_000 + profit
    assert found["total_return"]["value"] == pytest.approx(float(profit) / 1e6, rel=1e-12)
    assert [each["symbol"] for each in found["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    held = float(Decimal(closed["sell_price"]) / Decimal(closed["buy_price"]) - 1)
    assert found["symbols"][0]["buy_and_hold"]["value"] == pytest.approx(held, rel=1e-12)
    assert "reason" in found["symbols"][1]["buy_and_hold"]
    [day] = found["days"]
    assert day["return"] == found["total_return"] == found["months"][0]["return"]
    assert 0 < found["exposure_time"]["value"] <= 1
    of_ether = await statistics(ada, symbol=" ethusdt ")
    assert of_ether["trades"]["count"] == 0
    assert of_ether["equity_at_end"] == "1000000.00000000000000000000"


async def test_nobody_sees_the_statistics_of_somebody_else(ada: Person, bob: Person) -> None:
    await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "1"})
    assert (await statistics(bob))["open_orders"] == 0


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for member in value.values():
            yield from numbers(member)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("seed", [3, 4])
async def test_any_parts_of_a_random_life_add_up_to_it_exactly(
    ada: Person, exchange: ReplayExchange, seed: int
) -> None:
    rng = random.Random(seed)
    instants: list[str] = []
    for _ in range(20):
        await do_something(ada, rng, exchange)
        profile = await ada.client.get("/users/me")
        orders = (await ada.client.get("/order")).json()["data"]["orders"]
        found = await statistics(ada)
        active = [order for order in orders if order["status"] == 1]
        cost = sum((Fraction(order["buyAggregate"]) for order in active), Fraction(0))
        assert money(found, "equity_at_end") == cost + Fraction(profile.json()["data"]["balance"])
        assert money(found, "open_cost") == cost
        profit = sum((Fraction(order["diffDollar"]) for order in orders), Fraction(0))
        assert money(found["trades"], "profit") == profit
        instants.append(found["end_at"])
    epoch = (await statistics(ada))["epoch"]
    for each in range(1, epoch + 1):
        whole = await statistics(ada, epoch=each)
        inner = [at for at in instants if whole["begin_at"] < at < whole["end_at"]]
        cuts = [whole["begin_at"], *sorted(rng.sample(inner, k=min(3, len(inner))))]
        ends = [*cuts[1:], whole["end_at"]]
        parts = [
            await statistics(ada, epoch=each, **{"from": begin, "to": end})
            for begin, end in zip(cuts, ends, strict=True)
        ]
        for part in parts:
            assert money(part, "equity_at_begin", "flow") + money(
                part["trades"], "profit"
            ) == money(part, "equity_at_end")
        for earlier, later in pairwise(parts):
            assert earlier["equity_at_end"] == later["equity_at_begin"]
        counted = sum(part["trades"]["count"] for part in parts)
        assert counted == whole["trades"]["count"]
        assert sum((money(part["trades"], "profit") for part in parts), Fraction(0)) == money(
            whole["trades"], "profit"
        )
        assert parts[-1]["equity_at_end"] == whole["equity_at_end"]
        assert all(abs(number) < 1e300 for number in numbers(whole))
        assert "NaN" not in json.dumps(whole)


async def test_more_movements_than_one_answer_is_made_of_are_refused_unread(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    user = await open_account(
        conn,
        email="busy@example.com",
        password_hash="!",
        name="Busy",
        starting_balance=Decimal(1),
        request_id="test",
    )
    await conn.execute(
        "UPDATE ledger_accounts SET version = $2 WHERE user_id = $1 AND kind = 'cash'",
        user.id,
        MOVEMENTS_MAX + 1,
    )
    await conn.close()
    async with open_database(address, pool_size=1) as db:
        with pytest.raises(TooManyMovements, match=r"20001 movements .* shorter"):
            await get_account_statistics(
                db, user=user, epoch=None, symbol=None, begin_at=None, end_at=None,
                venue=Venue.BYBIT, interval=None,
            )  # fmt: skip
