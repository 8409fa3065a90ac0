import math

import pytest
from app.http.rate_limit import WINDOW_SECONDS, Quota, RateLimit
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send


def test_a_quota_may_be_spent_at_once_and_then_comes_back_evenly() -> None:
    quota = Quota(60)
    for left in reversed(range(60)):
        verdict = quota.take("ada", now=100.0)
        assert (verdict.is_allowed, verdict.remaining) == (True, left)
    refused = quota.take("ada", now=100.0)
    assert not refused.is_allowed
    assert (refused.remaining, refused.retry_after_seconds, refused.whole_in_seconds) == (0, 1, 60)
    assert not quota.take("ada", now=100.9).is_allowed
    assert quota.take("ada", now=101.0).is_allowed
    assert not quota.take("ada", now=101.0).is_allowed
    assert quota.take("ada", now=200.0).remaining == 59


def test_whoever_waits_as_long_as_told_is_served() -> None:
    quota = Quota(5)
    for _ in range(5):
        quota.take("ada", now=0.0)
    wait_seconds = quota.take("ada", now=0.5).retry_after_seconds
    assert quota.take("ada", now=0.5 + wait_seconds).is_allowed


def test_one_callers_quota_is_not_anothers() -> None:
    quota = Quota(1)
    assert quota.take("ada", now=0.0).is_allowed
    assert not quota.take("ada", now=0.0).is_allowed
    assert quota.take("bob", now=0.0).is_allowed


def test_however_many_callers_there_are_few_are_remembered_and_the_busy_ones_stay() -> None:
    quota = Quota(10, keys_max=100)
    for number in range(10_000):
        now = number / 10_000
        quota.take(number, now=now)
        if number % 50 == 0:
            assert quota.take("busy", now=now).is_allowed == (number < 500)
    assert len(quota) == 100


@given(
    st.integers(1, 10_000),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=300),
)
def test_no_pace_gets_more_than_the_quota_and_what_came_back(
    per_minute: int, pauses: list[float]
) -> None:
    quota = Quota(per_minute)
    now, allowed = 1000.0, 0
    for pause in pauses:
        now += pause
        for _ in range(10):
            verdict = quota.take("ada", now=now)
            allowed += verdict.is_allowed
            assert 0 <= verdict.remaining < per_minute
            assert 0 <= verdict.whole_in_seconds <= math.ceil(WINDOW_SECONDS)
            assert (verdict.retry_after_seconds == 0) == verdict.is_allowed
            assert verdict.retry_after_seconds <= math.ceil(WINDOW_SECONDS / per_minute)
    assert allowed <= per_minute * (1 + (now - 1000.0) / WINDOW_SECONDS) + 1e-3


@pytest.mark.parametrize("per_minute", [1, 7, 60, 6000, 10_000_000])
def test_exactly_the_quota_is_allowed_at_one_instant(per_minute: int) -> None:
    quota = Quota(per_minute)
    tried = min(per_minute, 20_000)
    assert all(quota.take("ada", now=12345.678).is_allowed for _ in range(tried))
    assert quota.take("ada", now=12345.678).is_allowed == (tried < per_minute)


async def test_whoever_writes_more_over_a_websocket_than_they_may_ask_is_read_more_slowly() -> None:
    now = 0.0
    read: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def socket(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            read.append(now)

    sent: list[Message] = [
        {"type": "websocket.connect"},
        *[{"type": "websocket.receive", "text": "{}"}] * 31,
        {"type": "websocket.disconnect"},
    ]

    async def receive() -> Message:
        return sent.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    limit = RateLimit(socket, per_minute=30, monotonic=lambda: now, sleep=sleep)
    scope = {"type": "websocket", "path": "/ws/market", "headers": [], "client": ("10.0.0.1", 1)}
    await limit(scope, receive, send)
    assert read == [0.0] * 30 + [2.0, 4.0], "the handshake and 29 messages at once, two in turn"
    assert not sent
