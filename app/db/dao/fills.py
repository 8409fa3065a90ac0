"""The table `fills`. They are written by bookings.insert_booking."""

from app.db.connection import Connection
from app.domain.fills import Fill, Side
from app.domain.orders import OrderId


async def get_fills(conn: Connection, *, order_id: OrderId) -> list[Fill]:
    """The order's executions, the purchase first."""
    rows = await conn.fetch(
        """
        SELECT order_id, side, price, source, venue_time_ms, price_age_ms, request_id, filled_at
        FROM fills
        WHERE order_id = $1
        ORDER BY side
        """,
        order_id,
    )
    return [
        Fill(
            order_id=OrderId(row["order_id"]),
            side=Side(row["side"]),
            price=row["price"],
            source=row["source"],
            venue_time_ms=row["venue_time_ms"],
            price_age_ms=row["price_age_ms"],
            request_id=row["request_id"],
            filled_at=row["filled_at"],
        )
        for row in rows
    ]
