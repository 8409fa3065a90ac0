"""Far more requests than connections, while the database makes every one of them wait."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
import pytest
from app.db.address import DatabaseAddress
from app.replay import ReplayExchange
from tests.conftest import Person, new_person, run_installation, settings_for

CONNECTIONS = 4
REQUESTS = 200
ANSWER_SECONDS_MAX = 5
RECOVERY_SECONDS_MAX = 1
LOADED_MACHINE_SECONDS = 35
"""What a machine that does other things as well may add to a promise; who waits their turn one
after the other would take a hundred."""

WRITE_LOCK = "SELECT id FROM users FOR UPDATE"
READ_LOCK = "LOCK TABLE transact IN ACCESS EXCLUSIVE MODE"


async def deposit(person: Person) -> httpx.Response:
    return await person.client.post("/users/me/deposit", json={"amount": "1"})


async def list_orders(person: Person) -> httpx.Response:
    return await person.client.get("/order")


@pytest.mark.parametrize(("lock", "ask"), [(WRITE_LOCK, deposit), (READ_LOCK, list_orders)])
async def test_two_hundred_slow_requests_on_four_connections_are_all_answered_soon_and_all_is_well(
    address: DatabaseAddress,
    exchange: ReplayExchange,
    lock: str,
    ask: Callable[[Person], Awaitable[httpx.Response]],
) -> None:
    loop = asyncio.get_running_loop()
    settings = settings_for(address, exchange.base_url, db_pool_size=CONNECTIONS)
    holder = await asyncpg.connect(**address.connect_arguments())
    async with run_installation(settings) as running:
        ada = await new_person(running, balance="1000")

        async def timed() -> tuple[httpx.Response, float]:
            began = loop.time()
            return await ask(ada), loop.time() - began

        async with holder.transaction():
            await holder.execute(lock)
            outcomes = await asyncio.gather(*(timed() for _ in range(REQUESTS)))
        began = loop.time()
        recovered = await ask(ada)
        recovery_seconds = loop.time() - began

        answers = [answer for answer, _ in outcomes]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} <= {503, 409}, "409: the lock itself"
        if ask is list_orders:  # deposits wait for each other without a connection
            assert len(refused) > REQUESTS / 2
        for answer in refused:
            assert answer.json()["meta"]["code"] == "database_unavailable"
            assert answer.headers["retry-after"] == "1"
        assert max(seconds for _, seconds in outcomes) < ANSWER_SECONDS_MAX + LOADED_MACHINE_SECONDS
        assert recovered.is_success
        assert recovery_seconds < RECOVERY_SECONDS_MAX + LOADED_MACHINE_SECONDS
        expected = 1001 if ask is deposit else 1000
        assert await ada.balance() == expected, "what was refused was not done"
        await ada.client.aclose()
    await holder.close()
