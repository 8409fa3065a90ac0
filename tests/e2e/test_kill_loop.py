"""The promise that matters most: what was acknowledged survives kill -9, once."""

import secrets
from collections.abc import Sequence

import pytest
from bench.kills import KINDS, Outcome, kill_loop

KILLS = 20
CLIENTS = 16
WORKER_KINDS = ("worker", "server", "database", "worker")
RECOVERY_SECONDS_MAX = 100.0
"""Three on a quiet machine and a dozen on a busy one; here only a bound against hanging."""


@pytest.mark.serial
@pytest.mark.timeout(900)
async def test_twenty_kills_lose_nothing_that_was_acknowledged_and_double_nothing() -> None:
    seed = secrets.randbelow(2**32)
    outcome = await kill_loop(count=KILLS, clients=CLIENTS, seed=seed)
    judge(outcome, seed=seed, kinds=KINDS)


@pytest.mark.serial
@pytest.mark.timeout(900)
async def test_two_workers_keep_the_same_promise_whoever_of_them_is_killed() -> None:
    seed = secrets.randbelow(2**32)
    outcome = await kill_loop(
        count=len(WORKER_KINDS),
        clients=CLIENTS,
        seed=seed,
        workers=2,
        kinds_in_turn=WORKER_KINDS,
    )
    judge(outcome, seed=seed, kinds=WORKER_KINDS)
    assert "another takes its place" in outcome.log
    assert "the parent of the workers is gone" in outcome.log


def judge(outcome: Outcome, *, seed: int, kinds: Sequence[str]) -> None:
    print(f"\nseed {seed}\n{outcome.report()}")  # noqa: T201 - shown where it fails
    assert outcome.wrong == []
    assert set(outcome.journal.statuses) <= {200, 201, 409, 503}, outcome.log
    for complaint in ("unexpected error", "was never retrieved", "was never awaited"):
        assert complaint not in outcome.log, outcome.log
    assert len(outcome.journal.acknowledged) > len(outcome.kinds), "there was something to lose"
    for kind in kinds:
        assert max(outcome.recovery_of(kind)) <= RECOVERY_SECONDS_MAX
