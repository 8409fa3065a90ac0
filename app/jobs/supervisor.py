"""What runs without a request, kept running."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.db.errors import DatabaseBusy
from app.domain.errors import Unavailable

RESTART_SECONDS_MIN: Final = 1.0
RESTART_SECONDS_MAX: Final = 30.0

_log = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]
"""Runs until it is cancelled; a job that returns or fails is started again."""

Done = Callable[[], None]
"""What a job calls each time it went through its work."""


def tell_nobody() -> None:
    """For a job that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job runs since `age_seconds`, or failed so long ago and waits to be started again."""

    is_running: bool
    age_seconds: float


class JobBoard:
    """What the supervisor knows of its jobs: their starts and their ends, not their progress."""

    def __init__(self) -> None:
        self._changes: dict[str, tuple[bool, float]] = {}

    def note(self, name: str, *, is_running: bool) -> None:
        """Write down that a job began, or ended."""
        self._changes[name] = (is_running, asyncio.get_running_loop().time())

    def states(self) -> dict[str, JobState]:
        """Every job by name."""
        now = asyncio.get_running_loop().time()
        return {
            name: JobState(is_running=is_running, age_seconds=now - changed_at)
            for name, (is_running, changed_at) in self._changes.items()
        }


@asynccontextmanager
async def supervised(
    jobs: Mapping[str, Job], *, board: JobBoard | None = None
) -> AsyncIterator[None]:
    """Run the jobs for as long as the block runs; no failure of theirs reaches it."""
    shown = JobBoard() if board is None else board
    tasks = [
        asyncio.create_task(_keep_running(name, job, shown), name=name)
        for name, job in jobs.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(name: str, job: Job, board: JobBoard) -> None:
    pause_seconds = RESTART_SECONDS_MIN
    loop = asyncio.get_running_loop()
    while True:
        started_at = loop.time()
        board.note(name, is_running=True)
        try:
            await job()
        except (Unavailable, DatabaseBusy) as error:  # both pass; where is of no interest
            _log.warning("job interrupted", extra={"job": name, "reason": error.message})
        except Exception:  # noqa: BLE001 - logged, and the job is started again
            _log.exception("job failed", extra={"job": name})
        board.note(name, is_running=False)
        if loop.time() - started_at > RESTART_SECONDS_MAX:
            pause_seconds = RESTART_SECONDS_MIN
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, RESTART_SECONDS_MAX)
