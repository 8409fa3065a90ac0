import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio
from app.services.event_feed import StreamLimits
from tests.conftest import Installation
from tests.integration.api.streaming import Served, eventually, serving

IMPATIENT = StreamLimits(
    per_user=2, per_process=3, keep_alive_seconds=0.05, send_seconds=0.3, recheck_seconds=0.1,
)  # fmt: skip


MIDNIGHT_AVOIDED = timedelta(seconds=20)


@pytest_asyncio.fixture
async def one_day() -> None:
    """For who counts days: they begin after midnight rather than go on into another day."""
    now = datetime.now(UTC)
    tomorrow = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if tomorrow - now < MIDNIGHT_AVOIDED:
        await asyncio.sleep((tomorrow - now).total_seconds() + 0.1)


@pytest_asyncio.fixture(scope="module")
async def served(installation: Installation) -> AsyncIterator[Served]:
    async with serving(installation) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def impatient_server(installation: Installation) -> AsyncIterator[Served]:
    async with serving(installation, IMPATIENT) as running:
        yield running


@pytest_asyncio.fixture
async def impatient(impatient_server: Served) -> Served:
    """Three streams are all that it has, and those of the test before may have yet to end."""
    await eventually(lambda: impatient_server.feed.count == 0)
    return impatient_server
