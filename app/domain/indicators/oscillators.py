"""Indicators of how fast prices move."""

from math import isfinite

from app.domain.indicators.averages import Ema, Sma, Wilder, Window, are_finite
from app.domain.indicators.values import (
    NAN,
    MacdValue,
    StochasticValue,
    check_period,
    check_periods,
)


class Rsi:
    """Wilder's relative strength index, 100 * gains / (gains + losses). First after `period` + 1.

    Gains and losses are Wilder's averages of the changes up and down. NaN as long as the price
    never moved (0 / 0; TA-Lib answers 0); 100 when it only rose, 0 when it only fell.
    """

    def __init__(self, period: int = 14) -> None:
        self._gains = Wilder(period)
        self._losses = Wilder(period)
        self._previous = NAN

    def update(self, close: float) -> float:
        """The index with this close."""
        previous, self._previous = self._previous, close
        change = close - previous
        if not isfinite(change):
            self._gains.clear()
            self._losses.clear()
            return NAN
        gains = self._gains.update(max(change, 0.0))
        losses = self._losses.update(max(-change, 0.0))
        both = gains + losses
        return 100 * (gains / both) if both else NAN


class Roc:
    """Rate of change in percent: (x / x[-period] - 1) * 100. First after `period` + 1.

    NaN where the older value is 0 (TA-Lib answers 0). A flat series is 0.
    """

    def __init__(self, period: int = 10) -> None:
        self._window = Window(check_period(period) + 1)

    def update(self, close: float) -> float:
        """The rate with this close."""
        window = self._window.push(close)
        return NAN if window is None or window[0] == 0 else (close / window[0] - 1) * 100


class Macd:
    """Moving average convergence/divergence: EMA(fast) - EMA(slow), and its EMA(signal).

    As in TA-Lib the fast average is seeded late, with the `fast` values that end with the
    slow one's seed, and all three begin together: first after `slow` + `signal` - 1 candles.
    A flat series is 0.
    """

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        check_periods(fast, slow)
        self._late = slow - fast
        self._fast = Ema(fast)
        self._slow = Ema(slow)
        self._signal = Ema(check_period(signal, name="signal"))
        self._seen = 0

    def update(self, close: float) -> MacdValue[float]:
        """The three with this close."""
        self._seen = self._seen + 1 if isfinite(close) else 0
        slow = self._slow.update(close)
        if self._seen > self._late:
            fast = self._fast.update(close)
        else:
            self._fast.clear()
            fast = NAN
        macd = fast - slow
        signal = self._signal.update(macd)
        if not isfinite(signal):
            return MacdValue(NAN, NAN, NAN)
        return MacdValue(macd, signal, macd - signal)


class Stochastic:
    """Lane's oscillator: 100 * (close - lowest) / (highest - lowest) of `period` candles.

    %K is its SMA(smooth), %D the SMA(signal) of %K; as in TA-Lib both begin together: first
    after `period` + `smooth` + `signal` - 2. Where high and low have been one price for
    `period` candles the range is empty and the raw value undefined: a gap for both averages
    (TA-Lib answers 0, the bottom of the range).
    """

    def __init__(self, period: int = 14, *, smooth: int = 3, signal: int = 3) -> None:
        self._highs = Window(period)
        self._lows = Window(period)
        self._k = Sma(check_period(smooth, name="smooth"))
        self._d = Sma(check_period(signal, name="signal"))

    def update(self, high: float, low: float, close: float) -> StochasticValue[float]:
        """Both with this candle."""
        raw = NAN
        if are_finite((high, low, close)):
            highs, lows = self._highs.push(high), self._lows.push(low)
            if highs is not None and lows is not None:
                lowest = min(lows)
                width = max(highs) - lowest
                raw = 100 * ((close - lowest) / width) if width else NAN
        else:
            self._highs.clear()
            self._lows.clear()
        k = self._k.update(raw)
        d = self._d.update(k)
        return StochasticValue(k, d) if isfinite(d) else StochasticValue(NAN, NAN)
