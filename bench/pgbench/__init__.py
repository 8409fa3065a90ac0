"""What PostgreSQL itself makes of the same order: pgbench, a C program, and no API around it."""

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from app.db.address import DatabaseAddress
from app.db.database import Database
from app.db.embedded.places import wheel_binaries
from app.domain.users import UserId
from app.services.desk import Desk

from bench.bookings import BATCH_MAX, LedgerTrader
from bench.books import discrepancies
from bench.installation import Installation
from bench.load import Run

CONNECTIONS: Final = (1, 20, 64)
BARE, WHOLE = "bare", "whole"
FORMS: Final = (BARE, WHOLE)
SCRIPTS: Final = Path(__file__).parent

TRANSACTIONS_MIN: Final = 4
"""Of each connection, where less than a second is asked for: pgbench counts whole seconds."""


class PgbenchFailedError(Exception):
    """pgbench did not do what it was asked to; its own words are the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pgbench:
    """Users for as many connections as there are at most, in the databases of the two forms."""

    folder: Path
    addresses: dict[str, DatabaseAddress]
    first_user_ids: dict[str, UserId]
    whole_db: Database

    async def run(self, form: str, *, connections: int, seconds: float) -> Run:
        """So many connections, each an order after the other for a user of its own."""
        address = self.addresses[form]
        prefix = self.folder / f"pgbench-{secrets.token_hex(4)}"
        amount = ("-T", f"{seconds:.0f}") if seconds >= 1 else ("-t", str(TRANSACTIONS_MIN))
        child = await asyncio.create_subprocess_exec(
            wheel_binaries() / "pgbench", "--no-vacuum", "--protocol=prepared",
            *("-c", str(connections), "-j", str(min(connections, os.cpu_count() or 1)), *amount),
            *("-D", f"first_user_id={self.first_user_ids[form]}", "-D", "is_holding=0"),
            *("-l", f"--log-prefix={prefix}", "-f", SCRIPTS / f"{form}.sql"),
            *("-h", address.host, "-p", str(address.port), "-U", address.user, address.database),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PGPASSWORD": address.password or ""},
        )  # fmt: skip
        printed, complaints = await child.communicate()
        rate = re.search(rb"^tps = ([0-9.]+)", printed, re.MULTILINE)
        has_failed = b"failed transactions: 0 " not in printed
        if child.returncode != 0 or rate is None or has_failed:
            raise PgbenchFailedError((printed + complaints).decode())
        if form == WHOLE:
            await self._sell_what_is_left()
        latencies = _latencies_seconds(prefix)
        return Run(seconds=len(latencies) / float(rate[1]), latencies_seconds=latencies)

    async def check_books(self) -> None:
        """Whether what the whole form wrote is what goblin would have written."""
        conn = await asyncpg.connect(**self.addresses[WHOLE].connect_arguments())
        try:
            found = await discrepancies(conn)
        finally:
            await conn.close()
        if found:
            raise PgbenchFailedError("\n".join(found))

    async def _sell_what_is_left(self) -> None:
        """Time was up for some who had bought; each run begins with nobody holding anything."""
        async with self.whole_db.connection() as conn:
            holders = await conn.fetch("SELECT user_id FROM transact WHERE status = 1")
        desk = Desk(self.whole_db, batch_max=BATCH_MAX)
        sellers = [LedgerTrader(desk, UserId(row["user_id"]), keyed=False) for row in holders]
        await asyncio.gather(*(seller.sell() for seller in sellers))


@asynccontextmanager
async def open_pgbench(installation: Installation, *, people_count: int) -> AsyncIterator[Pgbench]:
    """The whole form has a database of its own; the bare one, which writes no ledger, is
    where the other orders without a ledger are."""
    async with installation.another_database("goblin_pgbench") as (address, db):
        assert people_count >= max(CONNECTIONS), "each connection has a user of its own"
        people = await installation.people(people_count, db=db)
        plain = await installation.people(people_count, plain=True)
        desk = Desk(db, batch_max=BATCH_MAX)
        traders = [LedgerTrader(desk, p.user.id, keyed=False) for p in people[: max(CONNECTIONS)]]
        await asyncio.gather(*(trader.buy() for trader in traders))  # opens their accounts
        await asyncio.gather(*(trader.sell() for trader in traders))
        yield Pgbench(
            folder=installation.folder,
            addresses={BARE: installation.plain_address, WHOLE: address},
            first_user_ids={
                BARE: _first([person.user.id for person in plain]),
                WHOLE: _first([person.user.id for person in people]),
            },
            whole_db=db,
        )


def _first(user_ids: Sequence[UserId]) -> UserId:
    first = user_ids[0]
    assert list(user_ids) == list(range(first, first + len(user_ids))), "the scripts count on"
    return first


def _latencies_seconds(prefix: Path) -> list[float]:
    """One for each line of the logs: client, number, microseconds and when."""
    latencies = []
    for log in prefix.parent.glob(f"{prefix.name}.*"):
        latencies += [int(line.split()[2]) / 1e6 for line in log.read_text().splitlines()]
        log.unlink()
    return latencies
