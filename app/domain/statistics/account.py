"""An account's equity over time, and what follows from it.

What is known without any other price: **realised equity** is the cash plus every open order at
its cost. It changes by money put in or taken out (a flow) and by an order's close, whose
profit is proceeds - cost; opening an order changes nothing. So equity at the end = equity at the
beginning + flows + the profits of the trades, exactly.

Returns are time-weighted (Bacon, Practical Portfolio Performance, ch. 2): each close multiplies
one unit by 1 + profit / equity just before it, so that flows neither help nor hurt. Days and
months are UTC's; a day without a close has return 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.money import ZERO, add, subtract
from app.domain.orders import OrderId
from app.domain.statistics.history import History, Movement, OpenOrder
from app.domain.statistics.measures import (
    NO_DRAWDOWN,
    ONE,
    RATIO,
    Measure,
    Undefined,
    annual_return,
    cumulative_return,
    divide,
    max_drawdown,
    sharpe,
    shown,
    sortino,
    volatility,
)
from app.domain.statistics.trades import (
    SymbolStatistics,
    Trade,
    TradeStatistics,
    buy_and_hold,
    money_sum,
    trade_statistics,
)

DAYS_PER_YEAR: Final = 365
"""Paper markets never close."""
DAYS_MIN: Final = 30
DAYS_WITH_CLOSES_MIN: Final = 10
"""Fewer days say nothing about risk, however large the ratio that they give."""

NO_TIME: Final = Undefined("no time has passed")
NO_MONEY: Final = Undefined("there was no money in the account")


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A UTC day on which something moved; `equity` is what it ended with."""

    on: date
    equity: Decimal
    profit: Decimal
    flow: Decimal
    return_: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A UTC month in which something moved; `first_on` is its first day."""

    first_on: date
    profit: Decimal
    flow: Decimal
    return_: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatistics:
    """What a history amounts to; see the module for the definitions.

    `max_drawdown` looks at equity after every close. `exposure_time` is the part of the time
    with an open order, `exposure` the mean over time of open orders at cost / equity.
    """

    begin_at: datetime
    end_at: datetime
    equity_at_begin: Decimal
    equity_at_end: Decimal
    flow: Decimal
    open_orders: int
    open_cost: Decimal
    total_return: Measure
    annual_return: Measure
    volatility: Measure
    sharpe: Measure
    sortino: Measure
    calmar: Measure
    max_drawdown: Measure
    exposure_time: Measure
    exposure: Measure
    trades: TradeStatistics
    symbols: Sequence[SymbolStatistics]
    days: Sequence[Day]
    months: Sequence[Month]


@dataclass(slots=True, kw_only=True)
class _Tally:
    """A stretch of days being added up; `unit` is what one unit of money became."""

    profit: Decimal = ZERO
    flow: Decimal = ZERO
    equity: Decimal = ZERO
    unit: Measure = ONE

    @property
    def return_(self) -> Measure:
        if isinstance(self.unit, Undefined):
            return self.unit
        return shown(RATIO.subtract(self.unit, ONE))


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The account while its movements are gone through."""

    at: datetime
    equity: Decimal
    open: dict[OrderId, OpenOrder]
    open_cost: Decimal
    seconds: Decimal = ZERO
    seconds_open: Decimal = ZERO
    seconds_funded: Decimal = ZERO
    invested: Decimal = ZERO
    returns: list[Measure] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    prices: dict[Symbol, list[Decimal]] = field(default_factory=dict)
    days: dict[date, _Tally] = field(default_factory=dict)
    months: dict[date, _Tally] = field(default_factory=dict)

    def wait_until(self, at: datetime) -> None:
        passed = _seconds(max(at - self.at, timedelta(0)))
        self.seconds = RATIO.add(self.seconds, passed)
        if self.open:
            self.seconds_open = RATIO.add(self.seconds_open, passed)
        if self.equity > ZERO:
            self.seconds_funded = RATIO.add(self.seconds_funded, passed)
            part = RATIO.multiply(passed, divide(self.open_cost, self.equity))
            self.invested = RATIO.add(self.invested, part)
        self.at = max(at, self.at)

    def add_flow(self, amount: Decimal) -> None:
        self.equity = add(self.equity, amount)
        for tally in self._tallies():
            tally.flow = add(tally.flow, amount)

    def open_order(self, order: OpenOrder) -> None:
        self.open[order.id] = order
        self.open_cost = add(self.open_cost, order.cost)

    def close_order(self, order: OpenOrder, proceeds: Decimal) -> None:
        del self.open[order.id]
        self.open_cost = subtract(self.open_cost, order.cost)
        trade = Trade(
            order_id=order.id,
            symbol=order.symbol,
            opened_at=order.opened_at,
            closed_at=self.at,
            cost=order.cost,
            proceeds=proceeds,
        )
        self.trades.append(trade)
        gained: Measure = divide(trade.profit, self.equity) if self.equity > ZERO else NO_MONEY
        self.returns.append(gained)
        self.equity = add(self.equity, trade.profit)
        for tally in self._tallies():
            tally.profit = add(tally.profit, trade.profit)
            if isinstance(gained, Undefined) or isinstance(tally.unit, Undefined):
                tally.unit = NO_MONEY
            else:
                tally.unit = RATIO.multiply(tally.unit, RATIO.add(ONE, gained))

    def note_price(self, symbol: Symbol, price: Decimal) -> None:
        self.prices.setdefault(symbol, []).append(price)

    def end_movement(self) -> None:
        for tally in self._tallies():
            tally.equity = self.equity

    def _tallies(self) -> tuple[_Tally, _Tally]:
        on = self.at.astimezone(UTC).date()
        return (
            self.days.setdefault(on, _Tally(equity=self.equity)),
            self.months.setdefault(on.replace(day=1), _Tally(equity=self.equity)),
        )


