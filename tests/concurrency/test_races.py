"""Many requests at the same moment, at one API process and at two."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.domain.money import EXACT
from app.replay import ReplayExchange, recorded_market, replay_exchange
from tests.concurrency.conftest import POOL_SIZE, Pair, at_once, patiently
from tests.conftest import Person, new_person, run_installation, settings_for

pytestmark = pytest.mark.usefixtures("books")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def codes(answers: list[httpx.Response]) -> Counter[str]:
    return Counter(a.json()["meta"]["code"] for a in answers if a.is_error)


@pytest_asyncio.fixture(scope="module")
async def fifty_symbols(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReplayExchange]:
    """A venue that lists fifty symbols, each at 100."""
    folder = tmp_path_factory.mktemp("candles")
    for number in range(50):
        write_flat_candle(folder / f"bybit_spot_S{number:02}USDT_1.csv")
    async with replay_exchange(recorded_market(folder)) as running:
        yield running


def write_flat_candle(file: Path) -> None:
    file.write_text("ts,open,high,low,close,volume\n1748736000000,100,100,100,100,1\n")


async def test_fifty_simultaneous_orders_spend_the_balance_once(
    pair: Pair, fifty_symbols: ReplayExchange, books: asyncpg.Connection
) -> None:
    settings = settings_for(pair.first.address, fifty_symbols.base_url, db_pool_size=POOL_SIZE)
    async with run_installation(settings) as running, patiently(running, size=POOL_SIZE):
        ada = await new_person(running, balance="350")
        answers = await at_once(
            [
                partial(ada.client.post, "/order", json={"symbol": f"S{n:02}USDT", "quantity": 1})
                for n in range(50)
            ]
        )
        assert statuses(answers) == {201: 3, 400: 47}
        assert codes(answers) == {"insufficient_balance": 47}
        assert await ada.balance() == 50
        listed = (await ada.client.get("/order")).json()
        assert listed["meta"]["total_count"] == 3
    assert await books.fetchval("SELECT balance FROM users WHERE id = $1", ada.user.id) == 50


async def test_twenty_simultaneous_orders_of_one_symbol_open_one(
    pair: Pair, books: asyncpg.Connection
) -> None:
    here, there = await pair.person(balance="1000000")
    body = {"symbol": "BTCUSDT", "quantity": "0.5"}
    answers = await at_once(
        [partial(person.client.post, "/order", json=body) for person in (here, there) * 10]
    )
    assert statuses(answers) == {201: 1, 400: 19}
    assert codes(answers) == {"rejection": 19}
    (order,) = [answer.json()["data"] for answer in answers if answer.is_success]
    spent = EXACT.subtract(Decimal(1_000_000), await here.balance())
    assert spent == Decimal(order["buyAggregate"])
    assert (
        await books.fetchval("SELECT count(*) FROM transact WHERE user_id = $1", here.user.id) == 1
    )


async def test_twenty_simultaneous_closes_pay_once(pair: Pair, exchange: ReplayExchange) -> None:
    here, there = await pair.person(balance="1000000")
    opened = await here.client.post("/order", json={"symbol": "ETHUSDT", "quantity": "3"})
    before = await here.balance()
    exchange.clock.advance(3_600_000)
    answers = await at_once(
        [partial(person.client.delete, "/order/ETHUSDT") for person in (here, there) * 10]
    )
    assert statuses(answers) == {200: 1, 400: 19}
    assert codes(answers) == {"order_not_found": 19}
    (order,) = [answer.json()["data"] for answer in answers if answer.is_success]
    assert order["id"] == opened.json()["data"]["id"]
    assert EXACT.subtract(await there.balance(), before) == Decimal(order["sellAggregate"])


async def test_orders_and_closes_of_one_symbol_take_turns(
    pair: Pair, books: asyncpg.Connection
) -> None:
    """Opened and closed alternate: there are as many closes as opens, or one less."""
    here, there = await pair.person(balance="1000000")
    calls: list[Callable[[], Awaitable[httpx.Response]]] = []
    for person in (here, there) * 10:
        calls.append(
            partial(person.client.post, "/order", json={"symbol": "SOLUSDT", "quantity": "1"})
        )
        calls.append(partial(person.client.delete, "/order/SOLUSDT"))
    answers = await at_once(calls)
    assert set(codes(answers)) <= {"rejection", "order_not_found"}
    told = await books.fetch(
        "SELECT type FROM events WHERE user_id = $1 AND number > 1 ORDER BY number", here.user.id
    )
    expected = itertools.cycle(["order_opened", "order_closed"])
    assert [row["type"] for row in told] == [next(expected) for _ in told]
    assert len(told) == len([answer for answer in answers if answer.is_success])


async def storm(person: Person, steps: int, dice: random.Random) -> Decimal:
    """Random changes one after the other; what the answers say the balance gained."""
    gained = Decimal(0)
    for _ in range(steps):
        symbol = dice.choice(SYMBOLS)
        amount = f"{dice.randrange(1, 10**9)}.{dice.randrange(10**20):020}"
        small = f"0.{dice.randrange(1, 10**20):020}"
        method, url, body, figure, sign = dice.choice(
            [
                ("POST", "/order", {"symbol": symbol, "quantity": small}, "buyAggregate", -1),
                ("DELETE", "/order", {"symbol": symbol}, "sellAggregate", 1),
                ("POST", "/users/me/deposit", {"amount": amount}, None, 1),
                ("POST", "/users/me/withdraw", {"amount": amount}, None, -1),
            ]
        )
        answer = await person.client.request(method, url, json=body)
        assert answer.status_code in {200, 201, 400}, answer.text
        if answer.is_success:
            moved = answer.json()["data"][figure] if figure else amount
            gained = EXACT.add(gained, EXACT.multiply(Decimal(sign), Decimal(moved)))
    return gained


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_on_a_few_users_conserves_money_exactly(pair: Pair, seed: int) -> None:
    dice = random.Random(seed)
    people = [await pair.person(balance="5000000000") for _ in range(3)]
    tasks = {
        person.user.id: [
            asyncio.create_task(storm(here, 8, random.Random(dice.random()))) for here in both * 3
        ]
        for person, *_ in people
        for both in people
        if both[0] is person
    }
    for here, there in people:
        gained = [await task for task in tasks[here.user.id]]
        expected = Decimal(5_000_000_000)
        for amount in gained:
            expected = EXACT.add(expected, amount)
        assert await here.balance() == expected
        assert await there.balance() == expected


async def test_an_account_that_begins_anew_leaves_no_order_between_two_lives(
    pair: Pair, books: asyncpg.Connection
) -> None:
    here, there = await pair.person(balance="1000000")
    await here.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "1"})
    calls = []
    for person in (here, there) * 5:
        calls += [
            partial(person.client.post, "/users/me/reset", json={"balance": "500000"}),
            partial(person.client.post, "/order", json={"symbol": "BTCUSDT", "quantity": "1"}),
            partial(person.client.delete, "/order/BTCUSDT"),
        ]
    answers = await at_once(calls)
    assert set(statuses(answers)) <= {200, 201, 400}
    assert (await here.client.get("/users/me")).json() == (
        await there.client.get("/users/me")
    ).json()
    assert await books.fetchval("SELECT epoch FROM users WHERE id = $1", here.user.id) == 11
    mixed = await books.fetch(
        """
        SELECT orders.id FROM transact AS orders
        JOIN ledger_transfers AS transfer ON transfer.order_id = orders.id
        JOIN ledger_accounts AS account
            ON account.id IN (transfer.source_account_id, transfer.target_account_id)
        WHERE account.epoch <> orders.epoch
        """
    )
    assert mixed == []


async def test_one_address_is_registered_once_however_many_try(
    pair: Pair, books: asyncpg.Connection
) -> None:
    spellings = ("ada@race.example", "ADA@race.example", "Ada@Race.Example", "aDa@RACE.example")
    async with pair.first.client() as first, pair.second.client() as second:
        answers = await at_once(
            [
                partial(
                    client.post,
                    "/auth/register",
                    json={"email": spelling, "password": "correct horse", "name": "Ada"},
                )
                for client in (first, second)
                for spelling in spellings
            ]
        )
    assert statuses(answers) == {201: 1, 400: 7}
    assert codes(answers) == {"email_already_registered": 7}
    found = await books.fetchval("SELECT count(*) FROM users WHERE email ILIKE 'ada@race.%'")
    assert found == 1


async def test_a_symbol_is_watched_once_and_unwatched_once(pair: Pair) -> None:
    here, there = await pair.person()
    answers = await at_once(
        [
            partial(person.client.post, "/watchlist", json={"symbol": "BTCUSDT"})
            for person in (here, there) * 10
        ]
    )
    assert statuses(answers) == {201: 1, 200: 19}
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    answers = await at_once(
        [partial(person.client.delete, "/watchlist/BTCUSDT") for person in (here, there) * 10]
    )
    assert statuses(answers) == {200: 1, 404: 19}


async def test_a_strategy_is_never_assigned_after_it_was_deleted(
    pair: Pair, books: asyncpg.Connection
) -> None:
    here, there = await pair.person()
    for number in range(8):
        made = await here.client.post("/strategy", json={"name": f"strategy {number}"})
        other = await here.client.post("/strategy", json={"name": f"other {number}"})
        wanted = made.json()["data"]["id"]
        assignment = {"symbol": "BTCUSDT", "strategy_id": other.json()["data"]["id"]}
        existing = await here.client.post("/trade-strategy", json=assignment)
        calls = [
            partial(
                person.client.post,
                "/trade-strategy",
                json={"symbol": "BTCUSDT", "strategy_id": wanted},
            )
            for person in (here, there, here)
        ]
        calls += [
            partial(here.client.delete, f"/strategy/{wanted}"),
            partial(there.client.delete, f"/strategy/{wanted}"),
            partial(
                there.client.put,
                f"/trade-strategy/{existing.json()['data']['id']}",
                json={"strategy_id": wanted},
            ),
        ]
        random.Random(number).shuffle(calls)
        answers = await at_once(calls)
        assert set(statuses(answers)) <= {200, 201, 400}
        assert set(codes(answers)) <= {"strategy_does_not_exist"}
        told = await books.fetch(
            """
            SELECT type FROM events
            WHERE user_id = $1 AND (data->>'strategy_id')::bigint = $2 ORDER BY number
            """,
            here.user.id,
            wanted,
        )
        assert [row["type"] for row in told].index("strategy_deleted") == len(told) - 1
