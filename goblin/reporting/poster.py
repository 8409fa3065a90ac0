"""The report as one picture: the key figures and the charts, without tables."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Final

from goblin.reporting.charts import GAIN, LOSS, SCHEMA, Spec
from goblin.reporting.charts.account import account_chart
from goblin.reporting.charts.fills import fills_chart
from goblin.reporting.charts.months import months_chart
from goblin.reporting.curve import curve
from goblin.reporting.data import ReportData
from goblin.reporting.figures import Figure, figures, heading, period, warnings
from goblin.reporting.rendering import picture

WIDTH: Final = 1000
COLUMNS: Final = 4
MARKETS_MAX: Final = 3
"""More symbols would make the picture longer than anybody looks at; a page has them."""
SCALE: Final = 2
INK: Final = "#171a21"
QUIET: Final = "#667085"
LINE_CHARACTERS: Final = 150
_NOTE_CHARACTERS: Final = 44


def png_report(data: ReportData) -> bytes:
    """The picture. Raises ReportPackageMissing."""
    return picture(poster(data), scale=SCALE)


def poster(data: ReportData) -> Spec:
    """All charts above each other, the key figures first."""
    points = curve(data)
    months = months_chart(data.statistics)
    warned = warnings(data, end=points[-1])
    if len(data.markets) > MARKETS_MAX:
        warned.append(f"Fills are drawn of {MARKETS_MAX} of {len(data.markets)} symbols.")
    account = account_chart(points, held=data.statistics.buy_and_hold.value)
    parts = [_tiles(figures(data)), _static(account)]
    if months is not None:
        parts.append(_titled("Months", months))
    for number, market in enumerate(data.markets[:MARKETS_MAX]):
        parts.append(_titled(market.title, fills_chart(f"fills_{number}", market, data.orders)))
    return {
        "$schema": SCHEMA,
        "background": "white",
        "padding": 28,
        "spacing": 26,
        "title": {
            "text": heading(data),
            "subtitle": [
                f"{period(data)} of a goblin paper account",
                *(line for each in warned for line in wrap(each, LINE_CHARACTERS)),
            ],
            "anchor": "start",
            "fontSize": 26,
            "subtitleFontSize": 13,
            "subtitlePadding": 8,
            "subtitleLineHeight": 18,
            "offset": 18,
            "color": INK,
            "subtitleColor": QUIET,
            "limit": WIDTH + 100,
        },
        "resolve": {
            "scale": dict.fromkeys(("x", "color", "fill", "shape", "strokeDash"), "independent")
        },
        "vconcat": parts,
        "config": {
            "font": "Liberation Sans, Arial, sans-serif",
            "view": {"stroke": None},
            "axis": {"gridColor": "#e4e7ec", "domainColor": "#e4e7ec", "tickColor": "#e4e7ec"},
        },
    }


def _tiles(shown: Sequence[Figure]) -> Spec:
    rows = [
        {
            "column": number % COLUMNS,
            "row": number // COLUMNS,
            "name": figure.name,
            "text": figure.text,
            "note": _short(figure.note or ""),
            "sign": figure.sign,
        }
        for number, figure in enumerate(shown)
    ]
    lines = -(-len(rows) // COLUMNS)
    x = {"field": "column", "type": "quantitative", "axis": None,
         "scale": {"domain": [0, COLUMNS], "nice": False}}  # fmt: skip
    y = {"field": "row", "type": "quantitative", "axis": None,
         "scale": {"domain": [0, lines], "nice": False, "reverse": True}}  # fmt: skip
    mark = {"type": "text", "align": "left", "baseline": "top"}
    tone = {
        "condition": [
            {"test": "datum.sign > 0", "value": GAIN},
            {"test": "datum.sign < 0", "value": LOSS},
        ],
        "value": INK,
    }
    return {
        "width": WIDTH,
        "height": lines * 66,
        "data": {"values": rows},
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "mark": {**mark, "fontSize": 12, "color": QUIET},
                "encoding": {"text": {"field": "name"}},
            },
            {
                "mark": {**mark, "dy": 15, "fontSize": 18, "fontWeight": "bold", "limit": 235},
                "encoding": {"text": {"field": "text"}, "color": tone},
            },
            {
                "mark": {**mark, "dy": 38, "fontSize": 10, "color": QUIET, "limit": 235},
                "encoding": {"text": {"field": "note"}},
            },
        ],
    }


def _short(text: str) -> str:
    return (
        text
        if len(text) <= _NOTE_CHARACTERS
        else f"{text[: _NOTE_CHARACTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _titled(title: str, spec: Spec) -> Spec:
    return {**_static(spec), "title": {"text": title, "anchor": "start", "fontSize": 15}}


def _static(spec: Spec) -> Spec:
    """Without what only a page can do, and as wide as the picture."""
    without = {key: value for key, value in spec.items() if key not in {"params", "$schema"}}
    if "vconcat" in without:
        without["vconcat"] = [_static(view) for view in without["vconcat"]]
        return without
    if "layer" in without:
        without["layer"] = [each for each in without["layer"] if "params" not in each]
    return {**without, "width": WIDTH}
