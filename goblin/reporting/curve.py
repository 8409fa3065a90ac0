"""The account over time: what GET /account/statistics sums up, entry by entry.

The definitions are the server's (docs/statistics.md): realised equity is the cash and every
open order at its cost, marked equity has them at their last known price; returns are
time-weighted, the drawdown is of what one unit became. What prices the server knew it does not
tell: it says what they made of the account at the end of each day.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Final

from goblin.models import Day, LedgerEntry, Order, Statistics
from goblin.reporting.data import ReportData

EXACT: Final = Context(prec=100)
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The account just after something happened.

    `growth` is what one unit of money became. It and the drawdown are None from the sale of an
    order whose last value only the server knows until the end of that day, marked equity as
    long as another such order is open.
    """

    at: datetime
    event: str
    equity: Decimal
    open_cost: Decimal
    marked_equity: Decimal | None
    growth: float | None
    drawdown: float | None

    @property
    def exposure(self) -> float | None:
        """The value of open orders / marked equity."""
        if self.marked_equity is None:
            return None
        if self.marked_equity <= ZERO:
            return 0.0
        cash = EXACT.subtract(self.equity, self.open_cost)
        return float(EXACT.subtract(self.marked_equity, cash) / self.marked_equity)


@dataclass(slots=True, kw_only=True)
class _Walk:
    at: datetime
    equity: Decimal
    marked_equity: Decimal | None
    open: dict[int, Decimal]
    """What each open order cost."""
    worth: dict[int, Decimal]
    """What it is worth, of those of which that is known one by one."""
    growth: float | None = 1.0
    settled: float = 1.0
    """What one unit was at the end of the last day."""
    peak: float = 1.0
    points: list[Point] = field(default_factory=list)

    def add(self, event: str) -> None:
        drawdown = None
        if self.growth is not None:
            self.peak = max(self.peak, self.growth)
            drawdown = 1 - self.growth / self.peak
        self.points.append(
            Point(
                at=self.at,
                event=event,
                equity=self.equity,
                open_cost=total(self.open.values()),
                marked_equity=self.marked_equity,
                growth=self.growth,
                drawdown=drawdown,
            )
        )

    def pay(self, amount: Decimal) -> None:
        """Money was put in or taken out."""
        self.equity = EXACT.add(self.equity, amount)
        if self.marked_equity is not None:
            self.marked_equity = EXACT.add(self.marked_equity, amount)

    def open_order(self, order: Order) -> None:
        """It is worth what it cost."""
        self.open[order.id] = self.worth[order.id] = order.cost

    def close_order(self, order: Order, proceeds: Decimal) -> None:
        """It brought more or less than it was worth, which may be unknown."""
        value, before = self._value(order.id), self.marked_equity
        cost = self.open.pop(order.id, order.cost)
        self.worth.pop(order.id, None)
        self.equity = EXACT.add(self.equity, EXACT.subtract(proceeds, cost))
        if value is None or before is None:
            self.growth = None
            self.marked_equity = self._total_worth()
            return
        gain = EXACT.subtract(proceeds, value)
        if before > ZERO and self.growth is not None:
            self.growth *= 1 + float(gain / before)
        self.marked_equity = EXACT.add(before, gain)

    def _value(self, order_id: int) -> Decimal | None:
        """What is neither cash nor another order, unless it is known."""
        if order_id in self.worth or order_id not in self.open:
            return self.worth.get(order_id)
        others = [self.worth.get(number) for number in self.open if number != order_id]
        known = [value for value in others if value is not None]
        if self.marked_equity is None or len(known) < len(others):
            return None
        return EXACT.subtract(self.marked_equity, EXACT.add(self._cash, total(known)))

    def _total_worth(self) -> Decimal | None:
        """Cash and all orders, if each of them is known."""
        if self.open.keys() != self.worth.keys():
            return None
        return EXACT.add(self._cash, total(self.worth.values()))

    @property
    def _cash(self) -> Decimal:
        return EXACT.subtract(self.equity, total(self.open.values()))

    def settle(self, day: Day, at: datetime) -> None:
        """A day has ended, and the server says with what."""
        self.at = at
        if day.return_.value is not None:
            self.settled *= 1 + day.return_.value
            self.growth = self.settled
        elif self.growth is None:
            self.growth = self.settled
        if self.marked_equity != day.marked_equity:
            # Prices have moved, and of several orders together nobody says whose.
            self.worth.clear()
            self.marked_equity = day.marked_equity
            self.add(f"end of {day.on}")


def curve(data: ReportData) -> list[Point]:
    """A point for the beginning, every entry, every day's end with new prices, and the end."""
    found = data.statistics
    orders = {order.id: order for order in data.orders}
    costs = {order.id: order.cost for order in data.orders if order.created_at < found.begin_at}
    is_at_cost = found.marked_equity_at_begin == found.equity_at_begin
    walk = _Walk(
        at=found.begin_at,
        equity=found.equity_at_begin,
        marked_equity=found.marked_equity_at_begin,
        open=costs,
        worth=dict(costs) if is_at_cost else {},
    )
    walk.add("begin")
    days = deque((_end_of(day, found), day) for day in found.days)
    for entry in data.entries:
        order = None if entry.order_id is None else orders.get(entry.order_id)
        if entry.order_id is not None and order is None:
            continue  # another symbol's, in the report of one
        at = max(entry.event_at, walk.at)
        while days and days[0][0] <= at:
            ended_at, day = days.popleft()
            walk.settle(day, ended_at)
        walk.at = at
        walk.add(_follow(walk, entry, order))
    for ended_at, day in days:
        walk.settle(day, max(ended_at, walk.at))
    walk.at = found.end_at
    walk.add("end")
    return walk.points


def _end_of(day: Day, statistics: Statistics) -> datetime:
    midnight = datetime.combine(day.on, time(), UTC) + timedelta(days=1)
    return min(midnight, statistics.end_at)


def _follow(walk: _Walk, entry: LedgerEntry, order: Order | None) -> str:
    """Let one entry of the cash account happen; what it is called on the chart."""
    if order is not None and entry.cause == "order_opened":
        walk.open_order(order)
        return f"order {order.id} bought {order.symbol}"
    if order is not None and entry.cause == "order_closed":
        walk.close_order(order, entry.amount)
        return f"order {order.id} sold {order.symbol}"
    walk.pay(entry.amount)
    return entry.cause.replace("_", " ")


def thinned(points: Sequence[Point], count_max: int) -> list[Point]:
    """At most about so many of them, with the extremes of every stretch."""
    if len(points) <= count_max:
        return list(points)
    size = -(-7 * len(points) // count_max)
    kept: dict[int, Point] = {}
    for begin in range(0, len(points), size):
        part = range(begin, min(begin + size, len(points)))
        chosen = {part[0], part[-1], max(part, key=lambda number: points[number].drawdown or 0.0)}
        marked = {
            number: value for number in part if (value := points[number].marked_equity) is not None
        }
        for extreme in (min, max):
            chosen.add(extreme(part, key=lambda number: points[number].equity))
            chosen |= {extreme(marked, key=marked.__getitem__)} if marked else set()
        for number in sorted(chosen):
            kept[number] = points[number]
    return list(kept.values())


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    result = ZERO
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result
