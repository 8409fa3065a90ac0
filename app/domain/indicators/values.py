"""What indicators answer: a number each, or several that belong together."""

from math import nan
from typing import Final, Generic, NamedTuple, TypeVar

NAN: Final = nan
PERIOD_MAX: Final = 1000
"""Candles that an indicator looks back at most."""

T = TypeVar("T")
"""A number for one candle, an array for a series."""


class Bands(NamedTuple, Generic[T]):
    """A channel around prices."""

    upper: T
    middle: T
    lower: T


class MacdValue(NamedTuple, Generic[T]):
    """Two averages' difference, its own average, and how far the first is above the second."""

    macd: T
    signal: T
    histogram: T


class StochasticValue(NamedTuple, Generic[T]):
    """%K, smoothed, and its average %D; 0 at the range's bottom, 100 at its top."""

    k: T
    d: T


class AdxValue(NamedTuple, Generic[T]):
    """How strong the trend is, and the strength of both directions; each from 0 to 100."""

    adx: T
    plus_di: T
    minus_di: T


class SupertrendValue(NamedTuple, Generic[T]):
    """The trailing line, and 1 while prices are above it, -1 while they are below."""

    line: T
    direction: T


def check_period(period: float, *, name: str = "period") -> int:
    """The period. Raises ValueError for anything but a whole number from 1 to PERIOD_MAX."""
    if not isinstance(period, int) or not 1 <= period <= PERIOD_MAX:
        raise ValueError(f"{name} has to be a whole number from 1 to {PERIOD_MAX}, not {period}")
    return period


def check_periods(fast: int, slow: int) -> None:
    """Raise ValueError unless the fast period is the shorter."""
    check_period(fast, name="fast")
    check_period(slow, name="slow")
    if fast >= slow:
        raise ValueError(f"fast has to be less than slow, not {fast} and {slow}")


def check_width(width: float, *, name: str) -> float:
    """How many deviations or ranges wide a band is: above 0, at most 100."""
    if not 0 < width <= 100:  # noqa: PLR2004 - also false for NaN
        raise ValueError(f"{name} has to be a number above 0, at most 100, not {width}")
    return width
