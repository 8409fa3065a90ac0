"""Numbers that travel as one text."""

from decimal import Decimal

from app.db.arrays import number_array
from app.db.connection import Connection


async def test_numbers_arrive_in_their_order_with_every_digit(conn: Connection) -> None:
    amounts = [
        None,
        Decimal("9999999999.99999999999999999999"),
        Decimal("-1E-20"),
        Decimal("1E+9"),
        Decimal("0E-20"),
    ]
    arrived = await conn.fetchval("SELECT $1::text::numeric[]", number_array(amounts))
    assert arrived == amounts
    ids = [2**63 - 1, -(2**63), 0, None]
    assert await conn.fetchval("SELECT $1::text::bigint[]", number_array(ids)) == ids
    assert await conn.fetchval("SELECT $1::text::bigint[]", number_array([])) == []
