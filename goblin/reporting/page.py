"""The report as one HTML file that needs nothing else: no network, no server, no other file."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Final

from goblin.reporting.charts.account import account_chart
from goblin.reporting.charts.fills import fills_chart
from goblin.reporting.charts.months import months_chart
from goblin.reporting.curve import curve
from goblin.reporting.data import Market, ReportData
from goblin.reporting.figures import Figure, figures, heading, period, valuation, warnings
from goblin.reporting.rendering import javascript_bundle
from goblin.reporting.tables import (
    days_table,
    months_table,
    orders_table,
    strategies_table,
    symbols_table,
)
from goblin.reporting.text import wire

_TONES: Final = {1: "gain", -1: "loss", 0: ""}
_NOTES: Final = (
    "Money is exact, to the last digit that the server gave; small digits are those beyond "
    "cents. Returns are time-weighted, risk is of daily returns over 365 days, and realised "
    "equity is cash plus open orders at cost. Paper money, no advice."
)
_HINT: Final = "Drag to move, pinch or Ctrl + wheel to zoom, double-click to see all again."


def html_report(data: ReportData) -> str:
    """The whole page. Raises ReportPackageMissing."""
    points = curve(data)
    months = months_chart(data.statistics)
    charts = {"account-chart": account_chart(points, held=data.statistics.buy_and_hold.value)}
    if months is not None:
        charts["months-chart"] = months
    charts |= {
        name: fills_chart(name, market, data.orders) for name, market in _named(data.markets)
    }
    warned = warnings(data, end=points[-1])
    title = escape(heading(data))
    scripts = [javascript_bundle(), _file("page.js")]
    style = _file("page.css")
    body = "\n".join(
        [
            "<header>",
            f"<h1>{title}</h1>",
            f'<p class="quiet">{period(data)} of a goblin paper account</p>',
            *(f'<p class="warning" role="note">{escape(each)}</p>' for each in warned),
            "</header><main>",
            f'<dl class="figures" id="figures">{"".join(map(_figure, figures(data)))}</dl>',
            _section(
                "The account",
                f'<p class="hint">{escape(valuation(data))} {_HINT}</p>' + _place("account-chart"),
            ),
            _section(
                "Months", _months(has_chart=months is not None) + months_table(data.statistics)
            ),
            _section("Symbols", symbols_table(data.statistics)),
            _section("Fills", _markets(data)),
            _section("Strategies", _strategies(data)),
            _section("Orders", _folded("orders", orders_table(data.orders))),
            _section("Days", _folded("days", days_table(data.statistics))),
            "</main>",
            f"<footer><p>{_NOTES}</p></footer>",
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n"
        f'<script type="application/json" id="charts">{embedded_json(charts)}</script>\n'
        + "\n".join(f"<script>{script}</script>" for script in scripts)
        + "\n</body>\n</html>\n"
    )


def embedded_json(value: object) -> str:
    """JSON that cannot end the script element that it stands in, whatever its texts are."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(scripts: Sequence[str]) -> str:
    """Only these scripts run, and nothing is fetched. Vega makes functions out of formulas."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _file(name: str) -> str:
    return resources.files("goblin.reporting").joinpath(name).read_text("utf-8")


def _named(markets: Sequence[Market]) -> list[tuple[str, Market]]:
    return [(f"fills_{number}", market) for number, market in enumerate(markets, start=1)]


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


def _place(name: str) -> str:
    return f'<div class="chart" id="{name}"></div>'


def _folded(name: str, table: str) -> str:
    return f"<details><summary>Show all {name}</summary>{table}</details>"


def _figure(figure: Figure) -> str:
    text = escape(figure.text)
    if figure.amount is not None:
        text = f'<data value="{wire(figure.amount)}">{text}</data>'
    more = f'<span class="note">{escape(figure.note)}</span>' if figure.note else ""
    return (
        f"<div><dt>{escape(figure.name)}</dt>"
        f'<dd class="{_TONES[figure.sign]}">{text}{more}</dd></div>'
    )


def _months(*, has_chart: bool) -> str:
    if not has_chart:
        return '<p class="quiet">Nothing moved in any month.</p>'
    return _place("months-chart")


def _markets(data: ReportData) -> str:
    if not data.markets:
        return '<p class="quiet">No order was filled in this time.</p>'
    parts = [f'<p class="hint">By the venue\'s own time. {_HINT}</p>']
    for name, market in _named(data.markets):
        parts.append(f"<h3>{escape(market.title)}</h3>")
        if market.missing is not None:
            parts.append(f'<p class="warning" role="note">{escape(market.missing)}</p>')
        if market.left_out:
            parts.append(f'<p class="quiet">{market.left_out:,} older fills are not drawn.</p>')
        parts.append(_place(name))
    if data.markets_left_out:
        names = escape(", ".join(data.markets_left_out))
        parts.append(f'<p class="quiet">With fewer fills, and not drawn: {names}.</p>')
    return "\n".join(parts)


def _strategies(data: ReportData) -> str:
    if not data.assignments:
        return '<p class="quiet">No strategy is assigned to any symbol.</p>'
    return (
        '<p class="hint">Orders do not name a strategy: trades of a symbol count for every '
        "strategy that is assigned to it now.</p>" + strategies_table(data)
    )
