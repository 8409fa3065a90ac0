"""When a venue is asked, and when it is left alone.

A circuit is closed while the venue answers. After FAILURES_MAX failures in a row it opens:
nobody asks. PROBE_SECONDS later one caller may (the probe); its success closes the circuit,
its failure begins another wait. A venue can also say how long it is to be left alone (a rate
limit, a ban), which holds whatever the circuit says.

All pure: `now` is in seconds of a clock that only goes forward, and every method returns the
circuit as it is afterwards.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from app.domain.errors import GoblinError, UpstreamUnavailable

FAILURES_MAX: Final = 5
PROBE_SECONDS: Final = 30.0
PROBE_RUNNING_SECONDS: Final = 1
"""When to ask again while the probe is on its way."""


class PriceUnavailable(UpstreamUnavailable):
    """The venue failed too often or told us to wait, and is left alone for a moment."""

    code = "price_unavailable"

    def __init__(self, venue: str, retry_after_seconds: int) -> None:
        GoblinError.__init__(
            self,
            f"{venue} API connection failed: it is asked again in {retry_after_seconds} seconds",
        )
        self.venue = venue
        self.retry_after_seconds = retry_after_seconds


class CircuitState(StrEnum):
    """Whether the venue is asked: always, not now, or by one caller only."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """What is known of a venue's health.

    `failures` counts those in a row; `since` is when the state began; before `ask_at` nobody
    asks. `turn` grows whenever the circuit opens or closes: the outcome of a call that began
    in an earlier turn says nothing about this one.
    """

    since: float
    state: CircuitState = CircuitState.CLOSED
    failures: int = 0
    ask_at: float = -math.inf
    turn: int = 0

    def seconds_to_wait(self, now: float) -> int:
        """0 when a call may begin now, else whole seconds until it is worth asking again."""
        if now < self.ask_at:
            return math.ceil(self.ask_at - now)
        return PROBE_RUNNING_SECONDS if self.state is CircuitState.PROBING else 0

    def begun(self, now: float) -> Self:
        """A call begins; `seconds_to_wait` was 0. In an open circuit it is the probe."""
        assert self.seconds_to_wait(now) == 0, "the caller asks first"
        if self.state is CircuitState.OPEN:
            return replace(self, state=CircuitState.PROBING, since=now)
        return self

    def succeeded(self, now: float, *, turn: int) -> Self:
        """A call that began in `turn` got an answer that can be used."""
        if turn != self.turn:
            return self
        if self.state is CircuitState.PROBING:
            return replace(
                self, state=CircuitState.CLOSED, since=now, failures=0, turn=self.turn + 1
            )
        return replace(self, failures=0)

    def failed(self, now: float, *, turn: int) -> Self:
        """A call that began in `turn` got no answer, or none that can be used."""
        if turn != self.turn:
            return self
        failures = self.failures + 1
        if self.state is CircuitState.CLOSED and failures < FAILURES_MAX:
            return replace(self, failures=failures)
        return replace(
            self,
            state=CircuitState.OPEN,
            since=now,
            failures=failures,
            ask_at=max(self.ask_at, now + PROBE_SECONDS),
            turn=self.turn + 1,
        )

    def abandoned(self, now: float, *, turn: int) -> Self:
        """A call that began in `turn` was given up by us; a probe is free for the next."""
        if turn == self.turn and self.state is CircuitState.PROBING:
            return replace(self, state=CircuitState.OPEN, since=now, turn=self.turn + 1)
        return self

    def paused(self, now: float, *, seconds: float) -> Self:
        """The venue asked to be left alone so long; a longer wait stays."""
        return replace(self, ask_at=max(self.ask_at, now + seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueState:
    """A circuit as the outside sees it.

    It has been in this `state` for `age_seconds` and failed `failures` times in a row; it may
    be asked in `retry_after_seconds` (0: now).
    """

    venue: str
    state: CircuitState
    age_seconds: float
    failures: int
    retry_after_seconds: int
