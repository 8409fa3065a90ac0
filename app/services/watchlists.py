"""Adding to and taking from a watchlist."""

from app.db.connection import Connection
from app.db.dao import watchlists
from app.domain.events import EventType
from app.domain.instruments import Symbol
from app.domain.users import LockedUser
from app.domain.watchlists import WatchlistEntry, WatchlistEntryNotFound
from app.services.booking import Movement, book


async def add_symbol(
    conn: Connection, locked: LockedUser, *, symbol: Symbol, request_id: str
) -> tuple[WatchlistEntry, bool]:
    """The entry of this symbol, and whether it is new: adding twice is adding once."""
    user = locked.user
    existing = await watchlists.get_watchlist(conn, user_id=user.id, symbol=symbol)
    if existing is not None:
        return existing, False
    entry = await watchlists.create_watchlist(conn, user_id=user.id, symbol=symbol)
    await _tell(conn, locked, EventType.SYMBOL_WATCHED, symbol, request_id)
    return entry, True


async def remove_symbol(
    conn: Connection, locked: LockedUser, *, symbol: Symbol, request_id: str
) -> None:
    """Stop watching a symbol. Raises WatchlistEntryNotFound."""
    if not await watchlists.delete_watchlist(conn, user_id=locked.user.id, symbol=symbol):
        raise WatchlistEntryNotFound(symbol)
    await _tell(conn, locked, EventType.SYMBOL_UNWATCHED, symbol, request_id)


async def _tell(
    conn: Connection, locked: LockedUser, kind: EventType, symbol: Symbol, request_id: str
) -> None:
    movement = Movement(
        user_id=locked.user.id,
        epoch=locked.user.epoch,
        type=kind,
        data={"symbol": symbol},
        request_id=request_id,
    )
    await book(conn, locked={locked.user.id: locked}, movements=[movement])
