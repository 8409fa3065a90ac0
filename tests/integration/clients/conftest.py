from collections.abc import AsyncIterator

import pytest_asyncio
from app.replay import replay_exchange
from tests.integration.clients.followed import World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with replay_exchange() as exchange:
        yield World(exchange)
