"""Indicators that weigh prices by what was traded."""

from app.domain.indicators.averages import are_finite
from app.domain.indicators.values import NAN


class Obv:
    """Granville's on-balance volume: added when the close rises, taken away when it falls.

    As in TA-Lib the first value is the first candle's volume. No warm-up; where it begins is
    arbitrary, only its changes mean something. A flat series stays where it is.
    """

    def __init__(self) -> None:
        self._total = 0.0
        self._previous_close = NAN

    def update(self, close: float, volume: float) -> float:
        """The total with this candle."""
        if not are_finite((close, volume)):
            self._total, self._previous_close = 0.0, NAN
            return NAN
        previous_close, self._previous_close = self._previous_close, close
        if close < previous_close:
            self._total -= volume
        elif close != previous_close:  # also the first, which has nothing before it
            self._total += volume
        return self._total


class Vwap:
    """Volume-weighted average price since the first candle: sum(typical * volume) / sum(volume).

    The typical price is (high + low + close) / 3. No warm-up, but NaN until something was
    traded. Begin a new one where the average shall begin anew, usually each day.
    """

    def __init__(self) -> None:
        self._turnover = 0.0
        self._volume = 0.0

    def update(self, high: float, low: float, close: float, volume: float) -> float:
        """The average with this candle."""
        if not are_finite((high, low, close, volume)):
            self._turnover = self._volume = 0.0
            return NAN
        self._turnover += (high + low + close) / 3 * volume
        self._volume += volume
        return self._turnover / self._volume if self._volume else NAN
