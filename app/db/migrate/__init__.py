"""The built-in migrator: Flyway's files, order, checksums, lock and history, without Java.

A database that Flyway migrated is continued here and the other way round; see
docs/adr/0004. `migrate`, `validate` and `info` mean what `flyway` means by them.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from app.db.address import DatabaseAddress
from app.db.errors import DRIVER_ERRORS
from app.db.migrate.errors import MigrationError
from app.db.migrate.files import MigrationFile, read_folder
from app.db.migrate.history import create_history, insert_row, lock, read_history
from app.db.migrate.state import MigrationInfo, State, compare, not_applied, pending, problems
from app.db.migrate.statements import line_of

__all__ = [
    "MigrationError",
    "MigrationInfo",
    "State",
    "info",
    "migrate",
    "newest_version",
    "validate",
]

CONNECT_SECONDS_MAX: Final = 30.0
LOCK_WAIT_SECONDS_MAX: Final = 600.0
RESET: Final = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"
"""What a file set for its session must not reach the history or the next file. It goes along
with the file's own text because asyncpg cannot execute a text without any statement."""


async def migrate(
    address: DatabaseAddress,
    folder: Path,
    *,
    lock_wait_seconds_max: float = LOCK_WAIT_SECONDS_MAX,
) -> list[str]:
    """Apply what is pending and return its versions and descriptions, in order.

    Each file runs in one transaction together with its row in the history: it is applied and
    remembered, or neither. Several processes may call this at once; one applies, the others
    wait for it and find nothing left to do. Raises MigrationError, before anything of the
    offending file was applied, also when the database cannot be reached.
    """
    files = read_folder(folder)
    async with _connect(address) as conn:
        await lock(conn, wait_seconds_max=lock_wait_seconds_max)
        await create_history(conn)
        infos = compare(files, await read_history(conn))
        _raise_if_any(problems(infos))
        applied = []
        for file in pending(infos):
            await _apply(conn, file)
            applied.append(file.title)
        return applied


async def validate(address: DatabaseAddress, folder: Path) -> None:
    """Raise MigrationError unless the database has exactly these files applied, unedited."""
    infos = await info(address, folder)
    _raise_if_any([*problems(infos), *not_applied(infos)])


async def info(address: DatabaseAddress, folder: Path) -> list[MigrationInfo]:
    """Return the state of every migration: the history in its order, then what is pending."""
    files = read_folder(folder)
    async with _connect(address) as conn:
        return compare(files, await read_history(conn))


def newest_version(folder: Path) -> str:
    """The version that a database has when it is up to date, as the history spells it."""
    return max(file.version for file in read_folder(folder) if file.version is not None).text


@asynccontextmanager
async def _connect(address: DatabaseAddress) -> AsyncIterator[asyncpg.Connection]:
    """Connect directly: the lock belongs to the session, which a pooler would share."""
    try:
        conn = await asyncpg.connect(
            **address.connect_arguments(),
            timeout=CONNECT_SECONDS_MAX,
            statement_cache_size=0,
            server_settings={"application_name": "goblin migrate"},
        )
    except DRIVER_ERRORS as error:
        message = (
            f"cannot connect to database {address.database!r} at {address.host} port"
            f" {address.port} as user {address.user!r}: {error or type(error).__name__};"
            " check that it runs, and DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD"
        )
        raise MigrationError(message) from error
    try:
        yield conn
    finally:
        await conn.close()


async def _apply(conn: asyncpg.Connection, file: MigrationFile) -> None:
    started = time.perf_counter()
    try:
        async with conn.transaction():
            await conn.execute("SET LOCAL search_path TO public")
            await conn.execute(f"{file.sql}\n;{RESET}")
            elapsed_ms = round((time.perf_counter() - started) * 1000)
            await insert_row(conn, file, execution_time_ms=elapsed_ms)
    except asyncpg.PostgresError as error:
        raise MigrationError(_describe(file, error)) from error
    except DRIVER_ERRORS as error:
        message = (
            f"{file.script}: the connection to the database was lost while it ran ({error});"
            " PostgreSQL undoes an unfinished migration; start again"
        )
        raise MigrationError(message) from error


def _describe(file: MigrationFile, error: asyncpg.PostgresError) -> str:
    """Say where, what, and what to do, from PostgreSQL's own fields."""
    position = error.position
    where = f", line {line_of(file.sql, int(position) - 1)}" if position else ""
    lines = [f"{file.script}{where}: {error.message} (SQLSTATE {error.sqlstate})"]
    for label, text in (
        ("Detail", error.detail),
        ("Hint", error.hint),
        ("Inside", error.context if not position else None),
    ):
        if text:
            lines.append(f"  {label}: {text}")
    lines.append("  Nothing of this file was applied; correct the cause and start again.")
    return "\n".join(lines)


def _raise_if_any(texts: list[str]) -> None:
    if texts:
        raise MigrationError("\n".join(texts))
