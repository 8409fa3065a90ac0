"""What time it is on the exchange."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from app.replay.errors import WrongTime

SPEED_MAX: Final = 10_000
INSTANT_MS_MAX: Final = 253_370_764_800_000  # the year 9999


class ReplayClock:
    """Runs from `start_ms` at `speed` times real time, and stops for good at `last_ms`.

    A speed of 0 stands still until `advance` or `set`. Times are milliseconds since 1970 UTC.
    `monotonic_ns` is where real time comes from; tests hand in their own.
    """

    def __init__(
        self,
        start_ms: int,
        *,
        last_ms: int | None = None,
        speed: float = 1,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._last_ms = last_ms
        self._speed = _checked_speed(speed)
        self._from_ms = self._until_last(start_ms)
        self._from_ns = monotonic_ns()

    @property
    def speed(self) -> float:
        """Exchange seconds in a real second."""
        return self._speed

    @property
    def last_ms(self) -> int | None:
        """The last millisecond that the market has a price for; None: it has no end."""
        return self._last_ms

    def now_ms(self) -> int:
        """The exchange's time."""
        elapsed_ns = self._monotonic_ns() - self._from_ns
        return self._until_last(self._from_ms + int(elapsed_ns * self._speed) // 1_000_000)

    def set(self, instant_ms: int) -> None:
        """Jump to an instant, also backwards."""
        self._from_ms = self._until_last(instant_ms)
        self._from_ns = self._monotonic_ns()

    def advance(self, milliseconds: int) -> None:
        """Jump forwards."""
        if milliseconds < 0:
            raise WrongTime("advance goes forwards; use set to go back")
        self.set(self.now_ms() + milliseconds)

    def set_speed(self, speed: float) -> None:
        """Go on from now at another speed."""
        checked = _checked_speed(speed)
        self.set(self.now_ms())
        self._speed = checked

    def _until_last(self, instant_ms: int) -> int:
        if not 0 <= instant_ms <= INSTANT_MS_MAX:
            raise WrongTime("the clock goes from 1970-01-01, which is 0, to the year 9999")
        return instant_ms if self._last_ms is None else min(instant_ms, self._last_ms)


def _checked_speed(speed: float) -> float:
    if not 0 <= speed <= SPEED_MAX:  # NaN is not
        raise WrongTime(f"speed is a number from 0 (stepped) to {SPEED_MAX}")
    return speed


def parse_instant_ms(text: object) -> int:
    """Milliseconds since 1970 UTC out of themselves or an ISO 8601 time; UTC if it says none."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    try:
        if isinstance(text, str) and text.isascii() and text.isdigit():
            return int(text)
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        raise WrongTime(
            f"{text!r} is neither milliseconds since 1970 nor like 2025-06-01T00:00Z"
        ) from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return round(instant.timestamp() * 1000)


def iso_time(instant_ms: int) -> str:
    """An instant for people: 2025-06-01T00:00:00.000Z."""
    if not 0 <= instant_ms <= INSTANT_MS_MAX:
        return f"{instant_ms} ms"
    instant = datetime.fromtimestamp(instant_ms // 1000, tz=UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1000:03}Z"
