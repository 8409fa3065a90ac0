"""The account over time, in four panels that are zoomed together."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from goblin.reporting.charts import (
    ACCOUNT,
    LOSS,
    PERCENT,
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
from goblin.reporting.text import NO_VALUE, money, percent, second, share

POINTS_MAX: Final = 800
AT_MARKET: Final = "open orders at the market"
AT_COST: Final = "at cost"
OWN: Final = "account"
HELD: Final = "buy and hold, at the end"
_STEP: Final = "step-after"
_TOLD: Final = told(
    moment="Time (UTC)",
    event="Event",
    marked_text="Equity",
    equity_text="Realised equity",
    return_text="Return",
    drawdown_text="Drawdown",
    exposure_text="Exposure",
)


def account_chart(points: Sequence[Point], *, held: float | None) -> Spec:
    """Equity, return, drawdown and exposure above each other.

    Beside equity the realised one where it is another; beside the return what buying and
    holding came to, `held`, which is known of the end alone.
    """
    funded = _funded(points)
    is_marked = any(point.marked_equity not in {None, point.equity} for point in funded)
    equity = {"marked": AT_MARKET} | ({"equity": AT_COST} if is_marked else {})
    growth = {"return": OWN} | ({} if held is None else {"held": HELD})
    return {
        "$schema": SCHEMA,
        "description": "Equity, return, drawdown and exposure over time",
        "data": {"values": [_row(point, held) for point in thinned(funded, POINTS_MAX)]},
        "spacing": 12,
        "resolve": {"scale": dict.fromkeys(("x", "color", "strokeDash"), "independent")},
        "params": [zoom("equity", "return", "drawdown", "exposure")],
        "vconcat": [
            _panel("equity", "Equity", 210, _equity(equity)),
            _panel("return", "Return", 120, [_lines(growth, f"+{PERCENT}")]),
            _panel("drawdown", "Drawdown", 80, _area("drawdown", LOSS, PERCENT)),
            _panel("exposure", "Exposure", 80, _area("exposure", QUIET, PERCENT), is_last=True),
        ],
    }


def _funded(points: Sequence[Point]) -> Sequence[Point]:
    """From the first money on: a line that climbs from nothing to the deposit hides the rest."""
    first = next((n for n, point in enumerate(points) if point.equity != 0), 0)
    return points[first:]


def _row(point: Point, held: float | None) -> Spec:
    marked, exposure = point.marked_equity, point.exposure
    grown = None if point.growth is None else point.growth - 1
    fallen = None if point.drawdown is None else -point.drawdown
    return {
        "at": milliseconds(point.at),
        "moment": second(point.at),
        "event": point.event,
        "equity": float(point.equity),
        "equity_text": money(point.equity),
        "marked": None if marked is None else float(marked),
        "marked_text": NO_VALUE if marked is None else money(marked),
        "return": grown,
        "return_text": NO_VALUE if grown is None else percent(grown),
        "held": held,
        "drawdown": fallen,
        "drawdown_text": NO_VALUE if fallen is None else percent(fallen),
        "exposure": exposure,
        "exposure_text": NO_VALUE if exposure is None else share(exposure),
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


def _equity(lines: Mapping[str, str]) -> list[Spec]:
    axis: Spec = {"scale": {"zero": False, "nice": True}}
    return [
        _lines(lines, ",~f", **axis),
        {
            "transform": [{"filter": "datum.event == 'end'"}],
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 60, "color": ACCOUNT},
            "encoding": {
                "y": value_axis("marked", ",~f", **axis),
                "description": {"field": "marked_text"},
            },
        },
    ]


def _lines(lines: Mapping[str, str], axis_format: str, **axis: Any) -> Spec:
    """The account's own field, and if there is a second one that dashed; each by its name."""
    names = list(lines.values())
    legend = {"title": None, "orient": "top", "offset": 2, "labelLimit": 300}
    line = {"field": "line", "type": "nominal", "legend": legend if len(lines) > 1 else None}
    [first, *_] = lines
    return {
        "transform": [
            {"fold": list(lines)},
            {"filter": "isValid(datum.value)"},
            {"calculate": f"datum.key == '{first}' ? '{names[0]}' : '{names[-1]}'", "as": "line"},
        ],
        "mark": {"type": "line", "interpolate": _STEP, "strokeWidth": 1.8, "aria": False},
        "encoding": {
            "y": value_axis("value", axis_format, **axis),
            "color": {**line, "scale": {"domain": names, "range": [ACCOUNT, QUIET][: len(names)]}},
            "strokeDash": {
                **line,
                "scale": {"domain": names, "range": [[1, 0], [4, 3]][: len(names)]},
            },
        },
    }


def _area(field: str, color: str, axis_format: str) -> list[Spec]:
    mark = {"type": "area", "interpolate": _STEP, "color": color, "line": {"color": color}}
    return [
        {
            "transform": [{"filter": f"isValid(datum.{field})"}],
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
