"""An account while its movements and marks are gone through."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from app.domain.instruments import Symbol
from app.domain.money import ZERO, add, cash_value, subtract
from app.domain.orders import OrderId
from app.domain.statistics.history import OpenOrder
from app.domain.statistics.holding import Holding
from app.domain.statistics.marks import TICK, Mark
from app.domain.statistics.measures import (
    ONE,
    RATIO,
    Measure,
    Undefined,
    divide,
    seconds_of,
    shown,
)
from app.domain.statistics.trades import Trade

NO_MONEY: Final = Undefined("there was no money in the account")


@dataclass(slots=True)
class Held:
    """An open order, and what it was worth when its price was last known."""

    order: OpenOrder
    value: Decimal


@dataclass(slots=True, kw_only=True)
class Coverage:
    """How many marks an open order was valued at, and those of which no price is stored."""

    marked: int = 0
    unmarked: list[datetime] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Tally:
    """A stretch of days being added up; `unit` is what one unit of money became."""

    profit: Decimal = ZERO
    flow: Decimal = ZERO
    equity: Decimal = ZERO
    marked_equity: Decimal = ZERO
    unit: Measure = ONE

    @property
    def return_(self) -> Measure:
        """`unit` - 1."""
        if isinstance(self.unit, Undefined):
            return self.unit
        return shown(RATIO.subtract(self.unit, ONE))


@dataclass(slots=True, kw_only=True)
class Walk:
    """What is there at `at`; `equity` has open orders at cost, `marked_equity` at their value."""

    at: datetime
    equity: Decimal
    open: dict[OrderId, Held]
    open_cost: Decimal
    open_value: Decimal
    holding: Holding
    seconds: Decimal = ZERO
    seconds_open: Decimal = ZERO
    seconds_funded: Decimal = ZERO
    invested: Decimal = ZERO
    returns: list[Measure] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    coverage: dict[Symbol, Coverage] = field(default_factory=dict)
    days: dict[date, Tally] = field(default_factory=dict)
    months: dict[date, Tally] = field(default_factory=dict)

    @property
    def marked_equity(self) -> Decimal:
        """Cash, and open orders at what they were last known to be worth."""
        return add(subtract(self.equity, self.open_cost), self.open_value)

    def wait_until(self, at: datetime) -> None:
        """Let time pass."""
        passed = seconds_of(max(at - self.at, timedelta(0)))
        self.seconds = RATIO.add(self.seconds, passed)
        if self.open:
            self.seconds_open = RATIO.add(self.seconds_open, passed)
        equity = self.marked_equity
        if equity > ZERO:
            self.seconds_funded = RATIO.add(self.seconds_funded, passed)
            part = RATIO.multiply(passed, divide(self.open_value, equity))
            self.invested = RATIO.add(self.invested, part)
        self.at = max(at, self.at)

    def add_flow(self, amount: Decimal) -> None:
        """Money was put in or taken out."""
        self.equity = add(self.equity, amount)
        for tally in self._tallies(self.at):
            tally.flow = add(tally.flow, amount)

    def open_order(self, order: OpenOrder) -> None:
        """An order was bought: it is worth what it cost."""
        self.open[order.id] = Held(order, order.cost)
        self.open_cost = add(self.open_cost, order.cost)
        self.open_value = add(self.open_value, order.cost)

    def close_order(self, order: OpenOrder, proceeds: Decimal) -> None:
        """An order was sold; what it brought beyond its last value is a return."""
        before, value = self.marked_equity, self.open.pop(order.id).value
        self.open_cost = subtract(self.open_cost, order.cost)
        self.open_value = subtract(self.open_value, value)
        trade = Trade(
            order_id=order.id,
            symbol=order.symbol,
            opened_at=order.opened_at,
            closed_at=self.at,
            cost=order.cost,
            proceeds=proceeds,
        )
        self.trades.append(trade)
        self.equity = add(self.equity, trade.profit)
        for tally in self._tallies(self.at):
            tally.profit = add(tally.profit, trade.profit)
        self._earn(subtract(proceeds, value), before, self.at)

    def mark(self, mark: Mark) -> None:
        """The closes of an instant: open orders are worth them, together one return."""
        self.wait_until(mark.at)
        before, gain = self.marked_equity, None
        for held in self.open.values():
            covered = self.coverage.setdefault(held.order.symbol, Coverage())
            price = mark.prices.get(held.order.symbol)
            if price is None:
                covered.unmarked.append(mark.at)
                continue
            covered.marked += 1
            value = cash_value(price, held.order.quantity)
            gain = add(gain or ZERO, subtract(value, held.value))
            held.value = value
        self.holding.follow(mark.prices, mark.at)
        if gain is not None:
            self.open_value = add(self.open_value, gain)
            # A candle that closes at midnight is of the day that ends there.
            self._earn(gain, before, mark.at - TICK)
            self._note_equity(mark.at - TICK)

    def end_movement(self) -> None:
        """All that one movement did is done."""
        self._note_equity(self.at)

    def _earn(self, gain: Decimal, equity: Decimal, at: datetime) -> None:
        gained: Measure = divide(gain, equity) if equity > ZERO else NO_MONEY
        self.returns.append(gained)
        for tally in self._tallies(at):
            if isinstance(gained, Undefined) or isinstance(tally.unit, Undefined):
                tally.unit = NO_MONEY
            else:
                tally.unit = RATIO.multiply(tally.unit, RATIO.add(ONE, gained))

    def _note_equity(self, at: datetime) -> None:
        for tally in self._tallies(at):
            tally.equity, tally.marked_equity = self.equity, self.marked_equity

    def _tallies(self, at: datetime) -> tuple[Tally, Tally]:
        on = at.astimezone(UTC).date()
        return (
            self.days.setdefault(on, Tally()),
            self.months.setdefault(on.replace(day=1), Tally()),
        )
