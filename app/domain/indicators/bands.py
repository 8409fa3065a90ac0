"""Channels around prices, and the range that some are measured in."""

from math import isfinite, sqrt

from app.domain.indicators.averages import Wilder, Window, are_finite, mean
from app.domain.indicators.values import NAN, Bands, check_width


class Bollinger:
    """Mean of `period` closes, and so many population standard deviations around it.

    First after `period`. A flat series has three equal bands.
    """

    def __init__(self, period: int = 20, deviations: float = 2.0) -> None:
        self._window = Window(period)
        self._deviations = check_width(deviations, name="deviations")

    def update(self, close: float) -> Bands[float]:
        """The bands with this close."""
        window = self._window.push(close)
        if window is None:
            return Bands(NAN, NAN, NAN)
        middle = mean(window)
        squares = 0.0
        for value in window:
            squares += (value - middle) * (value - middle)
        width = self._deviations * sqrt(squares / len(window))
        return Bands(middle + width, middle, middle - width)


class Donchian:
    """The highest high and the lowest low of the last `period` candles, and their middle.

    This candle is one of them, as on most charts; for a breakout compare with the candle
    before. First after `period`.
    """

    def __init__(self, period: int = 20) -> None:
        self._highs = Window(period)
        self._lows = Window(period)

    def update(self, high: float, low: float) -> Bands[float]:
        """The channel with this candle."""
        if not are_finite((high, low)):
            self._highs.clear()
            self._lows.clear()
            return Bands(NAN, NAN, NAN)
        highs, lows = self._highs.push(high), self._lows.push(low)
        if highs is None or lows is None:
            return Bands(NAN, NAN, NAN)
        upper, lower = max(highs), min(lows)
        return Bands(upper, (upper + lower) / 2, lower)


def true_range(high: float, low: float, previous_close: float) -> float:
    """Wilder's: the candle's height, with the way from the close before."""
    return max(high - low, abs(high - previous_close), abs(low - previous_close))


class Atr:
    """Average true range: Wilder's average. First after `period` + 1; a flat series is 0.

    The first candle has no close before it and, as in TA-Lib, no true range.
    """

    def __init__(self, period: int = 14) -> None:
        self._average = Wilder(period)
        self._previous_close = NAN

    def update(self, high: float, low: float, close: float) -> float:
        """The range with this candle, in the unit of the prices."""
        if not are_finite((high, low, close)):
            self._average.clear()
            self._previous_close = NAN
            return NAN
        previous_close, self._previous_close = self._previous_close, close
        if not isfinite(previous_close):
            return NAN
        return self._average.update(true_range(high, low, previous_close))
