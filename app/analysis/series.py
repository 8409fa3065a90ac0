"""Arithmetic on whole series, in the order in which app.domain.indicators does it.

A recursion is run by `accumulate` over Python floats: any closed form that numpy could do at
once rounds differently. What looks at a window is done for all windows at once.
"""

from collections.abc import Callable
from itertools import accumulate
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]


def columns_of(*columns: ArrayLike) -> list[Floats]:
    """The columns as float64. Raises ValueError unless each is one row of numbers, as long."""
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or any(array.ndim != 1 for array in arrays):
        raise ValueError(
            "expected columns of one dimension and one length, not of the shapes "
            + ", ".join(str(array.shape) for array in arrays)
        )
    return arrays


def each_run(
    compute: Callable[..., tuple[Floats, ...]], *columns: ArrayLike, outputs: int
) -> list[Floats]:
    """`compute` on each run of rows whose numbers are all finite; NaN in between."""
    arrays = columns_of(*columns)
    finite = np.all(np.isfinite(arrays), axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]]).astype(np.int8)))
    result = np.full((outputs, len(finite)), np.nan)
    for begin, end in edges.reshape(-1, 2):
        result[:, begin:end] = compute(*(array[begin:end] for array in arrays))
    return list(result)


def late(values: Floats, length: int) -> Floats:
    """The values at the end of a series of that length, NaN before them."""
    return np.concatenate([np.full(max(length - len(values), 0), np.nan), values])[:length]


def means(values: Floats, period: int) -> Floats:
    """The mean of each window: none if the series is too short."""
    count = max(len(values) - period + 1, 0)
    first, total = values[:count], np.zeros(count)
    for offset in range(period if count else 0):
        total = total + (values[offset : offset + count] - first)
    return first + total / period


def weighted_means(values: Floats, period: int) -> Floats:
    """The mean of each window with weights 1 to `period`."""
    count = max(len(values) - period + 1, 0)
    first, total = values[:count], np.zeros(count)
    for offset in range(period if count else 0):
        total = total + (offset + 1) * (values[offset : offset + count] - first)
    return first + total / (period * (period + 1) / 2)


def deviations(values: Floats, middles: Floats, period: int) -> Floats:
    """The population standard deviation of each window around its mean."""
    count = len(middles)
    squares = np.zeros(count)
    for offset in range(period if count else 0):
        away = values[offset : offset + count] - middles
        squares = squares + away * away
    return np.sqrt(squares / period)


def highest(values: Floats, period: int) -> Floats:
    """The greatest of each window."""
    if len(values) < period:
        return np.empty(0)
    result: Floats = sliding_window_view(values, period).max(axis=1)
    return result


def lowest(values: Floats, period: int) -> Floats:
    """The least of each window."""
    return -highest(-values, period)


def seeded(values: Floats, period: int, following: Callable[[float, float], float]) -> Floats:
    """A recursion that begins with the mean of the first `period` values."""
    if len(values) < period:
        return np.empty(0)
    [seed] = means(values[:period], period).tolist()
    return np.array(list(accumulate(values[period:].tolist(), following, initial=seed)))


def exponential(values: Floats, period: int) -> Floats:
    """The exponential average, from its seed on."""
    share = 2 / (period + 1)
    return seeded(values, period, lambda average, value: (value - average) * share + average)


def wilder(values: Floats, period: int) -> Floats:
    """Wilder's average, from its seed on."""
    return seeded(values, period, lambda average, value: (average * (period - 1) + value) / period)


def wilder_sums(values: Floats, period: int) -> Floats:
    """Wilder's sum, from the `period`th value on."""
    if len(values) < period:
        return np.empty(0)
    begun = 0.0
    for value in values[: period - 1].tolist():
        begun += value
    sums = accumulate(
        values[period - 1 :].tolist(),
        lambda total, value: total - total / period + value,
        initial=begun,
    )
    return np.array(list(sums)[1:])


def true_ranges(high: Floats, low: Floats, close: Floats) -> Floats:
    """Wilder's true range of each candle but the first."""
    before = close[:-1]
    height = high[1:] - low[1:]
    return np.maximum(np.maximum(height, np.abs(high[1:] - before)), np.abs(low[1:] - before))


def ratio(above: Floats, below: Floats, undefined: float = np.nan) -> Floats:
    """The quotient, and what stands for a division by zero."""
    result = np.full(len(below), undefined)
    np.divide(above, below, out=result, where=below != 0)
    return result
