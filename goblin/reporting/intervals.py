"""Which candles show some executions best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from goblin.reporting.data import Execution

SECONDS: Final[Mapping[str, int]] = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200,
    "4h": 14_400, "6h": 21_600, "12h": 43_200, "1d": 86_400, "1w": 604_800, "1M": 2_592_000,
}  # fmt: skip
"""How long a candle is, a month as 30 days."""
CANDLES_WANTED: Final = 160
"""Between the first execution and the last one, at most: more are too thin to see."""
CANDLES_MAX: Final = 2000
AROUND: Final = 20
"""Candles before the first execution and after the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The candles that show executions from `first_at` to `last_at`."""

    interval: str
    first_at: datetime
    last_at: datetime

    @property
    def begin_at(self) -> datetime:
        """From which on to ask."""
        return self.first_at - self._around

    @property
    def end_at(self) -> datetime:
        """Up to which to ask."""
        return self.last_at + self._around

    @property
    def _around(self) -> timedelta:
        return timedelta(seconds=SECONDS[self.interval] * AROUND)


def window(executions: Sequence[Execution], *, interval: str | None) -> Window:
    """Around these executions, of which there is one; by the shortest interval that fits.

    Raises ValueError for an interval that does not exist or has too many candles.
    """
    first = min(each.venue_at for each in executions)
    last = max(each.venue_at for each in executions)
    seconds = (last - first).total_seconds()
    if interval is None:
        fitting = (name for name, each in SECONDS.items() if seconds <= each * CANDLES_WANTED)
        return Window(interval=next(fitting, "1M"), first_at=first, last_at=last)
    if interval not in SECONDS:
        raise ValueError(f"interval {interval!r}: expected one of {', '.join(SECONDS)}")
    count = round(seconds / SECONDS[interval])
    if count > CANDLES_MAX:
        raise ValueError(
            f"interval {interval!r} makes {count:,} candles of {executions[0].symbol}, and at most "
            f"{CANDLES_MAX:,} are drawn: choose a longer one, or leave it out"
        )
    return Window(interval=interval, first_at=first, last_at=last)
