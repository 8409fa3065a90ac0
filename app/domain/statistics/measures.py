"""Measures of a series of returns, each a fraction of what was there before (0.01 is 1 %).

The definitions are those of empyrical (github.com/stefan-jansen/empyrical-reloaded, stats.py),
without a risk-free rate. Returns are simple and of equally long periods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation
from typing import Final, TypeAlias

from app.domain.money import ZERO

RATIO: Final = Context(prec=34, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])
"""The arithmetic of ratios: twice the digits of the float that is shown."""
ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Undefined:
    """A measure that has no value here, and why."""

    reason: str


Measure: TypeAlias = Decimal | Undefined

NO_RETURNS: Final = Undefined("there are no returns")
ONE_RETURN: Final = Undefined("one return has no deviation")
NO_DEVIATION: Final = Undefined("all returns are equal")
NO_DOWNSIDE: Final = Undefined("no return is below zero")
NO_DRAWDOWN: Final = Undefined("there was no drawdown")
TOO_LARGE: Final = Undefined("it is larger than a number can say")
NUMBER_MAX: Final = Decimal("1e300")
"""What a float can hold, with room."""
LOST_EVERYTHING: Final = Undefined("everything was lost")


def shown(measure: Measure) -> Measure:
    """The measure, unless it has grown beyond NUMBER_MAX: what is shown are floats."""
    if isinstance(measure, Decimal) and not abs(measure) <= NUMBER_MAX:
        return TOO_LARGE
    return measure


def total(values: Sequence[Decimal]) -> Decimal:
    """The sum."""
    result = ZERO
    for value in values:
        result = RATIO.add(result, value)
    return result


def divide(above: Decimal, below: Decimal) -> Decimal:
    """The quotient; `below` is not zero."""
    return RATIO.divide(above, below)


def seconds_of(time: timedelta) -> Decimal:
    """A length of time in seconds, exactly."""
    return divide(Decimal(time // timedelta(microseconds=1)), Decimal(1_000_000))


def compounded(returns: Sequence[Decimal]) -> Decimal:
    """What one unit became: the product of (1 + r)."""
    result = ONE
    for each in returns:
        result = RATIO.multiply(result, RATIO.add(ONE, each))
    return result


def cumulative_return(returns: Sequence[Decimal]) -> Measure:
    """The product of (1 + r), minus 1."""
    return RATIO.subtract(compounded(returns), ONE) if returns else NO_RETURNS


def annual_return(returns: Sequence[Decimal], *, periods_per_year: int) -> Measure:
    """The compound annual growth: product of (1 + r) ** (periods per year / n), minus 1."""
    if not returns:
        return NO_RETURNS
    ended = compounded(returns)
    if ended <= ZERO:
        return LOST_EVERYTHING
    years = divide(Decimal(len(returns)), Decimal(periods_per_year))
    return RATIO.subtract(RATIO.power(ended, divide(ONE, years)), ONE)


def volatility(returns: Sequence[Decimal], *, periods_per_year: int) -> Measure:
    """The sample standard deviation (n - 1), times the root of the periods per year."""
    deviation = _deviation(returns)
    if isinstance(deviation, Undefined):
        return deviation
    return RATIO.multiply(deviation, _root(periods_per_year))


def sharpe(returns: Sequence[Decimal], *, periods_per_year: int) -> Measure:
    """William Sharpe's ratio (1994): mean / sample standard deviation, annualised by the root."""
    deviation = _deviation(returns)
    if isinstance(deviation, Undefined):
        return deviation
    if deviation == ZERO:
        return NO_DEVIATION
    return RATIO.multiply(divide(_mean(returns), deviation), _root(periods_per_year))


def sortino(returns: Sequence[Decimal], *, periods_per_year: int) -> Measure:
    """Frank Sortino's ratio: mean / root of the mean of min(r, 0) squared, annualised.

    The mean in the root is over all returns, those above zero counting as zero.
    """
    if not returns:
        return NO_RETURNS
    squares = total([RATIO.multiply(r, r) for r in returns if r < ZERO])
    if squares == ZERO:
        return NO_DOWNSIDE
    downside = RATIO.sqrt(divide(squares, Decimal(len(returns))))
    return RATIO.multiply(divide(_mean(returns), downside), _root(periods_per_year))


def max_drawdown(returns: Sequence[Decimal]) -> Decimal:
    """The deepest fall from a peak as a positive fraction of it; the beginning is a peak too."""
    value = peak = ONE
    deepest = ZERO
    for each in returns:
        value = RATIO.multiply(value, RATIO.add(ONE, each))
        peak = max(peak, value)
        deepest = max(deepest, RATIO.subtract(ONE, divide(value, peak)))
    return deepest


def calmar(returns: Sequence[Decimal], *, periods_per_year: int) -> Measure:
    """Terry Young's ratio: annual return / max drawdown."""
    grown = annual_return(returns, periods_per_year=periods_per_year)
    if isinstance(grown, Undefined):
        return grown
    fallen = max_drawdown(returns)
    return divide(grown, fallen) if fallen > ZERO else NO_DRAWDOWN


def _mean(values: Sequence[Decimal]) -> Decimal:
    return divide(total(values), Decimal(len(values)))


def _deviation(values: Sequence[Decimal]) -> Measure:
    if not values:
        return NO_RETURNS
    if len(values) == 1:
        return ONE_RETURN
    if all(value == values[0] for value in values):
        return ZERO
    mean = _mean(values)
    away = [RATIO.subtract(value, mean) for value in values]
    squares = total([RATIO.multiply(each, each) for each in away])
    return RATIO.sqrt(divide(squares, Decimal(len(values) - 1)))


def _root(periods_per_year: int) -> Decimal:
    return RATIO.sqrt(Decimal(periods_per_year))
