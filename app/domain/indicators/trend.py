"""Indicators of whether prices go somewhere, and where."""

from math import isfinite

from app.domain.indicators.averages import are_finite
from app.domain.indicators.bands import Atr, true_range
from app.domain.indicators.values import (
    NAN,
    AdxValue,
    SupertrendValue,
    check_period,
    check_width,
)


class _WilderSum:
    """Wilder's sum s - s / period + x, begun as the plain sum of period - 1 values."""

    def __init__(self, period: int) -> None:
        self._period = period
        self.clear()

    def clear(self) -> None:
        self._seen = 0
        self._sum = 0.0

    def update(self, value: float) -> float:
        self._seen += 1
        if self._seen < self._period:
            self._sum += value
            return NAN
        self._sum = self._sum - self._sum / self._period + value
        return self._sum


class Adx:
    """Wilder's average directional index with +DI and -DI.

    DI = 100 * sum of directional movement / sum of true range, DX = 100 * |+DI - -DI| /
    (+DI + -DI), ADX = Wilder's average of DX, seeded with the mean of the first `period`.
    The sums begin as TA-Lib's: `period` - 1 values added, then smoothed. DI first after
    `period` + 1 candles, ADX after 2 * `period`. Where nothing moves both DI are 0 and the
    ADX stays what it was, 0 from the start, as in TA-Lib.
    """

    _previous: tuple[float, float, float] | None
    _indices: int
    _total: float
    _adx: float

    def __init__(self, period: int = 14) -> None:
        self._period = check_period(period)
        self._plus = _WilderSum(period)
        self._minus = _WilderSum(period)
        self._range = _WilderSum(period)
        self._clear()

    def update(self, high: float, low: float, close: float) -> AdxValue[float]:
        """The three with this candle."""
        if not are_finite((high, low, close)):
            for each in (self._plus, self._minus, self._range):
                each.clear()
            self._clear()
            return AdxValue(NAN, NAN, NAN)
        before, self._previous = self._previous, (high, low, close)
        if before is None:
            return AdxValue(NAN, NAN, NAN)
        up, down = high - before[0], before[1] - low
        plus = self._plus.update(up if up > down and up > 0 else 0.0)
        minus = self._minus.update(down if down > up and down > 0 else 0.0)
        width = self._range.update(true_range(high, low, before[2]))
        if not isfinite(width):
            return AdxValue(NAN, NAN, NAN)
        plus_di = 100 * (plus / width) if width else 0.0
        minus_di = 100 * (minus / width) if width else 0.0
        both = plus_di + minus_di
        return AdxValue(
            self._averaged(100 * (abs(plus_di - minus_di) / both) if both else None),
            plus_di,
            minus_di,
        )

    def _clear(self) -> None:
        self._previous = None
        self._indices = 0
        self._total = 0.0
        self._adx = NAN

    def _averaged(self, index: float | None) -> float:
        self._indices += 1
        if self._indices <= self._period:
            self._total += index or 0.0
            if self._indices == self._period:
                self._adx = self._total / self._period
        elif index is not None:
            self._adx = (self._adx * (self._period - 1) + index) / self._period
        return self._adx


class Supertrend:
    """A line that trails prices `multiplier` average true ranges away and changes sides.

    The bands are (high + low) / 2 +- multiplier * ATR(period); each only tightens until a
    close has passed it. The line is the lower band in an uptrend and the upper in a downtrend,
    which turn when a close reaches it. First after `period` + 1; the first direction is up
    if the close is not below the middle. A flat series is its own line, going down.
    """

    _close: float
    _is_new: bool
    _is_rising: bool
    _upper: float
    _lower: float

    def __init__(self, period: int = 10, multiplier: float = 3.0) -> None:
        self._atr = Atr(period)
        self._multiplier = check_width(multiplier, name="multiplier")
        self._clear()

    def update(self, high: float, low: float, close: float) -> SupertrendValue[float]:
        """The line with this candle."""
        before, self._close = self._close, close
        atr = self._atr.update(high, low, close)
        if not isfinite(atr):
            self._clear()
            self._close = close
            return SupertrendValue(NAN, NAN)
        middle = (high + low) / 2
        upper = middle + self._multiplier * atr
        lower = middle - self._multiplier * atr
        if self._is_new:
            self._is_new = False
            self._is_rising = close >= middle
            self._upper, self._lower = upper, lower
        if upper < self._upper or before > self._upper:
            self._upper = upper
        if lower > self._lower or before < self._lower:
            self._lower = lower
        self._is_rising = close > (self._lower if self._is_rising else self._upper)
        if self._is_rising:
            return SupertrendValue(self._lower, 1.0)
        return SupertrendValue(self._upper, -1.0)

    def _clear(self) -> None:
        self._close = NAN
        self._is_new = True
        self._is_rising = False
        self._upper = self._lower = NAN
