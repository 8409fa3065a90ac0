"""Readiness, where its sources misbehave in ways that a request cannot bring about."""

import asyncio
import time

import asyncpg
import pytest
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.database import Database, open_pool
from app.db.errors import DatabaseUnavailable
from app.db.migrate import newest_version
from app.domain.circuits import CircuitState, PriceUnavailable, VenueState
from app.services.readiness import Readiness
from tests.conftest import CloneDatabase


def circuit(state: str, retry_after_seconds: int) -> VenueState:
    return VenueState(
        venue="Bybit",
        state=CircuitState(state),
        age_seconds=7.0,
        failures=0,
        retry_after_seconds=retry_after_seconds,
    )


CALM = circuit("closed", 0)


def readiness(
    pool: asyncpg.Pool, venue: VenueState = CALM, *, seconds_max: float = 20
) -> Readiness:
    return Readiness(
        Database(pool),
        schema_version=newest_version(PROJECT / "db" / "migration"),
        venue=lambda: venue,
        monotonic=time.monotonic,
        seconds_max=seconds_max,
    )


@pytest.mark.parametrize(
    ("venue", "obstacle"),
    [
        (CALM, type(None)),
        (circuit("closed", 3), PriceUnavailable),
        (circuit("open", 30), PriceUnavailable),
        (circuit("probing", 1), PriceUnavailable),
        (circuit("open", 0), type(None)),
    ],
)
async def test_a_venue_that_is_left_alone_keeps_orders_out_until_it_may_be_asked_again(
    postgres: DatabaseAddress, venue: VenueState, obstacle: type[object]
) -> None:
    async with open_pool(postgres, size=2) as pool:
        part = (await readiness(pool, venue).parts())["price_source"]
    assert (part.state, part.age_seconds) == (venue.state, 7.0)
    assert type(part.obstacle) is obstacle


async def test_a_database_that_hangs_is_not_waited_for_and_holds_one_connection_however_many_ask(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    holder = await asyncpg.connect(**address.connect_arguments())
    try:
        async with open_pool(address, size=4) as pool:
            asked = readiness(pool, seconds_max=0.2)
            async with holder.transaction():
                await holder.execute("LOCK TABLE schema_version IN ACCESS EXCLUSIVE MODE")
                for _ in range(2):
                    outcomes = await asyncio.gather(
                        *(asked.parts() for _ in range(20)), return_exceptions=True
                    )
                    assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
                    assert pool.get_size() - pool.get_idle_size() <= 1
            async with asyncio.timeout(10):
                while True:
                    try:
                        parts = await asked.parts()
                    except DatabaseUnavailable:
                        continue
                    break
            assert parts["migrations"].obstacle is None
    finally:
        await holder.close()


async def test_a_database_that_gives_up_waiting_for_a_lock_counts_as_one_that_does_not_answer(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    holder = await asyncpg.connect(**address.connect_arguments())
    try:
        async with open_pool(address, size=2) as pool, holder.transaction():
            await holder.execute("LOCK TABLE schema_version IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable):
                await readiness(pool).parts()
    finally:
        await holder.close()


async def test_a_question_that_nobody_waits_for_any_more_ends_with_the_process(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    holder = await asyncpg.connect(**address.connect_arguments())
    try:
        async with open_pool(address, size=2) as pool:
            asked = readiness(pool, seconds_max=0.1)
            await asked.aclose()
            async with holder.transaction():
                await holder.execute("LOCK TABLE schema_version IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(DatabaseUnavailable):
                    await asked.parts()
                await asked.aclose()
                with pytest.raises(DatabaseUnavailable):
                    await asked.parts()
            await asked.aclose()
    finally:
        await holder.close()
