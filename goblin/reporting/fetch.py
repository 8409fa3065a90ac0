"""What a report asks the server for."""

import csv
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Final

from goblin.calls import Instant
from goblin.errors import GoblinError
from goblin.models import ACTIVE, LedgerEntry, Order, Statistics
from goblin.reporting.data import Assignment, Execution, Market, ReportData
from goblin.reporting.intervals import SECONDS, Window, window
from goblin.sync.client import Client

MARKETS_MAX: Final = 12
"""So many symbols get a chart of candles, those with the most executions."""
EXECUTIONS_MAX: Final = 1000
"""So many of a symbol are drawn, the newest."""


def fetch_report(
    client: Client,
    *,
    symbol: str | None = None,
    begin: Instant | None = None,
    end: Instant | None = None,
    interval: str | None = None,
    epoch: int | None = None,
) -> ReportData:
    """Everything that a report shows, as it was at the end of the statistics' time.

    What happens while this asks is of later than that, and left out. Raises GoblinError,
    TypeError for a client that has to be awaited, and ValueError for an interval that does not
    exist or has too many candles.
    """
    if not isinstance(client, Client):
        raise TypeError(f"a report is asked for with a goblin.Client, not {client!r}")
    named = None if symbol is None else symbol.strip().upper()
    statistics = client.statistics(symbol=named, epoch=epoch, begin=begin, end=end)
    groups = _by_symbol(_executions(client, statistics, named))
    drawn = sorted(groups, key=lambda each: (-len(groups[each]), each))[:MARKETS_MAX]
    return ReportData(
        account=client.me().name,
        symbol=named,
        statistics=statistics,
        orders=_orders(client, statistics, named),
        entries=_entries(client, statistics),
        markets=[_market(client, groups[each], interval) for each in sorted(drawn)],
        markets_left_out=sorted(groups.keys() - drawn),
        assignments=_assignments(client, named),
    )


def _orders(client: Client, statistics: Statistics, symbol: str | None) -> list[Order]:
    """Those that were open or closed in the time, as they stood at its end."""
    return [
        order if order.is_active or order.updated_at < statistics.end_at else _still_open(order)
        for order in client.orders(symbol=symbol, epoch=statistics.epoch)
        if order.created_at < statistics.end_at
        and (order.is_active or order.updated_at >= statistics.begin_at)
    ]


def _still_open(order: Order) -> Order:
    return replace(
        order,
        status=ACTIVE,
        sell_price=None,
        price_change=None,
        proceeds=None,
        profit=Decimal(0),
        updated_at=order.created_at,
    )


def _entries(client: Client, statistics: Statistics) -> list[LedgerEntry]:
    newest_first = client.ledger_entries(kind="cash", epoch=statistics.epoch)
    before_end = dropwhile(lambda entry: entry.event_at >= statistics.end_at, newest_first)
    found = takewhile(lambda entry: entry.event_at >= statistics.begin_at, before_end)
    return list(found)[::-1]


def _executions(client: Client, statistics: Statistics, symbol: str | None) -> list[Execution]:
    with tempfile.TemporaryDirectory() as folder:
        file = client.export_file(
            "fills",
            Path(folder) / "fills.csv",
            epoch=statistics.epoch,
            symbol=symbol,
            begin=statistics.begin_at,
            end=statistics.end_at,
        )
        with file.open(encoding="utf-8", newline="") as lines:
            return [_execution(row) for row in csv.DictReader(lines)]


def _execution(row: Mapping[str, str]) -> Execution:
    return Execution(
        order_id=int(row["order_id"]),
        symbol=row["symbol"],
        side=row["side"],
        quantity=Decimal(row["quantity"]),
        price=Decimal(row["price"]),
        venue_at=datetime.fromtimestamp(int(row["venue_time_ms"]) / 1000, UTC),
    )


def _by_symbol(executions: Sequence[Execution]) -> dict[str, list[Execution]]:
    """Oldest first."""
    groups: dict[str, list[Execution]] = {}
    for each in sorted(executions, key=lambda each: each.venue_at):
        groups.setdefault(each.symbol, []).append(each)
    return groups


def _market(client: Client, executions: Sequence[Execution], interval: str | None) -> Market:
    """With the candles around them. What the server cannot have is said, and no reason to fail."""
    newest = executions[-EXECUTIONS_MAX:]
    wanted = window(newest, interval=interval)
    market = Market(
        symbol=newest[0].symbol,
        interval=wanted.interval,
        executions=newest,
        left_out=len(executions) - len(newest),
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            candles = client.candles(
                market.symbol, wanted.interval, begin=wanted.begin_at, end=wanted.end_at
            ).all()
        except GoblinError as error:
            return replace(market, missing=f"No candles: {error}")
    opens = [candle.open_time for candle in candles]
    missing = "; ".join(str(each.message) for each in said)
    return replace(
        market,
        candles=candles,
        missing=missing if missing and not _are_there(opens, wanted) else None,
    )


def _are_there(opens: Sequence[datetime], wanted: Window) -> bool:
    """Whether all between the first and the last execution are; later ones may still form."""
    length = timedelta(seconds=SECONDS[wanted.interval])
    inside = sum(wanted.first_at - length < at <= wanted.last_at for at in opens)
    return inside >= (wanted.last_at - wanted.first_at) // length


def _assignments(client: Client, symbol: str | None) -> list[Assignment]:
    names = {each.id: each.name for each in client.strategies()}
    return [
        Assignment(strategy=names[each.strategy_id], symbol=each.symbol, interval=each.interval)
        for each in client.trade_strategies(include_deleted=False)
        if symbol in {None, each.symbol}
    ]
