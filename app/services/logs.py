"""Writing into the trading log."""

from app.db.connection import Connection
from app.db.dao import logs
from app.domain.events import EventType
from app.domain.instruments import Symbol
from app.domain.logs import LogEntry
from app.domain.users import LockedUser
from app.services.booking import Movement, book


async def add_entry(
    conn: Connection,
    locked: LockedUser,
    *,
    symbol: Symbol,
    data_json: str,
    action: str,
    request_id: str,
) -> LogEntry:
    """A new entry, told without its data, which may be large."""
    user = locked.user
    entry = await logs.create_log(
        conn, user_id=user.id, symbol=symbol, data_json=data_json, action=action
    )
    movement = Movement(
        user_id=user.id,
        epoch=user.epoch,
        type=EventType.LOG_CREATED,
        data={"log_id": entry.id, "symbol": symbol},
        request_id=request_id,
    )
    await book(conn, locked={user.id: locked}, movements=[movement])
    return entry
