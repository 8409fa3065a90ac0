"""Watchlists on the wire."""

from pydantic import BaseModel, Field

from app.domain.watchlists import WatchlistEntry
from app.schemas.common import Identifier, Instant, OrderSymbol, Request, SymbolOut


class WatchlistCreate(Request):
    """A symbol to watch."""

    symbol: OrderSymbol = Field(examples=["BTCUSDT"])


class WatchlistOut(BaseModel):
    """One watched symbol."""

    id: Identifier
    symbol: SymbolOut
    created_at: Instant

    @classmethod
    def of(cls, entry: WatchlistEntry) -> "WatchlistOut":
        """The wire form of an entry."""
        return cls(id=entry.id, symbol=entry.symbol, created_at=entry.created_at)


class WatchlistList(BaseModel):
    """The whole watchlist, newest first."""

    watchlists: list[WatchlistOut]
    unique_symbols: list[SymbolOut]
