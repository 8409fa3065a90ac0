"""The account over time, in four panels that are zoomed together."""

from collections.abc import Sequence
from typing import Final

from goblin.reporting.charts import (
    ACCOUNT,
    LOSS,
    QUIET,
    SCHEMA,
    WIDTH,
    Spec,
    milliseconds,
    time_axis,
    told,
    value_axis,
    zoom,
)
from goblin.reporting.curve import Point, thinned
from goblin.reporting.text import money, percent, second, share

POINTS_MAX: Final = 800
_STEP: Final = "step-after"
_TOLD: Final = told(
    moment="Time (UTC)",
    event="Event",
    equity_text="Equity",
    return_text="Return",
    held_text="Buy and hold",
    drawdown_text="Drawdown",
    exposure_text="Exposure",
)


def account_chart(points: Sequence[Point]) -> Spec:
    """Equity, return beside buy-and-hold, drawdown and exposure above each other."""
    held = any(point.held is not None for point in points)
    return {
        "$schema": SCHEMA,
        "description": "Equity, return, drawdown and exposure over time",
        "data": {"values": [_row(point) for point in thinned(_funded(points), POINTS_MAX)]},
        "spacing": 12,
        "resolve": {"scale": dict.fromkeys(("x", "color", "strokeDash"), "independent")},
        "params": [zoom("equity", "return", "drawdown", "exposure")],
        "vconcat": [
            _panel("equity", "Equity", 210, _equity()),
            _panel("return", "Return", 120, _growth(held=held)),
            _panel("drawdown", "Drawdown", 80, _area("drawdown", LOSS, ".1%")),
            _panel("exposure", "Exposure", 80, _area("exposure", QUIET, ".0%"), is_last=True),
        ],
    }


def _funded(points: Sequence[Point]) -> Sequence[Point]:
    """From the first money on: a line that climbs from nothing to the deposit hides the rest."""
    first = next((n for n, point in enumerate(points) if point.equity != 0), 0)
    return points[first:]


def _row(point: Point) -> Spec:
    held = None if point.held is None else point.held - 1
    return {
        "at": milliseconds(point.at),
        "moment": second(point.at),
        "event": point.event,
        "equity": float(point.equity),
        "equity_text": money(point.equity),
        "return": point.growth - 1,
        "return_text": percent(point.growth - 1),
        "held": held,
        "held_text": None if held is None else percent(held),
        "drawdown": -point.drawdown,
        "drawdown_text": percent(-point.drawdown),
        "exposure": point.exposure,
        "exposure_text": share(point.exposure),
    }


def _panel(
    name: str, title: str, height: int, layers: list[Spec], *, is_last: bool = False
) -> Spec:
    return {
        "title": {"text": title, "anchor": "start", "fontSize": 12, "offset": 6},
        "width": WIDTH,
        "height": height,
        "encoding": {"x": time_axis("at", labels=is_last)},
        "layer": [{**layers[0], "name": name}, *layers[1:], _pointer(name)],
    }


def _equity() -> list[Spec]:
    axis = value_axis("equity", ",~f", scale={"zero": False, "nice": True})
    line = {"type": "line", "interpolate": _STEP, "strokeWidth": 2, "color": ACCOUNT}
    return [
        {"mark": {**line, "aria": False}, "encoding": {"y": axis}},
        {
            "transform": [{"filter": "datum.event == 'end'"}],
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 60, "color": ACCOUNT},
            "encoding": {"y": axis, "description": {"field": "equity_text"}},
        },
    ]


def _growth(*, held: bool) -> list[Spec]:
    colors = {"domain": ["account", "buy and hold"], "range": [ACCOUNT, QUIET]}
    dashes = {"domain": ["account", "buy and hold"], "range": [[1, 0], [4, 3]]}
    fields = ["return", "held"] if held else ["return"]
    name = "datum.key == 'held' ? 'buy and hold' : 'account'"
    legend = {"title": None, "orient": "top", "offset": 2} if held else None
    return [
        {
            "transform": [{"fold": fields}, {"calculate": name, "as": "line"}],
            "mark": {"type": "line", "interpolate": _STEP, "strokeWidth": 1.5, "aria": False},
            "encoding": {
                "y": value_axis("value", "+.1%"),
                "color": {"field": "line", "type": "nominal", "scale": colors, "legend": legend},
                "strokeDash": {
                    "field": "line",
                    "type": "nominal",
                    "scale": dashes,
                    "legend": legend,
                },
            },
        }
    ]


def _area(field: str, color: str, axis_format: str) -> list[Spec]:
    mark = {"type": "area", "interpolate": _STEP, "color": color, "line": {"color": color}}
    return [
        {
            "mark": {**mark, "opacity": 0.4, "aria": False},
            "encoding": {"y": value_axis(field, axis_format)},
        }
    ]


def _pointer(name: str) -> Spec:
    """A line at what is nearest to the mouse, and all about it."""
    pointed = f"pointed_{name}"
    select = {
        "type": "point",
        "encodings": ["x"],
        "nearest": True,
        "on": "pointermove",
        "clear": "pointerout",
    }
    return {
        "params": [{"name": pointed, "select": select}],
        "mark": {"type": "rule", "color": QUIET, "aria": False},
        "encoding": {
            "opacity": {"condition": {"param": pointed, "empty": False, "value": 0.8}, "value": 0},
            "tooltip": _TOLD,
        },
    }
