"""Clients that go away: at every single await of a change, and two hundred of them at random.

The long form: `GOBLIN_LEAVING_CLIENTS=5000 GOBLIN_LEAVING_SEED=7 pytest` of this file.
"""

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator, Coroutine, Generator
from dataclasses import dataclass
from types import coroutine
from typing import Any, TypeVar

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.db.address import DatabaseAddress
from app.replay import ReplayExchange
from tests.concurrency.cases import CASES, NAMES, Case, Request, ask, post, rows_of, shape
from tests.concurrency.conftest import patiently
from tests.conftest import (
    Installation,
    Person,
    new_person,
    run_installation,
    settings_for,
)

T = TypeVar("T")
AWAITS_MAX = 400
CLIENTS = int(os.environ.get("GOBLIN_LEAVING_CLIENTS", "200"))
AT_ONCE = 200
SEED = int(os.environ.get("GOBLIN_LEAVING_SEED", "1"))
SAFETY_SECONDS = 30
WAITS_FOR_US = """
    SELECT count(*) FROM pg_locks
    WHERE NOT granted AND transactionid = pg_current_xact_id_if_assigned()::xid
"""
_keys = (f"left-{number}" for number in itertools.count())


@dataclass(frozen=True)
class Watched:
    """An installation whose pool can be looked into."""

    running: Installation
    pool: asyncpg.Pool

    async def ready(self, case: Case) -> tuple[Person, Request]:
        person = await new_person(self.running, balance="1000000")
        return person, await case.prepare(person)

    async def assert_every_connection_comes_back(self) -> None:
        async with asyncio.timeout(SAFETY_SECONDS):
            while self.pool.get_idle_size() != self.pool.get_size():  # noqa: ASYNC110 - a pool tells nobody
                await asyncio.sleep(0.001)


@pytest_asyncio.fixture(scope="module")
async def watched(address: DatabaseAddress, exchange: ReplayExchange) -> AsyncIterator[Watched]:
    settings = settings_for(address, exchange.base_url, price_max_age_seconds=60)
    async with run_installation(settings) as running, patiently(running, size=10) as pool:
        yield Watched(running=running, pool=pool)


@coroutine
def cancelled_at(work: Coroutine[Any, Any, T], wait: int) -> Generator[Any, Any, tuple[T, int]]:
    """Run `work`, cancel it as its `wait`-th wait begins; its result and how often it waited."""
    count = 0
    send: Any = work.send
    value: Any = None
    while True:
        try:
            waited_for = send(value)
        except StopIteration as done:
            return done.value, count
        count += 1
        task = asyncio.current_task()
        assert task is not None
        if count == wait:
            task.cancel()
        try:
            send, value = work.send, (yield waited_for)
        except BaseException as error:  # noqa: BLE001 - passed on, whatever it is
            send, value = work.throw, error


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_a_client_that_leaves_at_any_await_leaves_a_whole_change_or_none(
    watched: Watched, watcher: asyncpg.Connection, case: Case
) -> None:
    model, request = await watched.ready(case)
    await ask(model, request, key=next(_keys))
    wanted = shape(await rows_of(watcher, model.user.id))
    person, request = await watched.ready(case)
    before = await rows_of(watcher, person.user.id)
    for wait in range(1, AWAITS_MAX):
        key = next(_keys)
        leaving = asyncio.create_task(cancelled_at(ask(person, request, key=key), wait))
        await asyncio.wait([leaving])
        await watched.assert_every_connection_comes_back()
        rows = await rows_of(watcher, person.user.id)
        if rows != before:
            assert shape(rows) == wanted, "half of it happened"
            again = await ask(person, request, key=key)
            assert again.status_code == case.status
            assert again.headers["idempotent-replayed"] == "true"
            assert await rows_of(watcher, person.user.id) == rows
            person, request = await watched.ready(case)
            before = await rows_of(watcher, person.user.id)
        if not leaving.cancelled():
            answer, waits = leaving.result()
            assert answer.status_code == case.status
            assert 1 <= waits <= wait  # money waits once, for the desk, which does the rest
            return
    pytest.fail("the request never came to an end")


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
@pytest.mark.timeout(max(300, CLIENTS // 5))
async def test_two_hundred_clients_that_leave_at_random_cost_nothing_but_their_answers(
    watched: Watched, watcher: asyncpg.Connection, seed: int
) -> None:
    dice = random.Random(seed)
    people = [await new_person(watched.running, balance="1000000") for _ in range(8)]
    leaving, asked = [], []
    for number in range(CLIENTS):
        person, key = dice.choice(people), f"{seed}-{number}"
        request = dice.choice(
            [
                post("/users/me/deposit", amount=str(number + 1)),
                post("/users/me/withdraw", amount="0.5"),
                post("/order", symbol="BTCUSDT", quantity="0.01"),
                {"method": "DELETE", "url": "/order/BTCUSDT"},
                post("/watchlist", symbol=f"S{number}"),
                {"method": "GET", "url": "/order"},
                {"method": "GET", "url": "/users/me"},
            ]
        )
        asked.append((person, request, key))
        work = ask(person, request, key=key)
        leaving.append(asyncio.create_task(cancelled_at(work, dice.randrange(1, 8))))
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() * 0.01)
        if len(leaving) % AT_ONCE == 0:
            await asyncio.wait(leaving)
            await watched.assert_every_connection_comes_back()
    await asyncio.wait(leaving)
    await watched.assert_every_connection_comes_back()
    left = [task for task in leaving if task.cancelled()]
    assert len(left) > CLIENTS / 4, "many of them left"
    answers = [await ask(person, request, key=key) for person, request, key in asked]
    assert {answer.status_code for answer in answers} <= {200, 201, 400}
    for person in people:
        deposited = sum(
            int(request["json"]["amount"])
            for who, request, _ in asked
            if who is person and request["url"] == "/users/me/deposit"
        )
        await settle(person)
        stored = await watcher.fetchval(
            """
            SELECT sum(amount) FROM ledger_transfers
            WHERE user_id = $1 AND cause = 'deposit'
            """,
            person.user.id,
        )
        assert (stored or 0) == deposited, "each deposit once, whether its client waited or not"


async def settle(person: Person) -> httpx.Response:
    """Sell what is held; the price has not moved, so nothing was gained or lost by trading."""
    return await person.client.delete("/order/BTCUSDT")


async def test_a_full_pool_is_not_lost_when_those_who_wait_for_it_leave(
    watched: Watched, watcher: asyncpg.Connection
) -> None:
    person = await new_person(watched.running, balance="100")
    deposit = post("/users/me/deposit", amount="1")
    async with watcher.transaction():
        await watcher.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", person.user.id)
        tasks = [asyncio.create_task(ask(person, deposit)) for _ in range(40)]
        async with asyncio.timeout(SAFETY_SECONDS):
            while not await watcher.fetchval(WAITS_FOR_US):  # noqa: ASYNC110 - the database knows
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await watched.assert_every_connection_comes_back()
    assert (await ask(person, deposit)).status_code == 200
    assert await person.balance() == 101
