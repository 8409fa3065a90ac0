"""Asks the venues once a day what they trade, for every category that somebody has used.

One process does it for all.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Final

from app.db.address import DatabaseAddress
from app.db.dao.instruments import get_stale_categories
from app.db.sole_instance import sole_instance
from app.domain.errors import GoblinError
from app.jobs.supervisor import Done, tell_nobody
from app.services.instruments import Listings

LOCK_KEY: Final = 0x60B1_1157
"""An advisory lock key that nothing else of goblin uses."""

AGE_MAX: Final = timedelta(hours=24)
INTERVAL_SECONDS: Final = 600.0
RETRY_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


async def run(listings: Listings, address: DatabaseAddress, *, done: Done = tell_nobody) -> None:
    """Refresh what is a day old, now and every ten minutes, while this is the one that does."""
    async with sole_instance(address, key=LOCK_KEY, retry_seconds=RETRY_SECONDS) as check_sole:
        while True:
            await refresh(listings)
            done()
            await asyncio.sleep(INTERVAL_SECONDS)
            await check_sole()


async def refresh(listings: Listings, *, age_max: timedelta = AGE_MAX) -> int:
    """Refresh every category that is older; a venue that fails is asked again next time."""
    async with listings.db.connection() as conn:
        stale = await get_stale_categories(conn, age_min=age_max)
    refreshed = 0
    for venue, category in stale:
        try:
            await listings.refresh(venue, category)
            refreshed += 1
        except GoblinError as error:
            _log.warning(
                "instruments could not be refreshed",
                extra={"venue": venue, "category": category, "reason": error.message},
            )
    return refreshed
