"""How an account did."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from goblin.decoding import Rows, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A number, or the reason why there is none."""

    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyOrReason:
    """An amount, or the reason why there is none."""

    value: Decimal | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStatistics:
    """Closed orders together; losses are negative."""

    count: int
    wins: int
    losses: int
    profit: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    win_rate: Ratio
    profit_factor: Ratio
    average_profit: MoneyOrReason
    average_win: MoneyOrReason
    average_loss: MoneyOrReason
    best: MoneyOrReason
    worst: MoneyOrReason
    holding_seconds_average: Ratio
    holding_seconds_longest: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPrices:
    """The first and the last price that fills and marks know of a symbol."""

    first: Decimal
    first_at: datetime
    last: Decimal
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The half-open time [begin_at, end_at)."""

    begin_at: datetime = field(metadata=wire("from"))
    end_at: datetime = field(metadata=wire("to"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolStatistics:
    """How one symbol went, and what holding it would have brought.

    `unmarked` closes of candles are not stored, of which `unmarked_spans` names the first.
    """

    symbol: str
    trades: TradeStatistics
    buy_and_hold: Ratio
    marked: int
    unmarked: int
    unmarked_spans: Rows[Span]
    prices: KnownPrices | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What open orders were valued at: the closes of stored candles of this venue.

    `marked` counts them, `unmarked` those that are not stored: the value before was kept.
    """

    venue: str
    category: str
    interval: str
    marked: int
    unmarked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A UTC day on which something moved; what it ended with has open orders at cost, or marked."""

    on: date
    equity: Decimal
    marked_equity: Decimal
    profit: Decimal
    flow: Decimal
    return_: Ratio = field(metadata=wire("return"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A UTC month in which something moved."""

    month: str
    profit: Decimal
    flow: Decimal
    return_: Ratio = field(metadata=wire("return"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How an account did in [begin_at, end_at), and what buying and holding would have done.

    `equity` has open orders at cost, `marked_equity` at what they were last known to be worth;
    returns and risk are of the latter (docs/statistics.md).
    """

    epoch: int
    begin_at: datetime
    end_at: datetime
    equity_at_begin: Decimal
    equity_at_end: Decimal
    marked_equity_at_begin: Decimal
    marked_equity_at_end: Decimal
    marks: Marks
    flow: Decimal
    open_orders: int
    open_cost: Decimal
    total_return: Ratio
    annual_return: Ratio
    volatility: Ratio
    sharpe: Ratio
    sortino: Ratio
    calmar: Ratio
    max_drawdown: Ratio
    exposure_time: Ratio
    exposure: Ratio
    buy_and_hold: Ratio
    buy_and_hold_max_drawdown: Ratio
    trades: TradeStatistics
    symbols: Rows[SymbolStatistics]
    days: Rows[Day]
    months: Rows[Month]
