"""Symbols that somebody keeps an eye on."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from app.domain.errors import NotFound, Refused
from app.domain.instruments import Symbol
from app.domain.users import UserId

WatchlistId = NewType("WatchlistId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchlistEntry:
    """One symbol of one user's watchlist."""

    id: WatchlistId
    user_id: UserId
    symbol: Symbol
    created_at: datetime


class WatchlistEntryNotFound(NotFound):
    """The symbol is not in the caller's watchlist."""

    code = "watchlist_entry_not_found"

    def __init__(self, symbol: Symbol) -> None:
        super().__init__(f"Watchlist entry for symbol '{symbol}' not found")
        self.symbol = symbol


class WatchlistSymbolTooLong(Refused):
    """No watchlist entry can have a symbol of this length."""

    code = "symbol_too_long"

    def __init__(self) -> None:
        super().__init__("Symbol must be 10 characters or less")
