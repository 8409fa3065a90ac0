"""The table `events`, read by number. What writes it is in bookings.py."""

from collections.abc import Sequence

from app.db.connection import Connection
from app.domain.events import EventType, NumberedEvent
from app.domain.users import UserId


async def get_events(
    conn: Connection, *, user_id: UserId, after: int, limit: int
) -> list[NumberedEvent]:
    """The user's next events after a number, in order."""
    rows = await conn.fetch(
        """
        SELECT user_id, number, type, epoch, data, request_id, event_at
        FROM events
        WHERE user_id = $1 AND number > $2
        ORDER BY number
        LIMIT $3
        """,
        user_id,
        after,
        limit,
    )
    return [
        NumberedEvent(
            user_id=UserId(row["user_id"]),
            number=row["number"],
            type=EventType(row["type"]),
            epoch=row["epoch"],
            data_json=row["data"],
            request_id=row["request_id"],
            event_at=row["event_at"],
        )
        for row in rows
    ]


async def get_last_event_numbers(
    conn: Connection, *, user_ids: Sequence[UserId]
) -> dict[UserId, int]:
    """The number of each user's last event, 0 before the first; missing users are left out."""
    rows = await conn.fetch(
        "SELECT id, event_number FROM users WHERE id = ANY($1::bigint[])", user_ids
    )
    return {UserId(row["id"]): row["event_number"] for row in rows}
