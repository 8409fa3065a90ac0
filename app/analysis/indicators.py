"""Technical indicators of whole series: arrays in, arrays of the same length out.

Each function answers, to the last bit, what the class of the same name in
app.domain.indicators answers candle after candle; formulas, sources, seeds, warm-up, gaps and
flat series are described there. Input is anything that numpy reads as one row of numbers
(prices oldest first); nothing is changed in place. Raises ValueError for columns of different
lengths and for parameters that make no sense.
"""

from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike

from app.analysis import series
from app.analysis.series import Floats, each_run, late
from app.domain.indicators.values import (
    AdxValue,
    Bands,
    MacdValue,
    StochasticValue,
    SupertrendValue,
    check_period,
    check_periods,
    check_width,
)


def sma(values: ArrayLike, period: int) -> Floats:
    """Simple moving average, first at index `period` - 1."""
    check_period(period)
    [result] = each_run(lambda x: (late(series.means(x, period), len(x)),), values, outputs=1)
    return result


def wma(values: ArrayLike, period: int) -> Floats:
    """Linearly weighted moving average, first at `period` - 1."""
    check_period(period)
    [result] = each_run(
        lambda x: (late(series.weighted_means(x, period), len(x)),), values, outputs=1
    )
    return result


def ema(values: ArrayLike, period: int) -> Floats:
    """Exponential moving average, seeded with the first SMA, first at `period` - 1."""
    check_period(period)
    [result] = each_run(lambda x: (late(series.exponential(x, period), len(x)),), values, outputs=1)
    return result


def rsi(close: ArrayLike, period: int = 14) -> Floats:
    """Wilder's relative strength index, first at `period`."""
    check_period(period)

    def compute(x: Floats) -> tuple[Floats]:
        changes = np.diff(x)
        gains = series.wilder(np.maximum(changes, 0.0), period)
        losses = series.wilder(np.maximum(-changes, 0.0), period)
        return (late(100 * series.ratio(gains, gains + losses), len(x)),)

    [result] = each_run(compute, close, outputs=1)
    return result


def roc(close: ArrayLike, period: int = 10) -> Floats:
    """Rate of change in percent, first at `period`."""
    check_period(period)

    def compute(x: Floats) -> tuple[Floats]:
        older = x[:-period]
        return (late((series.ratio(x[period:], older) - 1) * 100, len(x)),)

    [result] = each_run(compute, close, outputs=1)
    return result


def macd(close: ArrayLike, fast: int = 12, slow: int = 26, signal: int = 9) -> MacdValue[Floats]:
    """Moving average convergence/divergence, all three first at `slow` + `signal` - 2."""
    check_periods(fast, slow)
    check_period(signal, name="signal")

    def compute(x: Floats) -> tuple[Floats, ...]:
        slower = series.exponential(x, slow)
        difference = series.exponential(x[slow - fast :], fast)[: len(slower)] - slower
        line = series.exponential(difference, signal)
        difference = difference[signal - 1 :]
        return tuple(late(each, len(x)) for each in (difference, line, difference - line))

    return MacdValue(*each_run(compute, close, outputs=3))


def stochastic(
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    period: int = 14,
    *,
    smooth: int = 3,
    signal: int = 3,
) -> StochasticValue[Floats]:
    """Lane's oscillator, both first at `period` + `smooth` + `signal` - 3."""
    for name, each in (("period", period), ("smooth", smooth), ("signal", signal)):
        check_period(each, name=name)

    def compute(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats]:
        bottom = series.lowest(lows, period)
        width = series.highest(highs, period) - bottom
        above = closes[period - 1 :] - bottom
        return (late(100 * series.ratio(above, width), len(closes)),)

    [raw] = each_run(compute, high, low, close, outputs=1)
    k = sma(raw, smooth)
    d = sma(k, signal)
    k[np.isnan(d)] = np.nan
    return StochasticValue(k, d)


def bollinger(close: ArrayLike, period: int = 20, deviations: float = 2.0) -> Bands[Floats]:
    """Bollinger bands, first at `period` - 1."""
    check_period(period)
    check_width(deviations, name="deviations")

    def compute(x: Floats) -> tuple[Floats, ...]:
        middle = series.means(x, period)
        width = deviations * series.deviations(x, middle, period)
        return tuple(late(each, len(x)) for each in (middle + width, middle, middle - width))

    return Bands(*each_run(compute, close, outputs=3))


def donchian(high: ArrayLike, low: ArrayLike, period: int = 20) -> Bands[Floats]:
    """Donchian's channel with this candle in it, first at `period` - 1."""
    check_period(period)

    def compute(highs: Floats, lows: Floats) -> tuple[Floats, ...]:
        upper, lower = series.highest(highs, period), series.lowest(lows, period)
        return tuple(late(each, len(highs)) for each in (upper, (upper + lower) / 2, lower))

    return Bands(*each_run(compute, high, low, outputs=3))


