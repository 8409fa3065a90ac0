import asyncio

import pytest
from app.db.errors import RowLocked
from app.domain.errors import GoblinError, Unavailable
from app.jobs.supervisor import JobBoard, supervised


async def fail_once(error: Exception) -> None:
    """A job that fails so is started again, and then runs."""
    starts = 0
    is_running_again = asyncio.Event()

    async def job() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise error
        is_running_again.set()
        await asyncio.Event().wait()

    async with supervised({"fragile": job}):
        await asyncio.wait_for(is_running_again.wait(), timeout=20)
    assert starts == 2


async def test_a_job_that_fails_is_logged_and_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await fail_once(RuntimeError("the reason"))
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


async def test_the_board_tells_which_jobs_run_and_which_wait_to_be_started_again() -> None:
    board = JobBoard()
    has_failed = asyncio.Event()

    async def failing() -> None:
        has_failed.set()
        raise RuntimeError("the reason")

    async def running() -> None:
        await asyncio.Event().wait()

    async with supervised({"good": running, "bad": failing}, board=board):
        await has_failed.wait()
        await asyncio.sleep(0)
        states = board.states()
    assert {name: state.is_running for name, state in states.items()} == {
        "good": True,
        "bad": False,
    }
    assert all(state.age_seconds >= 0 for state in states.values())


@pytest.mark.parametrize("error", [Unavailable("the database is away"), RowLocked()])
async def test_a_job_whose_database_is_away_or_locked_is_a_line_and_not_a_traceback(
    caplog: pytest.LogCaptureFixture, error: GoblinError
) -> None:
    await fail_once(error)
    (line,) = [record for record in caplog.records if vars(record).get("job") == "fragile"]
    assert (line.levelname, line.exc_info) == ("WARNING", None)
    assert line.__dict__["reason"] == error.message
