from collections.abc import AsyncIterator

import pytest_asyncio
from app.replay import replay_exchange
from tests.integration.clients.followed import PATIENT, World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with replay_exchange() as exchange:
        yield World(exchange)


@pytest_asyncio.fixture
async def patient(world: World) -> World:
    """The same exchange, and a client that waits as long as it takes."""
    return World(world.exchange, PATIENT)
