"""Buying and holding: what the same capital would have become without any trade."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from app.domain.instruments import Symbol
from app.domain.money import ZERO, subtract
from app.domain.statistics.measures import ONE, RATIO, Measure, Undefined, divide

NOTHING_BOUGHT: Final = Undefined("no order was opened")


@dataclass(slots=True, kw_only=True)
class KnownPrices:
    """The first and the last price that fills and marks know of a symbol, and since when."""

    first: Decimal
    first_at: datetime
    last: Decimal
    last_at: datetime
    count: int = 1

    @property
    def return_(self) -> Measure:
        """The last / the first - 1."""
        if self.count == 1:
            return Undefined("only one price of this symbol is known")
        return divide(subtract(self.last, self.first), self.first)


@dataclass(slots=True, kw_only=True)
class Holding:
    """An equal part of the capital for each symbol, which buys it at its first known price.

    Until then that part is cash. `unit` is what one unit of the capital has become; the fall
    is measured as max_drawdown is, at every instant with a new price.
    """

    symbols: int
    known: dict[Symbol, KnownPrices] = field(default_factory=dict)
    unit: Decimal = ONE
    peak: Decimal = ONE
    fallen: Decimal = ZERO

    def buy(self, symbol: Symbol, price: Decimal, at: datetime) -> None:
        """A first price; any later one is just a price."""
        if symbol not in self.known:
            self.known[symbol] = KnownPrices(first=price, first_at=at, last=price, last_at=at)
        else:
            self.follow({symbol: price}, at)

    def follow(self, prices: Mapping[Symbol, Decimal], at: datetime) -> None:
        """The prices of one instant; those of symbols that are not bought yet say nothing."""
        for symbol, price in prices.items():
            known = self.known.get(symbol)
            if known is None:
                continue
            moved = divide(subtract(price, known.last), known.first)
            self.unit = RATIO.add(self.unit, divide(moved, Decimal(self.symbols)))
            known.last, known.last_at = price, at
            known.count += 1
        self.peak = max(self.peak, self.unit)
        self.fallen = max(self.fallen, RATIO.subtract(ONE, divide(self.unit, self.peak)))

    @property
    def return_(self) -> Measure:
        """`unit` - 1, if of every symbol more is known than what it was bought at."""
        return self._unless_unknown(RATIO.subtract(self.unit, ONE))

    @property
    def max_drawdown(self) -> Measure:
        """The deepest fall from a peak, as a positive fraction of it."""
        return self._unless_unknown(self.fallen)

    def _unless_unknown(self, measure: Decimal) -> Measure:
        if not self.known:
            return NOTHING_BOUGHT
        lonely = [symbol for symbol, known in self.known.items() if known.count == 1]
        return Undefined(f"only one price of {min(lonely)} is known") if lonely else measure
