"""The table `instruments`: what venues trade, as they last said."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.db.connection import Connection, Row
from app.domain.instruments import Category, Instrument, Symbol, Venue


def _instrument(row: Row) -> Instrument:
    return Instrument(
        venue=Venue(row["venue"]),
        category=Category(row["category"]),
        symbol=Symbol(row["symbol"]),
        base=row["base"],
        quote=row["quote"],
        status=row["status"],
        tick_size=row["tick_size"],
        lot_step=row["lot_step"],
        quantity_min=row["quantity_min"],
        quantity_max=row["quantity_max"],
        amount_min=row["amount_min"],
    )


async def get_instrument(
    conn: Connection, *, venue: Venue, category: Category, symbol: Symbol
) -> Instrument | None:
    """One instrument, listed now or once."""
    row = await conn.fetchrow(
        """
        SELECT venue, category, symbol, base, quote, status, tick_size, lot_step, quantity_min,
            quantity_max, amount_min
        FROM instruments
        WHERE venue = $1 AND category = $2 AND symbol = $3
        """,
        venue,
        category,
        symbol,
    )
    return None if row is None else _instrument(row)


async def get_instruments(
    conn: Connection,
    *,
    venue: Venue,
    category: Category,
    symbol: Symbol | None,
    after: str,
    limit: int,
) -> list[Instrument]:
    """A page of a category by symbol, or the one symbol."""
    rows = await conn.fetch(
        """
        SELECT venue, category, symbol, base, quote, status, tick_size, lot_step, quantity_min,
            quantity_max, amount_min
        FROM instruments
        WHERE venue = $1 AND category = $2 AND symbol > $4
            AND ($3::text IS NULL OR symbol = $3)
        ORDER BY symbol
        LIMIT $5
        """,
        venue,
        category,
        symbol,
        after,
        limit,
    )
    return [_instrument(row) for row in rows]


async def get_refreshed_at(
    conn: Connection, *, venue: Venue, category: Category
) -> datetime | None:
    """When the category was last refreshed; None if it never was."""
    refreshed_at: datetime | None = await conn.fetchval(
        "SELECT max(refreshed_at) FROM instruments WHERE venue = $1 AND category = $2",
        venue,
        category,
    )
    return refreshed_at


async def get_stale_categories(
    conn: Connection, *, age_min: timedelta
) -> list[tuple[Venue, Category]]:
    """What is in use and was not refreshed for so long."""
    rows = await conn.fetch(
        """
        SELECT venue, category
        FROM instruments
        GROUP BY venue, category
        HAVING max(refreshed_at) < clock_timestamp() - $1::interval
        ORDER BY venue, category
        """,
        age_min,
    )
    return [(Venue(row["venue"]), Category(row["category"])) for row in rows]


async def get_instant(conn: Connection) -> datetime:
    """The database's clock, which all processes share."""
    instant: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return instant


async def upsert_instruments(
    conn: Connection, *, instruments: Sequence[Instrument], refreshed_at: datetime
) -> None:
    """Write what a venue lists now, over what it listed before."""
    await conn.execute(
        """
        INSERT INTO instruments (venue, category, symbol, base, quote, status, tick_size,
            lot_step, quantity_min, quantity_max, amount_min, refreshed_at)
        SELECT DISTINCT ON (venue, category, symbol) venue, category, symbol, base, quote, status,
            tick_size, lot_step, quantity_min, quantity_max, amount_min, $12::timestamptz
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
            $7::numeric[], $8::numeric[], $9::numeric[], $10::numeric[], $11::numeric[])
            AS listed (venue, category, symbol, base, quote, status, tick_size, lot_step,
                quantity_min, quantity_max, amount_min)
        ON CONFLICT (venue, category, symbol) DO UPDATE SET
            base = excluded.base,
            quote = excluded.quote,
            status = excluded.status,
            tick_size = excluded.tick_size,
            lot_step = excluded.lot_step,
            quantity_min = excluded.quantity_min,
            quantity_max = excluded.quantity_max,
            amount_min = excluded.amount_min,
            refreshed_at = excluded.refreshed_at
        """,
        [i.venue for i in instruments],
        [i.category for i in instruments],
        [i.symbol for i in instruments],
        [i.base for i in instruments],
        [i.quote for i in instruments],
        [i.status for i in instruments],
        [i.tick_size for i in instruments],
        [i.lot_step for i in instruments],
        [i.quantity_min for i in instruments],
        [i.quantity_max for i in instruments],
        [i.amount_min for i in instruments],
        refreshed_at,
    )


async def update_unlisted(
    conn: Connection, *, venue: Venue, category: Category, status: str, refreshed_at: datetime
) -> None:
    """Mark what the venue listed before the refresh and does not list any more."""
    await conn.execute(
        """
        UPDATE instruments SET status = $3
        WHERE venue = $1 AND category = $2 AND refreshed_at < $4 AND status <> $3
        """,
        venue,
        category,
        status,
        refreshed_at,
    )


async def truncate_instruments(conn: Connection) -> None:
    """Forget what is traded."""
    await conn.execute("TRUNCATE instruments")
