import asyncio

import pytest
from app.jobs.supervisor import supervised


async def test_a_job_that_fails_is_logged_and_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    starts = 0
    is_running_again = asyncio.Event()

    async def job() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise RuntimeError("the reason")
        is_running_again.set()
        await asyncio.Event().wait()

    async with supervised({"fragile": job}):
        await asyncio.wait_for(is_running_again.wait(), timeout=20)
    assert starts == 2
    assert "job failed" in caplog.text
    assert "the reason" in caplog.text


async def test_jobs_end_with_the_block() -> None:
    is_cancelled = False
    is_running = asyncio.Event()

    async def job() -> None:
        nonlocal is_cancelled
        is_running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            is_cancelled = True
            raise

    async with supervised({"patient": job}):
        await is_running.wait()
    assert is_cancelled
