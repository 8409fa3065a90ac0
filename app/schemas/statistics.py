"""An account's statistics on the wire: money exact, ratios as numbers, or why there is none."""

from datetime import date
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    WithJsonSchema,
)

from app.domain.candles import Interval
from app.domain.instants import iso_instant, of_a_market
from app.domain.instruments import Category, Venue
from app.domain.statistics import (
    AccountStatistics,
    Day,
    Measure,
    Month,
    SymbolStatistics,
    TradeStatistics,
    Undefined,
)
from app.schemas.candles import SpanOut
from app.schemas.common import Count, Instant, LedgerMoney, Money, SymbolOut

SPANS_MAX: Final = 100
"""Spans without candles that are named of each symbol; how many there are is always said."""


StatisticsInstant = Annotated[
    AwareDatetime,
    AfterValidator(of_a_market),
    BeforeValidator(iso_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-01T00:00:00Z"]}),
]


class Ratio(BaseModel):
    """A number, or the reason why there is none."""

    value: float | None = Field(None, examples=[0.125])
    reason: str | None = Field(None, description="Why there is no value.")

    @classmethod
    def of(cls, measure: Measure) -> "Ratio":
        """The wire form of a measure."""
        if isinstance(measure, Undefined):
            return cls(reason=measure.reason)
        return cls(value=float(measure))


class MoneyOrReason(BaseModel):
    """An amount, or the reason why there is none."""

    value: LedgerMoney | None = None
    reason: str | None = Field(None, description="Why there is no value.")

    @classmethod
    def of(cls, measure: Measure) -> "MoneyOrReason":
        """The wire form of a measure that is money."""
        if isinstance(measure, Undefined):
            return cls(reason=measure.reason)
        return cls(value=measure)


class TradesOut(BaseModel):
    """Closed orders together; losses are negative."""

    count: Count
    wins: Count
    losses: Count
    profit: LedgerMoney = Field(description="The sum of all, exact.")
    gross_profit: LedgerMoney
    gross_loss: LedgerMoney
    win_rate: Ratio = Field(description="wins / count")
    profit_factor: Ratio = Field(description="gross_profit / -gross_loss")
    average_profit: MoneyOrReason
    average_win: MoneyOrReason
    average_loss: MoneyOrReason
    best: MoneyOrReason
    worst: MoneyOrReason
    holding_seconds_average: Ratio
    holding_seconds_longest: Ratio

    @classmethod
    def of(cls, trades: TradeStatistics) -> "TradesOut":
        """The wire form of trades together."""
        return cls(
            count=trades.count,
            wins=trades.wins,
            losses=trades.losses,
            profit=trades.profit,
            gross_profit=trades.gross_profit,
            gross_loss=trades.gross_loss,
            win_rate=Ratio.of(trades.win_rate),
            profit_factor=Ratio.of(trades.profit_factor),
            average_profit=MoneyOrReason.of(trades.average_profit),
            average_win=MoneyOrReason.of(trades.average_win),
            average_loss=MoneyOrReason.of(trades.average_loss),
            best=MoneyOrReason.of(trades.best),
            worst=MoneyOrReason.of(trades.worst),
            holding_seconds_average=Ratio.of(trades.holding_seconds_average),
            holding_seconds_longest=Ratio.of(trades.holding_seconds_longest),
        )


class PricesOut(BaseModel):
    """The first and the last price that the account's fills and marks know of a symbol."""

    first: Money
    first_at: Instant
    last: Money
    last_at: Instant


class SymbolOutcome(BaseModel):
    """How one symbol went, and what holding it would have brought."""

    symbol: SymbolOut
    trades: TradesOut
    buy_and_hold: Ratio = Field(description="prices.last / prices.first - 1")
    prices: PricesOut | None = None
    marked: Count = Field(description="How many closes of candles its open order was valued at.")
    unmarked: Count = Field(description="How many more there would be if candles were stored.")
    unmarked_spans: list[SpanOut] = Field(
        description=f"The candles that are not stored, together; the first {SPANS_MAX}."
    )

    @classmethod
    def of(cls, symbol: SymbolStatistics) -> "SymbolOutcome":
        """The wire form of one symbol."""
        prices = symbol.prices
        return cls(
            symbol=symbol.symbol,
            trades=TradesOut.of(symbol.trades),
            buy_and_hold=Ratio.of(symbol.buy_and_hold),
            prices=None
            if prices is None
            else PricesOut(
                first=prices.first,
                first_at=prices.first_at,
                last=prices.last,
                last_at=prices.last_at,
            ),
            marked=symbol.marked,
            unmarked=symbol.unmarked_count,
            unmarked_spans=[
                SpanOut.model_validate({"from": span.begin_at, "to": span.end_at})
                for span in symbol.unmarked[:SPANS_MAX]
            ],
        )


class MarksOut(BaseModel):
    """What open orders were valued at: the closes of stored candles, and how many there were."""

    venue: Venue
    category: Category
    interval: Interval = Field(description="Marks are at the ends of candles of this length.")
    marked: Count
    unmarked: Count = Field(description="No price is stored; the value before was kept.")


class DayOut(BaseModel):
    """A UTC day on which something moved; on the others everything stayed as it was."""

    on: date = Field(examples=["2026-01-31"])
    equity: LedgerMoney = Field(description="What the day ended with, open orders at cost.")
    marked_equity: LedgerMoney = Field(description="The same, open orders at their last mark.")
    profit: LedgerMoney
    flow: LedgerMoney = Field(description="Put in, less what was taken out.")
    return_: Ratio = Field(serialization_alias="return", description="Time-weighted.")

    @classmethod
    def of(cls, day: Day) -> "DayOut":
        """The wire form of a day."""
        return cls(
            on=day.on,
            equity=day.equity,
            marked_equity=day.marked_equity,
            profit=day.profit,
            flow=day.flow,
            return_=Ratio.of(day.return_),
        )


class MonthOut(BaseModel):
    """A UTC month in which something moved."""

    month: str = Field(examples=["2026-01"])
    profit: LedgerMoney
    flow: LedgerMoney = Field(description="Put in, less what was taken out.")
    return_: Ratio = Field(serialization_alias="return", description="Time-weighted.")

    @classmethod
    def of(cls, month: Month) -> "MonthOut":
        """The wire form of a month."""
        return cls(
            month=f"{month.first_on:%Y-%m}",
            profit=month.profit,
            flow=month.flow,
            return_=Ratio.of(month.return_),
        )


class StatisticsOut(BaseModel):
    """How an account did in [begin_at, end_at), and what buying and holding would have done."""

    epoch: int = Field(examples=[1])
    begin_at: Instant
    end_at: Instant
    equity_at_begin: LedgerMoney = Field(description="Cash, and open orders at cost.")
    equity_at_end: LedgerMoney = Field(
        description="equity_at_begin + flow + trades.profit, exactly."
    )
    marked_equity_at_begin: LedgerMoney = Field(
        description="Cash, and open orders at their last mark, or at cost if there is none."
    )
    marked_equity_at_end: LedgerMoney
    marks: MarksOut
    flow: LedgerMoney = Field(description="Put in, less what was taken out.")
    open_orders: Count
    open_cost: LedgerMoney
    total_return: Ratio = Field(description="Time-weighted: flows neither help nor hurt.")
    annual_return: Ratio
    volatility: Ratio = Field(description="Of daily returns, annualised by the root of 365.")
    sharpe: Ratio
    sortino: Ratio
    calmar: Ratio = Field(description="annual_return / max_drawdown")
    max_drawdown: Ratio = Field(description="A positive fraction of the peak before it.")
    exposure_time: Ratio = Field(description="The part of the time with an open order.")
    exposure: Ratio = Field(
        description="The value of open orders / marked equity, its mean over time."
    )
    buy_and_hold: Ratio = Field(
        description="An equal part of the capital in each symbol, bought at its first price."
    )
    buy_and_hold_max_drawdown: Ratio
    trades: TradesOut
    symbols: list[SymbolOutcome]
    days: list[DayOut]
    months: list[MonthOut]

    @classmethod
    def of(
        cls, found: AccountStatistics, *, epoch: int, venue: Venue, category: Category
    ) -> "StatisticsOut":
        """The wire form of the statistics of an epoch."""
        return cls(
            epoch=epoch,
            begin_at=found.begin_at,
            end_at=found.end_at,
            equity_at_begin=found.equity_at_begin,
            equity_at_end=found.equity_at_end,
            marked_equity_at_begin=found.marked_equity_at_begin,
            marked_equity_at_end=found.marked_equity_at_end,
            marks=MarksOut(
                venue=venue,
                category=category,
                interval=found.interval,
                marked=sum(each.marked for each in found.symbols),
                unmarked=sum(each.unmarked_count for each in found.symbols),
            ),
            flow=found.flow,
            open_orders=found.open_orders,
            open_cost=found.open_cost,
            total_return=Ratio.of(found.total_return),
            annual_return=Ratio.of(found.annual_return),
            volatility=Ratio.of(found.volatility),
            sharpe=Ratio.of(found.sharpe),
            sortino=Ratio.of(found.sortino),
            calmar=Ratio.of(found.calmar),
            max_drawdown=Ratio.of(found.max_drawdown),
            exposure_time=Ratio.of(found.exposure_time),
            exposure=Ratio.of(found.exposure),
            buy_and_hold=Ratio.of(found.buy_and_hold),
            buy_and_hold_max_drawdown=Ratio.of(found.buy_and_hold_max_drawdown),
            trades=TradesOut.of(found.trades),
            symbols=[SymbolOutcome.of(symbol) for symbol in found.symbols],
            days=[DayOut.of(day) for day in found.days],
            months=[MonthOut.of(month) for month in found.months],
        )
