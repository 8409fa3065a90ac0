"""Processes that use the embedded server as goblin does, and questions to that server."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.embedded import find_running
from app.db.errors import DRIVER_ERRORS

IS_ROOT = os.geteuid() == 0

APP = """
import asyncio, logging, sys
from pathlib import Path
from app.db.embedded import embedded_postgres

async def main():
    async with embedded_postgres(Path(sys.argv[1])) as address:
        print(address.host, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

logging.basicConfig(level=logging.INFO)
asyncio.run(main())
"""


def python_environment(*first: Path) -> dict[str, str]:
    path = [*first, PROJECT, Path(asyncpg.__file__).parents[1]]
    return {"PYTHONPATH": ":".join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}


def can_import(python: str, **process: Any) -> bool:
    with suppress(OSError):
        command = [python, "-c", "import app.db.embedded"]
        run = subprocess.run(
            command, cwd="/", env=python_environment(), check=False, capture_output=True, **process
        )
        return not run.returncode
    return False


class App:
    """A process of its own that uses the embedded server, as goblin does."""

    def __init__(
        self,
        data_dir: Path,
        *,
        python: str = sys.executable,
        python_path: Sequence[Path] = (),
        **process: Any,
    ) -> None:
        self.process = subprocess.Popen(
            [python, "-c", APP, str(data_dir)],
            cwd="/",
            env={**os.environ, **python_environment(*python_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **process,
        )

    async def serves(self) -> None:
        assert self.process.stdout
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line, self._complaint()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def leave(self) -> None:
        """End as on a clean exit, and insist that it was one."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(100) == 0, self._complaint()

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()

    def _complaint(self) -> str:
        assert self.process.stderr
        return str(self.process.stderr.read())


async def sql(address: DatabaseAddress, query: str, *arguments: object) -> Any:
    connection = await asyncpg.connect(**address.connect_arguments())
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def running(data_dir: Path) -> DatabaseAddress:
    address = await find_running(data_dir)
    assert address is not None
    return address


async def started_at(data_dir: Path) -> Any:
    return await sql(await running(data_dir), "SELECT pg_postmaster_start_time()")


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().split()[0])


def kill_postmaster(data_dir: Path) -> None:
    os.kill(postmaster(data_dir), signal.SIGKILL)


def server_log(data_dir: Path) -> str:
    return data_dir.with_name("postgres.log").read_text()


async def eventually(question: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer; pytest's timeout is the limit."""
    while True:
        with suppress(*DRIVER_ERRORS, AssertionError):
            if answer := await question():
                return answer
        await asyncio.sleep(0.02)
