"""The key figures of a report and what has to be said about them, as texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from goblin.models import MoneyOrReason, Ratio, Span, SymbolStatistics
from goblin.reporting.curve import EXACT, Point, total
from goblin.reporting.data import ReportData
from goblin.reporting.text import (
    NO_VALUE,
    cents,
    duration,
    moment,
    money,
    number,
    percent,
    share,
)

TRADES_MIN: Final = 30
"""Below so many trades a rate or a mean is mostly luck (the usual rule of thumb for a sample)."""
SEE_ABOVE: Final = "too small a sample, see above"
NAMED_MAX: Final = 3
"""So many symbols, and spans of each, are named where prices are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its name; `amount` where it is money, of which the text is rounded."""

    name: str
    text: str
    amount: Decimal | None = None
    sign: int = 0
    note: str | None = None


def heading(data: ReportData) -> str:
    """Whose report of what it is."""
    return f"{data.account}: {data.symbol or 'all symbols'}"


def period(data: ReportData) -> str:
    """The time that it is about."""
    found = data.statistics
    return f"{moment(found.begin_at)} to {moment(found.end_at)} UTC, epoch {found.epoch}"


def figures(data: ReportData) -> list[Figure]:
    """What a reader looks at first."""
    found = data.statistics
    trades = found.trades
    count = trades.count
    shown = [
        _amount("Equity", found.marked_equity_at_end),
        _amount("Realised equity", found.equity_at_end),
        _amount("Realised profit", trades.profit, signed=True),
        _measure("Total return", found.total_return, percent, signed=True),
        _measure(
            "Buy and hold", found.buy_and_hold, percent, signed=True, note=_held(found.symbols)
        ),
        _measure("Max drawdown", found.max_drawdown, share),
        _measure("Drawdown of buy and hold", found.buy_and_hold_max_drawdown, share),
        _measure("Annual return", found.annual_return, percent, signed=True),
        _measure("Volatility", found.volatility, share),
        _measure("Sharpe", found.sharpe, number),
        _measure("Sortino", found.sortino, number),
        _measure("Calmar", found.calmar, number),
        _measure("Profit factor", trades.profit_factor, number),
        _measure("Win rate", trades.win_rate, share, note=f"{trades.wins:,} of {count:,}"),
        _mean("Average win", trades.average_win),
        _mean("Average loss", trades.average_loss),
        _measure("Average holding time", trades.holding_seconds_average, duration),
        _measure("Time in the market", found.exposure_time, share),
        _measure("Average exposure", found.exposure, share),
        Figure(
            name="Orders",
            text=f"{count:,} closed, {found.open_orders:,} open",
            note=f"open: cost {cents(found.open_cost)}, worth {cents(_worth(data))}",
        ),
    ]
    # What one of the warnings says in full is not repeated in every tile.
    said = found.sharpe.reason
    return [replace(each, note=SEE_ABOVE) if said and each.note == said else each for each in shown]


def _held(symbols: Sequence[SymbolStatistics]) -> str:
    """What was bought and until when its price is known."""
    until = min((each.prices.last_at for each in symbols if each.prices is not None), default=None)
    names = symbols[0].symbol if len(symbols) == 1 else f"{len(symbols)} symbols equally"
    return names if until is None else f"{names}, until {moment(until)}"


def _worth(data: ReportData) -> Decimal:
    """The value of open orders at the end."""
    found = data.statistics
    gained = EXACT.subtract(found.marked_equity_at_end, found.equity_at_end)
    return EXACT.add(found.open_cost, gained)


def valuation(data: ReportData) -> str:
    """What open orders stand at."""
    marks = data.statistics.marks
    if not marks.marked:
        return "Open orders stand at what they cost."
    text = (
        f"Open orders stand at the closes of stored {marks.interval} candles ({marks.venue}, "
        f"{marks.category}), and at what they cost until the first one."
    )
    if len(data.statistics.symbols) > 1:
        text += " Of several held together the sale of one is drawn when its day ends."
    return text


def warnings(data: ReportData, *, end: Point) -> list[str]:
    """What a reader has to know before believing the numbers; `end` is where the charts end."""
    found = data.statistics
    count = found.trades.count
    said = []
    if not data.entries and not data.orders:
        said.append("Nothing has happened in this account in this time.")
    elif count == 0:
        said.append("No order was closed in this time: there is nothing to judge yet.")
    elif count < TRADES_MIN:
        said.append(
            f"Small sample: {_trades(count)}. Rates and means of fewer than {TRADES_MIN} "
            "are mostly luck."
        )
    if found.sharpe.reason is not None:
        said.append(f"No measures of risk: {found.sharpe.reason}.")
    if found.marks.unmarked:
        said.append(_unmarked(data))
    compared = [
        ("a realised equity", end.equity, found.equity_at_end),
        ("an equity", end.marked_equity, found.marked_equity_at_end),
    ]
    for name, drawn, told in compared:
        if drawn != told:
            shown = NO_VALUE if drawn is None else money(drawn)
            said.append(
                f"The charts end at {name} of {shown}, the server says {money(told)}: something "
                "changed while they were read."
            )
    return said


def _unmarked(data: ReportData) -> str:
    """Where no price is known of what was held."""
    marks = data.statistics.marks
    lacking = [each for each in data.statistics.symbols if each.unmarked]
    named = [f"{each.symbol} {_days(each.unmarked_spans)}" for each in lacking[:NAMED_MAX]]
    if len(lacking) > NAMED_MAX:
        named.append(f"and {len(lacking) - NAMED_MAX} more symbols")
    return (
        f"Not marked: {marks.unmarked:,} of {marks.marked + marks.unmarked:,} closes of "
        f"{marks.interval} candles are not stored, and open orders kept the value before: "
        f"{'; '.join(named)}. Drawdown and volatility can be too small."
    )


def _days(spans: Sequence[Span]) -> str:
    """The first and the last day of each; candles of a report are of days or longer."""
    texts = []
    for span in spans[:NAMED_MAX]:
        first, last = span.begin_at.date(), (span.end_at - timedelta(days=1)).date()
        texts.append(f"{first}" if first == last else f"{first} to {last}")
    more = " and more" if len(spans) > NAMED_MAX else ""
    return f"{', '.join(texts)}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyOutcome:
    """The trades of all symbols that a strategy is assigned to, added up."""

    name: str
    symbols: Sequence[str]
    count: int
    wins: int
    profit: Decimal


def strategies(data: ReportData) -> list[StrategyOutcome]:
    """One for each strategy with an assignment.

    Orders do not name one: trades of a symbol count for every strategy that is assigned to it.
    """
    by_symbol = {each.symbol: each.trades for each in data.statistics.symbols}
    names = dict.fromkeys(each.strategy for each in data.assignments)
    outcomes = []
    for name in names:
        own = [each for each in data.assignments if each.strategy == name]
        traded = [
            by_symbol[symbol]
            for symbol in dict.fromkeys(each.symbol for each in own)
            if symbol in by_symbol
        ]
        outcomes.append(
            StrategyOutcome(
                name=name,
                symbols=[f"{each.symbol} {each.interval}" for each in own],
                count=sum(trades.count for trades in traded),
                wins=sum(trades.wins for trades in traded),
                profit=total(trades.profit for trades in traded),
            )
        )
    return outcomes


def _amount(name: str, amount: Decimal, *, signed: bool = False, note: str | None = None) -> Figure:
    shown = cents(amount)
    exact = money(amount)
    return Figure(
        name=name,
        text=shown,
        amount=amount,
        sign=_sign(amount) if signed else 0,
        note=note if shown == exact else f"exactly {exact}",
    )


def _mean(name: str, measure: MoneyOrReason) -> Figure:
    """Money that nobody was paid: its 20 decimals are for machines."""
    if measure.value is None:
        return Figure(name=name, text=NO_VALUE, note=measure.reason)
    return replace(_amount(name, measure.value, signed=True), note=None)


def _measure(
    name: str,
    measure: Ratio,
    shown: Callable[[float], str],
    *,
    signed: bool = False,
    note: str | None = None,
) -> Figure:
    if measure.value is None:
        return Figure(name=name, text=NO_VALUE, note=measure.reason)
    sign = _sign(measure.value) if signed else 0
    return Figure(name=name, text=shown(measure.value), sign=sign, note=note)


def _sign(value: Decimal | float) -> int:
    return (value > 0) - (value < 0)


def _trades(count: int) -> str:
    return "1 closed order" if count == 1 else f"{count:,} closed orders"
