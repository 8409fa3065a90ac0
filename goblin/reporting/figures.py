"""The key figures of a report and what has to be said about them, as texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from goblin.models import MoneyOrReason, Ratio
from goblin.reporting.curve import total
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
        _amount("Equity", found.equity_at_end),
        _amount("Profit", trades.profit, signed=True),
        _measure("Total return", found.total_return, percent, signed=True),
        held(data),
        _measure("Max drawdown", found.max_drawdown, share),
        _measure("Annual return", found.annual_return, percent, signed=True),
        _measure("Volatility", found.volatility, share),
        _measure("Sharpe", found.sharpe, number),
        _measure("Sortino", found.sortino, number),
        _measure("Calmar", found.calmar, number),
        _measure("Profit factor", trades.profit_factor, number),
        _measure("Win rate", trades.win_rate, share, note=f"{trades.wins} of {count}"),
        _mean("Average win", trades.average_win),
        _mean("Average loss", trades.average_loss),
        _measure("Average holding time", trades.holding_seconds_average, duration),
        _measure("Time in the market", found.exposure_time, share),
        _measure("Average exposure", found.exposure, share),
        Figure(name="Closed orders", text=f"{count:,}"),
        Figure(
            name="Open orders",
            text=str(found.open_orders),
            note=f"cost {money(found.open_cost)}",
        ),
    ]
    # What one of the warnings says in full is not repeated in every tile.
    said = found.sharpe.reason
    return [replace(each, note=SEE_ABOVE) if said and each.note == said else each for each in shown]


def held(data: ReportData) -> Figure:
    """Buy-and-hold, in equal parts where there are several symbols."""
    known = [
        (each.symbol, each.buy_and_hold.value)
        for each in data.statistics.symbols
        if each.buy_and_hold.value is not None
    ]
    if not known:
        return Figure(
            name="Buy and hold", text=NO_VALUE, note="no symbol has two prices to compare"
        )
    mean = sum(value for _, value in known) / len(known)
    names = known[0][0] if len(known) == 1 else f"{len(known)} symbols in equal parts"
    return Figure(name="Buy and hold", text=percent(mean), sign=_sign(mean), note=names)


def warnings(data: ReportData, *, equity_at_end: Decimal) -> list[str]:
    """What a reader has to know before believing the numbers."""
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
    if equity_at_end != found.equity_at_end:
        said.append(
            f"The charts end at an equity of {money(equity_at_end)}, the server says "
            f"{money(found.equity_at_end)}: something changed while they were read."
        )
    return said


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
