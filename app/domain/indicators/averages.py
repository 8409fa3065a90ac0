"""Moving averages, and the two that others are made of."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from math import isfinite

from app.domain.indicators.values import NAN, check_period


def mean(window: Sequence[float]) -> float:
    """The mean, added up as differences from the first value: exact where all are equal."""
    first = window[0]
    total = 0.0
    for value in window:
        total += value - first
    return first + total / len(window)


class Window:
    """The last `period` values, without a gap among them."""

    def __init__(self, period: int) -> None:
        self._values: deque[float] = deque(maxlen=check_period(period))

    def push(self, value: float) -> Sequence[float] | None:
        """The window with the value in it, or None while it is not full."""
        if not isfinite(value):
            self._values.clear()
            return None
        self._values.append(value)
        return self._values if len(self._values) == self._values.maxlen else None

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


class Sma:
    """Simple moving average: the mean of the last `period` values. First after `period`."""

    def __init__(self, period: int) -> None:
        self._window = Window(period)

    def update(self, value: float) -> float:
        """The average with this value."""
        window = self._window.push(value)
        return NAN if window is None else mean(window)


class Wma:
    """Linearly weighted average: weights 1, 2, ... `period`, the newest most. First after `period`.

    sum(i * x_i) / (period * (period + 1) / 2).
    """

    def __init__(self, period: int) -> None:
        self._window = Window(period)
        self._weights = period * (period + 1) / 2

    def update(self, value: float) -> float:
        """The average with this value."""
        window = self._window.push(value)
        if window is None:
            return NAN
        first, total = window[0], 0.0
        for weight, each in enumerate(window, 1):
            total += weight * (each - first)
        return first + total / self._weights


class _Recursive(ABC):
    """An average of all values so far, seeded with the mean of the first `period`."""

    def __init__(self, period: int) -> None:
        self._period = check_period(period)
        self._seed = Window(period)
        self._average = NAN

    def update(self, value: float) -> float:
        """The average with this value."""
        if not isfinite(value):
            self.clear()
        elif isfinite(self._average):
            self._average = self._next(value)
        else:
            window = self._seed.push(value)
            self._average = NAN if window is None else mean(window)
        return self._average

    def clear(self) -> None:
        """Forget everything."""
        self._seed.clear()
        self._average = NAN

    @abstractmethod
    def _next(self, value: float) -> float:
        """The average with this value, once there is one."""


class Ema(_Recursive):
    """Exponential average: e + (x - e) * 2 / (period + 1). First after `period`."""

    def __init__(self, period: int) -> None:
        super().__init__(period)
        self._share = 2 / (period + 1)

    def _next(self, value: float) -> float:
        return (value - self._average) * self._share + self._average


class Wilder(_Recursive):
    """Wilder's average: (w * (period - 1) + x) / period. First after `period`."""

    def _next(self, value: float) -> float:
        return (self._average * (self._period - 1) + value) / self._period


def are_finite(values: Iterable[float]) -> bool:
    """Whether none is NaN or infinite."""
    return all(map(isfinite, values))
