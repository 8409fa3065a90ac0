"""The numbers behind the charts, as HTML tables. Whatever a person wrote is escaped here."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Final

from goblin.models import MoneyOrReason, Order, Ratio, Statistics
from goblin.reporting.data import ReportData
from goblin.reporting.figures import StrategyOutcome, strategies
from goblin.reporting.text import (
    NO_VALUE,
    cents,
    duration,
    money,
    number,
    percent,
    quantity,
    second,
    share,
    wire,
)

ORDERS_MAX: Final = 1000
"""So many are listed; the newest ones if there are more."""


def amount(value: Decimal, *, signed: bool = False, is_mean: bool = False) -> str:
    """Money: every digit, those beyond cents quietly, and the server's own text for machines.

    A mean has 20 decimals of its own, which its `title` has room for.
    """
    tone = ("gain" if value > 0 else "loss" if value < 0 else "") if signed else ""
    begin = f'<data class="{tone}" value="{wire(value)}"'
    if is_mean:
        return f'{begin} title="{money(value)}">{cents(value)}</data>'
    whole, _, decimals = money(value).partition(".")
    rest = f'<span class="rest">{decimals[2:]}</span>' if decimals[2:] else ""
    return f"{begin}>{whole}.{decimals[:2]}{rest}</data>"


def symbols_table(statistics: Statistics) -> str:
    """How each symbol went, and what holding it would have brought."""
    heads = ["Symbol", "Trades", "Win rate", "Profit", "Buy and hold", "Profit factor",
             "Average win", "Average loss", "Average holding", "Marked"]  # fmt: skip
    rows = []
    for each in statistics.symbols:
        trades = each.trades
        rows.append(
            [
                escape(each.symbol),
                f"{trades.count:,}",
                _ratio(trades.win_rate, share),
                amount(trades.profit, signed=True),
                _ratio(each.buy_and_hold, percent),
                _ratio(trades.profit_factor, number),
                _mean(trades.average_win),
                _mean(trades.average_loss),
                _ratio(trades.holding_seconds_average, duration),
                f"{each.marked:,} of {each.marked + each.unmarked:,}",
            ]
        )
    return table("symbols", "Trades by symbol", heads, rows)


def strategies_table(data: ReportData) -> str:
    """What the symbols of each strategy brought."""
    heads = ["Strategy", "Assigned to", "Trades", "Win rate", "Profit"]
    rows = [_strategy(outcome) for outcome in strategies(data)]
    return table("strategies", "Trades by strategy", heads, rows)


def _strategy(outcome: StrategyOutcome) -> list[str]:
    rate = share(outcome.wins / outcome.count) if outcome.count else NO_VALUE
    return [
        escape(outcome.name),
        escape(", ".join(outcome.symbols)),
        f"{outcome.count:,}",
        rate,
        amount(outcome.profit, signed=True),
    ]


def months_table(statistics: Statistics) -> str:
    """The months of the heat map."""
    heads = ["Month", "Return", "Profit", "Put in, less taken out"]
    rows = [
        [
            escape(month.month),
            _ratio(month.return_, percent),
            amount(month.profit, signed=True),
            amount(month.flow),
        ]
        for month in statistics.months
    ]
    return table("months", "Returns by month (UTC)", heads, rows)


def days_table(statistics: Statistics) -> str:
    """The days on which something moved."""
    heads = ["Day", "Equity at its end", "Realised", "Return", "Profit", "Put in, less taken out"]
    rows = [
        [
            day.on.isoformat(),
            amount(day.marked_equity),
            amount(day.equity),
            _ratio(day.return_, percent),
            amount(day.profit, signed=True),
            amount(day.flow),
        ]
        for day in statistics.days
    ]
    return table("days", "Days on which something moved (UTC)", heads, rows)


def orders_table(orders: Sequence[Order]) -> str:
    """Every order, or the newest of very many."""
    heads = ["Order", "Symbol", "Quantity", "Bought (UTC)", "Price", "Cost", "Sold (UTC)", "Price",
             "Proceeds", "Profit"]  # fmt: skip
    newest = sorted(orders, key=lambda order: order.id, reverse=True)[:ORDERS_MAX]
    caption = "Orders"
    if len(orders) > ORDERS_MAX:
        caption = f"The newest {ORDERS_MAX:,} of {len(orders):,} orders"
    return table("orders", caption, heads, [_order(order) for order in newest])


def _order(order: Order) -> list[str]:
    return [
        str(order.id),
        escape(order.symbol),
        quantity(order.quantity),
        second(order.created_at),
        money(order.buy_price),
        amount(order.cost),
        "open" if order.is_active else second(order.updated_at),
        NO_VALUE if order.sell_price is None else money(order.sell_price),
        NO_VALUE if order.proceeds is None else amount(order.proceeds),
        NO_VALUE if order.is_active else amount(order.profit, signed=True),
    ]


def table(name: str, caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = [f"<tr>{_cells(row)}</tr>" for row in rows]
    if not lines:
        lines = [f'<tr><td colspan="{len(heads)}">none</td></tr>']
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table id="{name}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cells(row: Sequence[str]) -> str:
    first, *others = row
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others)


def _ratio(measure: Ratio, shown: Callable[[float], str]) -> str:
    return _none(measure.reason) if measure.value is None else shown(measure.value)


def _none(reason: str | None) -> str:
    return f'<span title="{escape(reason or "")}">{NO_VALUE}</span>'


def _mean(measure: MoneyOrReason) -> str:
    if measure.value is None:
        return _none(measure.reason)
    return amount(measure.value, signed=True, is_mean=True)
