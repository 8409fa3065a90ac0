"""An account's equity over time, and what follows from it.

What is known without any other price: **realised equity** is the cash plus every open order at
its cost. It changes by money put in or taken out (a flow) and by an order's close, whose
profit is proceeds - cost; opening an order changes nothing. So equity at the end = equity at the
beginning + flows + the profits of the trades, exactly.

**Marked equity** has open orders at their value: quantity x the last price that a mark knew,
and what they cost until there was one. Without any mark it is the realised equity.

Returns are time-weighted (Bacon, Practical Portfolio Performance, ch. 2): each mark, and each
sale for what it brought beyond the last value, multiplies one unit by 1 + gain / marked equity
just before it, so that flows neither help nor hurt. Days and months are UTC's; a day without
either has return 0.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from app.domain.candles import Interval, Span, advance, stretches
from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.money import ZERO, add, cash_value
from app.domain.orders import OrderId
from app.domain.statistics.history import History, Movement, OpenOrder
from app.domain.statistics.holding import NOTHING_BOUGHT, Holding, KnownPrices
from app.domain.statistics.marks import TICK
from app.domain.statistics.measures import (
    NO_DRAWDOWN,
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
    Trade,
    TradeStatistics,
    money_sum,
    trade_statistics,
)
from app.domain.statistics.walk import NO_MONEY, Coverage, Held, Walk

DAYS_PER_YEAR: Final = 365
"""Paper markets never close."""
DAYS_MIN: Final = 30
DAYS_WITH_RETURNS_MIN: Final = 10
"""Fewer days say nothing about risk, however large the ratio that they give."""

NO_TIME: Final = Undefined("no time has passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A UTC day on which something moved; `equity` is what it ended with, realised and marked."""

    on: date
    equity: Decimal
    marked_equity: Decimal
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
class SymbolStatistics:
    """The trades of one symbol, and beside them what holding it would have brought.

    `marked` counts the marks that an open order of it was valued at; `unmarked` is the time of
    those of which no price is stored, each as long as its candle.
    """

    symbol: Symbol
    trades: TradeStatistics
    prices: KnownPrices | None
    buy_and_hold: Measure
    marked: int
    unmarked_count: int
    unmarked: Sequence[Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatistics:
    """What a history amounts to; see the module for the definitions.

    `max_drawdown` looks at marked equity after every mark and sale. `exposure_time` is the part
    of the time with an open order, `exposure` the mean over time of their value / marked equity.
    """

    begin_at: datetime
    end_at: datetime
    interval: Interval
    equity_at_begin: Decimal
    equity_at_end: Decimal
    marked_equity_at_begin: Decimal
    marked_equity_at_end: Decimal
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
    buy_and_hold: Measure
    buy_and_hold_max_drawdown: Measure
    trades: TradeStatistics
    symbols: Sequence[SymbolStatistics]
    days: Sequence[Day]
    months: Sequence[Month]


def account_statistics(history: History, *, symbol: Symbol | None = None) -> AccountStatistics:
    """What a history amounts to; with a symbol, as if nothing else had been traded."""
    walk = _beginning(history, symbol)
    equity, marked_equity = walk.equity, walk.marked_equity
    marks = deque(mark for mark in history.marks if mark.at > history.begin_at)
    for movement in history.movements:
        while marks and marks[0].at <= movement.at:
            walk.mark(marks.popleft())
        _follow(walk, movement, symbol)
    while marks:
        walk.mark(marks.popleft())
    walk.wait_until(history.end_at)
    returns = _daily_returns(history, walk)
    fallen = _drawdown(walk.returns)
    return AccountStatistics(
        begin_at=history.begin_at,
        end_at=history.end_at,
        interval=history.interval,
        equity_at_begin=equity,
        equity_at_end=walk.equity,
        marked_equity_at_begin=marked_equity,
        marked_equity_at_end=walk.marked_equity,
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
        buy_and_hold=shown(walk.holding.return_),
        buy_and_hold_max_drawdown=walk.holding.max_drawdown,
        trades=trade_statistics(walk.trades),
        symbols=_by_symbol(walk, history.interval),
        days=[
            Day(
                on=on,
                equity=t.equity,
                marked_equity=t.marked_equity,
                profit=t.profit,
                flow=t.flow,
                return_=t.return_,
            )
            for on, t in sorted(walk.days.items())
        ],
        months=[
            Month(first_on=on, profit=t.profit, flow=t.flow, return_=t.return_)
            for on, t in sorted(walk.months.items())
        ],
    )


def _beginning(history: History, symbol: Symbol | None) -> Walk:
    """The account at the beginning, with what is held at its last known price."""
    held = [order for order in history.open_at_begin if symbol in {None, order.symbol}]
    others = [order.cost for order in history.open_at_begin if symbol not in {None, order.symbol}]
    open_cost = money_sum([order.cost for order in held])
    holding = Holding(symbols=len(history.first_opened_at(symbol)))
    opened: dict[OrderId, Held] = {}
    for order in held:
        price, at = _known_before(order, history)
        holding.buy(order.symbol, price, at)
        opened[order.id] = Held(order, cash_value(price, order.quantity))
    return Walk(
        at=history.begin_at,
        equity=add(add(history.cash_at_begin, open_cost), money_sum(others)),
        open=opened,
        open_cost=open_cost,
        open_value=money_sum([each.value for each in opened.values()]),
        holding=holding,
    )


def _known_before(order: OpenOrder, history: History) -> tuple[Decimal, datetime]:
    """The last price of an order that was known when the history begins, and when it was."""
    price, at = order.buy_price, order.opened_at
    for mark in history.marks:
        if mark.at > history.begin_at:
            break
        if mark.at > order.opened_at and order.symbol in mark.prices:
            price, at = mark.prices[order.symbol], mark.at
    return price, at


def _follow(walk: Walk, movement: Movement, symbol: Symbol | None) -> None:
    order = movement.order
    if order is not None and symbol not in {None, order.symbol}:
        return
    walk.wait_until(movement.at)
    if order is not None and movement.price is not None:
        walk.holding.buy(order.symbol, movement.price, walk.at)
    match movement.cause, order:
        case Cause.ORDER_OPENED, OpenOrder():
            walk.open_order(order)
        case Cause.ORDER_CLOSED, OpenOrder():
            walk.close_order(order, movement.amount)
        case _:
            walk.add_flow(movement.amount)
    walk.end_movement()


def _daily_returns(history: History, walk: Walk) -> list[Measure]:
    """One for every day of the time, the first and the last perhaps shorter."""
    first = history.begin_at.astimezone(UTC).date()
    last = max((history.end_at - TICK).astimezone(UTC).date(), *walk.days, first)
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [walk.days[day].return_ if day in walk.days else ZERO for day in days]


def _defined(returns: Sequence[Measure]) -> list[Decimal]:
    return [each for each in returns if not isinstance(each, Undefined)]


def _of(returns: Sequence[Measure], measure: Measure) -> Measure:
    """The measure, unless one of the returns is undefined."""
    return next((each for each in returns if isinstance(each, Undefined)), shown(measure))


def _risk(returns: Sequence[Measure], measure: Measure) -> Measure:
    """The measure, unless too few days stand behind it."""
    with_returns = sum(isinstance(each, Undefined) or each != ZERO for each in returns)
    if len(returns) < DAYS_MIN or with_returns < DAYS_WITH_RETURNS_MIN:
        return Undefined(
            f"at least {DAYS_MIN} days, {DAYS_WITH_RETURNS_MIN} of them with a return, are "
            f"needed, and there are {len(returns)} and {with_returns}"
        )
    return _of(returns, measure)


def _drawdown(returns: Sequence[Measure]) -> Measure:
    return _of(returns, max_drawdown(_defined(returns)))


def _calmar(returns: Sequence[Decimal], fallen: Measure) -> Measure:
    grown = annual_return(returns, periods_per_year=DAYS_PER_YEAR)
    if isinstance(grown, Undefined) or isinstance(fallen, Undefined):
        return grown if isinstance(grown, Undefined) else fallen
    return divide(grown, fallen) if fallen > ZERO else NO_DRAWDOWN


def _by_symbol(walk: Walk, interval: Interval) -> list[SymbolStatistics]:
    trades: dict[Symbol, list[Trade]] = {symbol: [] for symbol in walk.holding.known}
    for trade in walk.trades:
        trades.setdefault(trade.symbol, []).append(trade)
    return [_symbol(walk, symbol, trades[symbol], interval) for symbol in sorted(trades)]


def _symbol(
    walk: Walk, symbol: Symbol, trades: Sequence[Trade], interval: Interval
) -> SymbolStatistics:
    prices = walk.holding.known.get(symbol)
    covered = walk.coverage.get(symbol, Coverage())
    opens = (advance(at, interval, -1) for at in covered.unmarked)
    return SymbolStatistics(
        symbol=symbol,
        trades=trade_statistics(trades),
        prices=prices,
        buy_and_hold=NOTHING_BOUGHT if prices is None else prices.return_,
        marked=covered.marked,
        unmarked_count=len(covered.unmarked),
        unmarked=stretches(opens, interval),
    )
