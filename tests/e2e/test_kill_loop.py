"""The promise that matters most: what was acknowledged survives kill -9, once."""

import secrets

import pytest
from bench.kills import KINDS, kill_loop

KILLS = 20
CLIENTS = 16
RECOVERY_SECONDS_MAX = 15.0
"""Three on a quiet machine; here only a bound against hanging."""


@pytest.mark.serial
@pytest.mark.timeout(300)
async def test_twenty_kills_lose_nothing_that_was_acknowledged_and_double_nothing() -> None:
    seed = secrets.randbelow(2**32)
    outcome = await kill_loop(count=KILLS, clients=CLIENTS, seed=seed)
    print(f"\nseed {seed}\n{outcome.report()}")  # noqa: T201
    assert outcome.wrong == []
    assert set(outcome.journal.statuses) <= {200, 201, 409, 503}, outcome.log
    for complaint in ("unexpected error", "was never retrieved", "was never awaited"):
        assert complaint not in outcome.log, outcome.log
    assert len(outcome.journal.acknowledged) > KILLS, "there was something to lose"
    for kind in KINDS:
        assert max(outcome.recovery_of(kind)) <= RECOVERY_SECONDS_MAX
