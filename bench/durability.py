"""Whether the figures are paid for: each commit waits until the disk has it."""

import asyncpg
from app.db.database import open_database
from app.services.desk import Desk

from bench.bookings import LedgerTrader
from bench.installation import Installation

ORDERS = 50
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")

_WAL_SYNCS = """
    SELECT coalesce(sum(fsyncs), 0)::int FROM pg_stat_io
    WHERE object = 'wal' AND backend_type = 'client backend'
"""


class NotDurableError(Exception):
    """The database keeps less than it confirms; no figure of such a run counts."""


async def check(installation: Installation) -> None:
    """Book lone orders, and count how often PostgreSQL synchronised its log for them.

    A setting can be overruled for a role, a database or a session; the count cannot.
    """
    (person,) = await installation.people(1)
    admin = await asyncpg.connect(**installation.address.connect_arguments())
    try:
        async with open_database(installation.address, pool_size=1) as db:
            trader = LedgerTrader(Desk(db, batch_max=1), person.user.id, keyed=False)
            before = await admin.fetchval(_WAL_SYNCS)
            for _ in range(ORDERS // 2):
                await trader.buy()
                await trader.sell()
            async with db.connection() as conn:  # the pool's only one, which booked the orders
                await conn.execute("SELECT pg_stat_force_next_flush()")
                settings = [await conn.fetchval("SELECT current_setting($1)", s) for s in SETTINGS]
        syncs = await admin.fetchval(_WAL_SYNCS) - before
    finally:
        await admin.close()
    print(
        f"\nDurability: {', '.join(f'{s}={v}' for s, v in zip(SETTINGS, settings, strict=True))};"
    )
    print(f"  {ORDERS} lone orders waited for {syncs} synchronisations of the log")
    if settings != ["on"] * len(SETTINGS) or syncs < ORDERS:
        raise NotDurableError(
            "orders were confirmed before the disk had them: nothing was measured"
        )