def atr(high: ArrayLike, low: ArrayLike, close: ArrayLike, period: int = 14) -> Floats:
    """Wilder's average true range, first at `period`."""
    check_period(period)
    [result] = each_run(
        lambda *hlc: (late(series.wilder(series.true_ranges(*hlc), period), len(hlc[0])),),
        high,
        low,
        close,
        outputs=1,
    )
    return result


def adx(high: ArrayLike, low: ArrayLike, close: ArrayLike, period: int = 14) -> AdxValue[Floats]:
    """Wilder's directional index, first at 2 * `period` - 1, both DI at `period`."""
    check_period(period)

    def compute(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats, ...]:
        up, down = np.diff(highs), -np.diff(lows)
        widths = series.wilder_sums(series.true_ranges(highs, lows, closes), period)
        plus = np.where((up > down) & (up > 0), up, 0.0)
        minus = np.where((down > up) & (down > 0), down, 0.0)
        plus_di = 100 * series.ratio(series.wilder_sums(plus, period), widths, 0.0)
        minus_di = 100 * series.ratio(series.wilder_sums(minus, period), widths, 0.0)
        indices = 100 * series.ratio(np.abs(plus_di - minus_di), plus_di + minus_di)
        values = (_averaged_indices(indices, period), plus_di, minus_di)
        return tuple(late(each, len(closes)) for each in values)

    return AdxValue(*each_run(compute, high, low, close, outputs=3))


def obv(close: ArrayLike, volume: ArrayLike) -> Floats:
    """On-balance volume, from the first candle's volume on."""

    def compute(closes: Floats, volumes: Floats) -> tuple[Floats]:
        signs = np.concatenate([[1.0], np.sign(np.diff(closes))])
        return (np.cumsum(signs * volumes),)

    [result] = each_run(compute, close, volume, outputs=1)
    return result


def vwap(high: ArrayLike, low: ArrayLike, close: ArrayLike, volume: ArrayLike) -> Floats:
    """Volume-weighted average price since the first candle."""

    def compute(highs: Floats, lows: Floats, closes: Floats, volumes: Floats) -> tuple[Floats]:
        turnover = np.cumsum((highs + lows + closes) / 3 * volumes)
        return (series.ratio(turnover, np.cumsum(volumes)),)

    [result] = each_run(compute, high, low, close, volume, outputs=1)
    return result


def supertrend(
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    period: int = 10,
    multiplier: float = 3.0,
) -> SupertrendValue[Floats]:
    """A line that trails prices and its direction, first at `period`."""
    check_period(period)
    check_width(multiplier, name="multiplier")

    def compute(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats, ...]:
        ranges = series.wilder(series.true_ranges(highs, lows, closes), period)
        middle = ((highs + lows) / 2)[period:]
        width = multiplier * ranges
        line, direction = _trailed(middle, middle + width, middle - width, closes[period - 1 :])
        return late(line, len(closes)), late(direction, len(closes))

    return SupertrendValue(*each_run(compute, high, low, close, outputs=2))


def _averaged_indices(indices: Floats, period: int) -> Floats:
    """Wilder's average of DX, whose undefined values (no movement) change nothing."""
    if len(indices) < period:
        return np.empty(0)
    total = 0.0
    for index in np.nan_to_num(indices[:period], nan=0.0).tolist():
        total += index
    return np.array(
        list(
            accumulate(
                indices[period:].tolist(),
                lambda adx, index: (
                    adx if index != index else (adx * (period - 1) + index) / period  # noqa: PLR0124 - true of NaN alone
                ),
                initial=total / period,
            )
        )
    )


def _trailed(
    middle: Floats, uppers: Floats, lowers: Floats, closes: Floats
) -> tuple[Floats, Floats]:
    """The line and its direction; `closes` has one more, the close before the first."""
    if not len(middle):
        return np.empty(0), np.empty(0)
    before, *rest = closes.tolist()
    upper, lower = float(uppers[0]), float(lowers[0])
    is_rising = rest[0] >= float(middle[0])
    lines, directions = [], []
    for new_upper, new_lower, close in zip(uppers.tolist(), lowers.tolist(), rest, strict=True):
        if new_upper < upper or before > upper:
            upper = new_upper
        if new_lower > lower or before < lower:
            lower = new_lower
        is_rising = close > (lower if is_rising else upper)
        lines.append(lower if is_rising else upper)
        directions.append(1.0 if is_rising else -1.0)
        before = close
    return np.array(lines), np.array(directions)
