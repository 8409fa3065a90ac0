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
class SymbolStatistics:
    """How one symbol went, and what holding it would have brought."""

    symbol: str
    trades: TradeStatistics
    buy_and_hold: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A UTC day on which something moved."""

    on: date
    equity: Decimal
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
    """How an account did in [begin_at, end_at), with open orders at what they cost."""

    epoch: int
    begin_at: datetime
    end_at: datetime
    equity_at_begin: Decimal
    equity_at_end: Decimal
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
    trades: TradeStatistics
    symbols: Rows[SymbolStatistics]
    days: Rows[Day]
    months: Rows[Month]
