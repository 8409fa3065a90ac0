"""A PostgreSQL of its own under a whole application, and the ways to trouble it."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import asyncpg
from app.db.address import DatabaseAddress
from app.db.database import open_pool
from tests.concurrency.faults import with_pool
from tests.conftest import Installation, Person, new_person
from tests.unproven import unproven

POOL_SIZE: Final = 4
COMMAND_SECONDS: Final = 3.0
UNTROUBLED: Final = {"statement_timeout": "0", "default_transaction_read_only": "off"}


@dataclass(frozen=True)
class Troubled:
    """An installation on a server of its own, and the folder that server lives in."""

    running: Installation
    address: DatabaseAddress
    data: Path
    pool: asyncpg.Pool

    async def person(self) -> Person:
        return await new_person(self.running, balance="1000")

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection that no `server_setting` reaches."""
        conn = await asyncpg.connect(**self.address.connect_arguments(), server_settings=UNTROUBLED)
        try:
            yield conn
        finally:
            await conn.close(timeout=10)

    def postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def account(self) -> int:
        """Whom the server runs as; never root."""
        return Path(f"/proc/{self.postmaster()}").stat().st_uid


@asynccontextmanager
async def impatient(troubled: Troubled) -> AsyncIterator[Troubled]:
    """The same, while it waits for no statement longer than COMMAND_SECONDS."""
    app, usual = troubled.running.app, troubled.running.resources
    async with open_pool(
        troubled.address, size=POOL_SIZE, command_seconds_max=COMMAND_SECONDS
    ) as pool:
        app.state.resources = with_pool(usual, pool)
        running = replace(troubled.running, resources=app.state.resources)
        try:
            yield replace(troubled, running=running, pool=pool)
        finally:
            app.state.resources = usual


async def cut_every_connection(admin: asyncpg.Connection) -> list[int]:
    """The backends that were told to end; some answer what they were asked before they do."""
    told = await admin.fetch(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return [row["pid"] for row in told]


async def their_ends_are_seen(backends: list[int]) -> None:
    """Wait until the last of them is gone, and has been read to its end."""
    while any(Path(f"/proc/{pid}").exists() for pid in backends):  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)


async def cut_every_connection_of_goblin(admin: asyncpg.Connection) -> None:
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'goblin'"
    )


def family(parent: int) -> list[int]:
    """The process and its children, which for PostgreSQL is all there is."""
    found = [parent]
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            _, _, fields = file.read_text().rpartition(")")
            if int(fields.split()[1]) == parent:
                found.append(int(file.parent.name))
    return found


@contextmanager
def stopped(postmaster: int) -> Iterator[None]:
    """Frozen: it neither answers nor closes a connection, as behind a broken network.

    The first and the last of them is the one that makes the others, and that takes note of
    their ends: meanwhile there are no more of them, and no fewer.
    """
    os.kill(postmaster, signal.SIGSTOP)
    pids = [postmaster]
    try:
        pids = family(postmaster)
        assert len(pids) > 3, "its backends were found too"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def server_setting(troubled: Troubled, name: str, value: str) -> AsyncIterator[None]:
    """For all connections that are made from now on, as after a fail-over."""
    async with troubled.admin() as admin:
        await admin.execute(f"ALTER DATABASE {troubled.address.database} SET {name} = '{value}'")
    await troubled.pool.expire_connections()
    try:
        yield
    finally:
        async with troubled.admin() as admin:
            await admin.execute(f"ALTER DATABASE {troubled.address.database} RESET {name}")


@contextmanager
def small_disk(owner: int) -> Iterator[Path]:
    """A file system of 8 MB, which only root can make."""
    folder = Path(tempfile.mkdtemp(prefix="goblin-small-disk-"))
    folder.chmod(0o755)
    options = f"size=8m,mode=700,uid={owner}"
    try:
        mounted = subprocess.run(
            ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode != 0:
            unproven("no way to fill a disk: that needs root and mount")
        yield folder
    finally:
        subprocess.run(
            ["/usr/bin/env", "umount", "--lazy", str(folder)], capture_output=True, check=False
        )
        folder.rmdir()


def is_full(folder: Path) -> bool:
    """Whether there is less room than PostgreSQL makes at once for what is written next."""
    return shutil.disk_usage(folder).free < 1_000_000


def grow(folder: Path) -> None:
    """Somebody makes room."""
    subprocess.run(["/usr/bin/env", "mount", "-o", "remount,size=64m", str(folder)], check=True)
