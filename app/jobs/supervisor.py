"""What runs without a request, kept running."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

RESTART_SECONDS_MIN: Final = 1.0
RESTART_SECONDS_MAX: Final = 30.0

_log = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]
"""Runs until it is cancelled; a job that returns or fails is started again."""


@asynccontextmanager
async def supervised(jobs: Mapping[str, Job]) -> AsyncIterator[None]:
    """Run the jobs for as long as the block runs; no failure of theirs reaches it."""
    tasks = [asyncio.create_task(_keep_running(name, job), name=name) for name, job in jobs.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(name: str, job: Job) -> None:
    pause_seconds = RESTART_SECONDS_MIN
    loop = asyncio.get_running_loop()
    while True:
        started_at = loop.time()
        try:
            await job()
        except Exception:  # noqa: BLE001 - logged, and the job is started again
            _log.exception("job failed", extra={"job": name})
        if loop.time() - started_at > RESTART_SECONDS_MAX:
            pause_seconds = RESTART_SECONDS_MIN
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, RESTART_SECONDS_MAX)