def account_statistics(history: History, *, symbol: Symbol | None = None) -> AccountStatistics:
    """What a history amounts to; with a symbol, as if nothing else had been traded."""
    held = [order for order in history.open_at_begin if symbol in {None, order.symbol}]
    others = [order.cost for order in history.open_at_begin if symbol not in {None, order.symbol}]
    open_cost = money_sum([order.cost for order in held])
    equity = add(add(history.cash_at_begin, open_cost), money_sum(others))
    walk = _Walk(
        at=history.begin_at,
        equity=equity,
        open={order.id: order for order in held},
        open_cost=open_cost,
    )
    for order in held:
        walk.note_price(order.symbol, order.buy_price)
    for movement in history.movements:
        _follow(walk, movement, symbol)
    walk.wait_until(history.end_at)
    returns = _daily_returns(history, walk)
    fallen = _drawdown(walk.returns)
    return AccountStatistics(
        begin_at=history.begin_at,
        end_at=history.end_at,
        equity_at_begin=equity,
        equity_at_end=walk.equity,
        flow=money_sum([tally.flow for tally in walk.days.values()]),
        open_orders=len(walk.open),
        open_cost=walk.open_cost,
        total_return=_of(returns, cumulative_return(_defined(returns))),
        annual_return=_risk(
            returns, annual_return(_defined(returns), periods_per_year=DAYS_PER_YEAR)
        ),
        volatility=_risk(returns, volatility(_defined(returns), periods_per_year=DAYS_PER_YEAR)),
        sharpe=_risk(returns, sharpe(_defined(returns), periods_per_year=DAYS_PER_YEAR)),
        sortino=_risk(returns, sortino(_defined(returns), periods_per_year=DAYS_PER_YEAR)),
        calmar=_risk(returns, _calmar(_defined(returns), fallen)),
        max_drawdown=fallen,
        exposure_time=divide(walk.seconds_open, walk.seconds) if walk.seconds else NO_TIME,
        exposure=divide(walk.invested, walk.seconds_funded) if walk.seconds_funded else NO_MONEY,
        trades=trade_statistics(walk.trades),
        symbols=_by_symbol(walk),
        days=[
            Day(on=on, equity=t.equity, profit=t.profit, flow=t.flow, return_=t.return_)
            for on, t in sorted(walk.days.items())
        ],
        months=[
            Month(first_on=on, profit=t.profit, flow=t.flow, return_=t.return_)
            for on, t in sorted(walk.months.items())
        ],
    )


def _follow(walk: _Walk, movement: Movement, symbol: Symbol | None) -> None:
    order = movement.order
    if order is not None and symbol not in {None, order.symbol}:
        return
    walk.wait_until(movement.at)
    if order is not None and movement.price is not None:
        walk.note_price(order.symbol, movement.price)
    match movement.cause, order:
        case Cause.ORDER_OPENED, OpenOrder():
            walk.open_order(order)
        case Cause.ORDER_CLOSED, OpenOrder():
            walk.close_order(order, movement.amount)
        case _:
            walk.add_flow(movement.amount)
    walk.end_movement()


def _daily_returns(history: History, walk: _Walk) -> list[Measure]:
    """One for every day of the time, the first and the last perhaps shorter."""
    first = history.begin_at.astimezone(UTC).date()
    count = (max(history.end_at, walk.at).astimezone(UTC).date() - first).days + 1
    days = (first + timedelta(days=number) for number in range(count))
    return [walk.days[day].return_ if day in walk.days else ZERO for day in days]


def _defined(returns: Sequence[Measure]) -> list[Decimal]:
    return [each for each in returns if not isinstance(each, Undefined)]


def _of(returns: Sequence[Measure], measure: Measure) -> Measure:
    """The measure, unless one of the returns is undefined."""
    return next((each for each in returns if isinstance(each, Undefined)), shown(measure))


def _risk(returns: Sequence[Measure], measure: Measure) -> Measure:
    """The measure, unless too few days stand behind it."""
    with_closes = sum(isinstance(each, Undefined) or each != ZERO for each in returns)
    if len(returns) < DAYS_MIN or with_closes < DAYS_WITH_CLOSES_MIN:
        return Undefined(
            f"{len(returns)} days, {with_closes} of them with a return, are too few: at least "
            f"{DAYS_MIN} and {DAYS_WITH_CLOSES_MIN} are needed"
        )
    return _of(returns, measure)


def _drawdown(returns: Sequence[Measure]) -> Measure:
    return _of(returns, max_drawdown(_defined(returns)))


def _calmar(returns: Sequence[Decimal], fallen: Measure) -> Measure:
    grown = annual_return(returns, periods_per_year=DAYS_PER_YEAR)
    if isinstance(grown, Undefined) or isinstance(fallen, Undefined):
        return grown if isinstance(grown, Undefined) else fallen
    return divide(grown, fallen) if fallen > ZERO else NO_DRAWDOWN


def _by_symbol(walk: _Walk) -> list[SymbolStatistics]:
    trades: dict[Symbol, list[Trade]] = {symbol: [] for symbol in walk.prices}
    for trade in walk.trades:
        trades.setdefault(trade.symbol, []).append(trade)
    return [
        SymbolStatistics(
            symbol=symbol,
            trades=trade_statistics(trades[symbol]),
            buy_and_hold=buy_and_hold(walk.prices.get(symbol, [])),
        )
        for symbol in sorted(trades)
    ]


def _seconds(time: timedelta) -> Decimal:
    return divide(Decimal(time // timedelta(microseconds=1)), Decimal(1_000_000))
