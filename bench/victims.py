"""A server, its database and a venue in processes of their own, to be killed without warning."""

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.embedded import find_running, remove_data

SECRET: Final = "a secret of the kill loop, long enough for HS256"
RESTART_SECONDS: Final = 0.05
START_SECONDS_MAX: Final = 150.0


@dataclass
class Victims:
    """What is killed. The server is started again whenever it ends, as a supervisor would."""

    folder: Path
    port: int
    exchange_url: str
    dice: random.Random
    workers: int = 1
    unexpected_ends: int = 0
    _server: asyncio.subprocess.Process | None = None
    _is_expected: bool = False
    _orphans: list[int] = field(default_factory=list)
    _keeper: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data" / "postgres"

    async def address(self) -> DatabaseAddress:
        """Where the database is, once it answers."""
        async with asyncio.timeout(START_SECONDS_MAX):
            while True:
                found = await find_running(self.data_dir)
                if found is not None:
                    return found
                await asyncio.sleep(0.05)

    def kill(self, kind: str) -> None:
        """kill -9 of the server (with several workers their parent), the whole database, both,
        one of the database's backends, or one of several workers."""
        match kind:
            case "server":
                self._kill_server()
            case "database":
                self._kill_database()
            case "both":
                self._kill_server()
                self._kill_database()
            case "backend":
                self._kill_backend()
            case "worker":
                self._kill_worker()
            case _:
                raise ValueError(kind)

    async def orphans_gone(self) -> None:
        """Wait for the workers whose parent was killed: they have to notice, and to stop."""
        async with asyncio.timeout(START_SECONDS_MAX):
            while True:
                if not any("\0worker\0" in title_of(pid) for pid in self._orphans):
                    return
                await asyncio.sleep(0.02)

    def log(self) -> str:
        """What the server has said."""
        return (self.folder / "server.log").read_text(errors="replace")

    def _kill_server(self) -> None:
        assert self._server is not None
        self._is_expected = True
        self._orphans = self._workers_of(self._server)
        with suppress(ProcessLookupError):
            self._server.send_signal(signal.SIGKILL)

    @staticmethod
    def _workers_of(server: asyncio.subprocess.Process) -> list[int]:
        return [pid for pid in children_of(server.pid) if "\0worker\0" in title_of(pid)]

    def _kill_worker(self) -> None:
        assert self._server is not None
        workers = self._workers_of(self._server)
        assert workers, "the loop kills once changes are made again, and a worker makes them"
        with suppress(ProcessLookupError):
            os.kill(self.dice.choice(workers), signal.SIGKILL)

    def _kill_database(self) -> None:
        postmaster = self._postmaster()
        for pid in (postmaster, *children_of(postmaster)):  # each backend has its own group
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _kill_backend(self) -> None:
        backends = [pid for pid in children_of(self._postmaster()) if "[local]" in title_of(pid)]
        with suppress(ProcessLookupError):
            os.kill(self.dice.choice(backends), signal.SIGKILL)

    def _postmaster(self) -> int:
        return int((self.data_dir / "postmaster.pid").read_text().splitlines()[0])

    async def keep_serving(self) -> None:
        """Start the server, and again whenever it has ended, until cancelled."""
        environment = {
            **os.environ,
            "DATA_DIR": str(self.folder / "data"),
            "BYBIT_BASE_URL": self.exchange_url,
            "PORT": str(self.port),
            "JWT_SECRET_KEY": SECRET,
            "LOG_LEVEL": "WARNING",
            "RATE_LIMIT_PER_MINUTE": "0",
            "PYTHONPATH": str(PROJECT),
        }
        for name in ("DB_HOST", "PRICE_SOURCE", "ENVIRONMENT", "HOST"):
            environment.pop(name, None)
        with (self.folder / "server.log").open("ab") as log:
            while True:
                self._server = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "app", "serve", "--workers", str(self.workers),
                    cwd=PROJECT, env=environment, stdout=log, stderr=log,
                )  # fmt: skip
                try:
                    await self._server.wait()
                except asyncio.CancelledError:
                    self._server.terminate()
                    await self._server.wait()
                    raise
                if not self._is_expected:
                    self.unexpected_ends += 1
                self._is_expected = False
                await asyncio.sleep(RESTART_SECONDS)


def children_of(parent: int) -> list[int]:
    """The processes that this one has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[1]) == parent:
                found.append(int(entry.name))
    return found


def title_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


@asynccontextmanager
async def victims(dice: random.Random, *, workers: int = 1) -> AsyncIterator[Victims]:
    """A new installation that serves, and nothing of it afterwards."""
    with scratch_folder() as folder, kept_port() as port:
        exchange = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.replay", "--port", "0",
            cwd=PROJECT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert exchange.stdout is not None
        said = (await exchange.stdout.readline()).decode()
        found = Victims(
            folder=folder,
            port=port,
            exchange_url=said.split()[-1],
            dice=dice,
            workers=workers,
        )
        keeper = asyncio.create_task(found.keep_serving())
        try:
            yield found
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            exchange.terminate()
            await exchange.wait()
            await remove_data(found.data_dir)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="goblin-kills-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kept_port() -> Iterator[int]:
    """A port of loopback on which nobody listens, and that the system gives to nobody else.

    Whoever is told of it can listen there, again and again: servers do not mind what only keeps
    a port.
    """
    with socket.socket() as keeping:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            keeping.setsockopt(socket.SOL_SOCKET, option, 1)
        keeping.bind(("127.0.0.1", 0))
        port: int = keeping.getsockname()[1]
        yield port
