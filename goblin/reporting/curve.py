"""The account over time: what GET /account/statistics sums up, entry by entry.

The definitions are the server's (docs/statistics.md): realised equity is the cash and every
open order at its cost, returns are time-weighted, the drawdown is of what one unit became.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal
from typing import Final

from goblin.models import LedgerEntry, Order
from goblin.reporting.data import ReportData

EXACT: Final = Context(prec=100)
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The account just after something happened.

    `growth` is what one unit of money became, `held` what it would have become if it had been
    held in equal parts of all symbols that have two prices or more (None without one).
    """

    at: datetime
    event: str
    equity: Decimal
    open_cost: Decimal
    growth: float
    drawdown: float
    held: float | None

    @property
    def exposure(self) -> float:
        """Open orders at cost / equity."""
        return float(self.open_cost / self.equity) if self.equity > ZERO else 0.0


@dataclass(slots=True, kw_only=True)
class _Walk:
    equity: Decimal
    open: dict[int, Decimal]
    prices: Mapping[str, int]
    """How many there will be of each symbol."""
    growth: float = 1.0
    peak: float = 1.0
    first: dict[str, Decimal] = field(default_factory=dict)
    last: dict[str, Decimal] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    def note_price(self, symbol: str, price: Decimal) -> None:
        self.first.setdefault(symbol, price)
        self.last[symbol] = price

    def add(self, at: datetime, event: str) -> None:
        self.peak = max(self.peak, self.growth)
        self.points.append(
            Point(
                at=at,
                event=event,
                equity=self.equity,
                open_cost=total(self.open.values()),
                growth=self.growth,
                drawdown=1 - self.growth / self.peak,
                held=self._held(),
            )
        )

    def _held(self) -> float | None:
        symbols = [symbol for symbol, count in self.prices.items() if count > 1]
        if not symbols:
            return None
        ratios = [
            float(self.last[symbol] / self.first[symbol]) if symbol in self.first else 1.0
            for symbol in symbols
        ]
        return sum(ratios) / len(ratios)


def curve(data: ReportData) -> list[Point]:
    """A point for the beginning, for every entry, and for the end."""
    orders = {order.id: order for order in data.orders}
    begin_at = data.statistics.begin_at
    held = [order for order in data.orders if order.created_at < begin_at]
    walk = _Walk(
        equity=data.statistics.equity_at_begin,
        open={order.id: order.cost for order in held},
        prices=Counter(order.symbol for order in [*held, *_traded(data.entries, orders)]),
    )
    for order in held:
        walk.note_price(order.symbol, order.buy_price)
    walk.add(begin_at, "begin")
    for entry in data.entries:
        named = None if entry.order_id is None else orders.get(entry.order_id)
        if entry.order_id is not None and named is None:
            continue  # another symbol's, in the report of one
        walk.add(entry.event_at, _follow(walk, entry, named))
    walk.add(data.statistics.end_at, "end")
    return walk.points


def _follow(walk: _Walk, entry: LedgerEntry, order: Order | None) -> str:
    """Let one entry of the cash account happen; what it is called on the chart."""
    if order is not None and entry.cause == "order_opened":
        walk.open[order.id] = order.cost
        walk.note_price(order.symbol, order.buy_price)
        return f"order {order.id} bought {order.symbol}"
    if order is not None and entry.cause == "order_closed":
        profit = EXACT.subtract(entry.amount, walk.open.pop(order.id, order.cost))
        if walk.equity > ZERO:
            walk.growth *= 1 + float(profit / walk.equity)
        walk.equity = EXACT.add(walk.equity, profit)
        if order.sell_price is not None:
            walk.note_price(order.symbol, order.sell_price)
        return f"order {order.id} sold {order.symbol}"
    walk.equity = EXACT.add(walk.equity, entry.amount)
    return entry.cause.replace("_", " ")


def _traded(entries: Sequence[LedgerEntry], orders: Mapping[int, Order]) -> Iterator[Order]:
    """The order of each entry that has one."""
    for entry in entries:
        if entry.order_id is not None and entry.order_id in orders:
            yield orders[entry.order_id]


def thinned(points: Sequence[Point], count_max: int) -> list[Point]:
    """At most about so many of them, with the extremes of every stretch."""
    if len(points) <= count_max:
        return list(points)
    size = -(-5 * len(points) // count_max)
    kept: dict[int, Point] = {}
    for begin in range(0, len(points), size):
        part = range(begin, min(begin + size, len(points)))
        lowest = min(part, key=lambda number: points[number].equity)
        highest = max(part, key=lambda number: points[number].equity)
        deepest = max(part, key=lambda number: points[number].drawdown)
        for number in sorted({part[0], lowest, highest, deepest, part[-1]}):
            kept[number] = points[number]
    return list(kept.values())


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    result = ZERO
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result
