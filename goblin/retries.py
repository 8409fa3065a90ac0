"""When a call is made again, without making it: no I/O here."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from goblin.calls import Call
from goblin.errors import (
    ConnectionLost,
    GoblinError,
    TooManyRequests,
    Unavailable,
    Unreachable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how long a request is tried again.

    The wait before the n-th repetition is random between half of and the whole of
    first_wait_seconds x 2^n, at most wait_seconds_max. A server that says how long to wait
    (Retry-After) is believed; one that wants more than wait_seconds_max is not waited for.
    """

    count: int = 5
    first_wait_seconds: float = 0.25
    wait_seconds_max: float = 30.0
    reconnect_seconds: float = 1.0
    """Least wait before a stream of events is opened again; the server asks for a second."""
    random: Callable[[], float] = random.random

    def wait_seconds(self, repetition: int, retry_after_seconds: float | None = None) -> float:
        """Before this repetition, the first being 0."""
        backoff = min(self.wait_seconds_max, self.first_wait_seconds * 2.0 ** min(repetition, 30))
        jittered = backoff * (1 + self.random()) / 2
        return jittered if retry_after_seconds is None else retry_after_seconds + jittered / 10


TRY_AGAIN_CODES: Final = frozenset({"request_in_progress", "concurrent_update"})
"""409s that pass by themselves: the first request with the key still runs, or nothing was done."""
PROXY_LOST: Final = frozenset({502, 504})
"""A proxy does not know what became of the request. goblin's own 502 does not pass."""


def passes(failure: GoblinError) -> bool:
    """Whether waiting helps."""
    is_busy = isinstance(failure, TooManyRequests | Unavailable)
    return is_busy or failure.code in TRY_AGAIN_CODES


class Attempts:
    """The attempts of one call: each failure is waited out or raised."""

    def __init__(self, call: Call, retries: Retries, *, url: str, was_reached: bool) -> None:
        """`was_reached`: the server has answered before. Else it is not running: no patience."""
        self._was_reached = was_reached
        self._call = call
        self._retries = retries
        self._url = url
        self._repetitions = 0

    def after_failure(self, cause: Exception, *, was_sent: bool) -> float:
        """Seconds to wait after the connection failed. Raises Unreachable, ConnectionLost."""
        if self._may_repeat(was_sent=was_sent):
            return self._wait(None)
        if was_sent:
            raise ConnectionLost(
                f"the connection to {self._url} broke during {self._call.name} "
                f"({type(cause).__name__})",
                hint=self._hint(),
                idempotency_key=self._call.idempotency_key,
            ) from cause
        raise unreachable(self._url, cause, self._call.idempotency_key) from cause

    def after_answer(self, failure: GoblinError) -> float:
        """Seconds to wait after an error. Raises it where waiting does not help."""
        unsafe = {"never", "unless lost"} if failure.status in PROXY_LOST else {"never"}
        wait = failure.retry_after_seconds or 0
        if (
            passes(failure)
            and self._call.repeatable not in unsafe
            and wait <= self._retries.wait_seconds_max
            and self._repetitions < self._retries.count
        ):
            return self._wait(failure.retry_after_seconds)
        raise failure

    def _may_repeat(self, *, was_sent: bool) -> bool:
        is_safe = self._call.repeatable == "always" if was_sent else self._was_reached
        return is_safe and self._repetitions < self._retries.count

    def _wait(self, retry_after_seconds: float | None) -> float:
        wait = self._retries.wait_seconds(self._repetitions, retry_after_seconds)
        self._repetitions += 1
        return wait

    def _hint(self) -> str:
        if self._call.repeatable == "always" and self._call.idempotency_key is None:
            return "ask again"
        if self._call.repeatable == "never":
            return "log in again"
        if self._call.idempotency_key is None:
            return "it may have been done, or not: look before you do it again"
        return (
            "it may have been done, or not: do it again with idempotency_key="
            f"{self._call.idempotency_key!r}, and it is done once"
        )


def unreachable(url: str, cause: Exception, idempotency_key: str | None = None) -> Unreachable:
    """Nothing answers there."""
    return Unreachable(
        f"nothing answers at {url} ({str(cause) or type(cause).__name__})",
        hint="is goblin running? Start it with ./scripts/run, or name the address of another: "
        'goblin.Client("http://127.0.0.1:8000")',
        idempotency_key=idempotency_key,
    )
