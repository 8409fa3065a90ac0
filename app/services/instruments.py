"""What venues trade: fetched when it is first needed, refreshed by a job, kept in the database."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Final

from app.db.dao import instruments
from app.db.database import Database
from app.domain.instruments import (
    Category,
    CategoryNotListed,
    Instrument,
    Symbol,
    UnknownSymbol,
    Venue,
    check_lot,
)
from app.services.market_data import PricedQuote
from app.services.ports import InstrumentSource

UNLISTED: Final = "unlisted"
"""The status of what a venue has stopped listing; every other is the venue's own word."""

LIST_AGAIN: Final = timedelta(minutes=1)
"""How old a list has to be to be fetched again for a symbol that is not in it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listings:
    """The instruments of all venues. One for each process: a first refresh is shared."""

    db: Database
    sources: Mapping[Venue, InstrumentSource]
    price_venue: Venue
    strict_lots: bool
    _first: dict[tuple[Venue, Category], asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _fetched: set[tuple[Venue, Category]] = field(default_factory=set)
    _asked_again: dict[tuple[Venue, Category], float] = field(default_factory=dict)

    async def refresh(self, venue: Venue, category: Category) -> int:
        """Fetch the whole category and write it; return how many instruments it has."""
        async with self.db.connection() as conn:
            # Of before the venue was asked: who asks later has a list that is at least as young.
            refreshed_at = await instruments.get_instant(conn)
        listed = await self.sources[venue].fetch_instruments(category)
        async with self.db.transaction() as conn:
            await instruments.upsert_instruments(
                conn, instruments=listed, refreshed_at=refreshed_at
            )
            if listed:  # an empty list is more likely a mistake than the end of a venue
                await instruments.update_unlisted(
                    conn, venue=venue, category=category, status=UNLISTED, refreshed_at=refreshed_at
                )
        _log.info(
            "instruments refreshed",
            extra={"venue": venue, "category": category, "instruments": len(listed)},
        )
        return len(listed)

    async def list_page(
        self, venue: Venue, category: Category, *, symbol: Symbol | None, after: str, limit: int
    ) -> list[Instrument]:
        """Instruments by symbol, after one. Raises as MarketSource does at the first need."""
        await self._ensure(venue, category)
        async with self.db.connection() as conn:
            return await instruments.get_instruments(
                conn, venue=venue, category=category, symbol=symbol, after=after, limit=limit
            )

    async def require(self, venue: Venue, category: Category, symbol: Symbol) -> Instrument:
        """The instrument, listed now or once. Raises UnknownSymbol or CategoryNotListed."""
        source = self.sources[venue]
        if category not in source.categories:
            raise CategoryNotListed(source.venue, category, source.categories)
        found = await self._find(venue, category, symbol)
        if found is None:
            await self._list_again(venue, category)
            found = await self._find(venue, category, symbol)
        if found is None:
            raise UnknownSymbol(symbol, category)
        return found

    async def check_order(self, symbol: Symbol, quantity: Decimal, priced: PricedQuote) -> None:
        """With STRICT_LOTS, raise LotRuleBroken for what the venue would not take."""
        if not self.strict_lots:
            return
        found = await self._find(self.price_venue, priced.quote.category, symbol)
        if found is not None:
            check_lot(found, quantity=quantity, price=priced.quote.price)

    async def _list_again(self, venue: Venue, category: Category) -> None:
        """Have a list that is young: a symbol may have come after the daily refresh.

        Anybody may ask for what there is not, so the venue is asked for it now and then only.
        """
        now = asyncio.get_running_loop().time()
        async with self._first[venue, category]:
            async with self.db.connection() as conn:
                instant = await instruments.get_instant(conn)
                refreshed_at = await instruments.get_refreshed_at(
                    conn, venue=venue, category=category
                )
            if refreshed_at is not None and instant - refreshed_at < LIST_AGAIN:
                return
            asked_at = self._asked_again.get((venue, category))
            if asked_at is not None and now - asked_at < LIST_AGAIN.total_seconds():
                return
            await self.refresh(venue, category)
            self._asked_again[venue, category] = now  # what failed does not count

    async def _find(self, venue: Venue, category: Category, symbol: Symbol) -> Instrument | None:
        await self._ensure(venue, category)
        async with self.db.connection() as conn:
            return await instruments.get_instrument(
                conn, venue=venue, category=category, symbol=symbol
            )

    async def _ensure(self, venue: Venue, category: Category) -> None:
        """Refresh a category that never was, by any process."""
        if (venue, category) in self._fetched:
            return
        async with self._first[venue, category]:
            async with self.db.connection() as conn:
                refreshed_at = await instruments.get_refreshed_at(
                    conn, venue=venue, category=category
                )
            if refreshed_at is None:
                await self.refresh(venue, category)
            self._fetched.add((venue, category))
