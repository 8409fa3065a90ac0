"""The return of each month, a row for each year."""

from typing import Final

from goblin.models import Month, Statistics
from goblin.reporting.charts import GAIN, LOSS, QUIET, SCHEMA, WIDTH, Spec, told
from goblin.reporting.text import money, percent

NAMES: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun",
                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]  # fmt: skip
STRONG: Final = 0.05
"""From this return on a colour is full, unless another month's return is larger."""


def months_chart(statistics: Statistics) -> Spec | None:
    """A heat map, None if nothing happened in any month."""
    months = statistics.months
    if not months:
        return None
    strongest = max(STRONG, *(abs(month.return_.value or 0.0) for month in months))
    rows = [_row(month) for month in months]
    years = sorted({row["year"] for row in rows})
    empty = [{"year": year, "month": name} for year in years for name in NAMES]
    axis = {"title": None, "domain": False, "ticks": False, "grid": False, "labelAngle": 0}
    return {
        "$schema": SCHEMA,
        "description": "Return of each month",
        "data": {"values": rows},
        "width": WIDTH,
        "height": 40 * len(years),
        "encoding": {
            "x": {
                "field": "month",
                "type": "ordinal",
                "scale": {"domain": NAMES, "paddingInner": 0.05},
                "axis": {**axis, "orient": "top", "labelOverlap": True},
            },
            "y": {
                "field": "year",
                "type": "ordinal",
                "scale": {"domain": years, "paddingInner": 0.08},
                "axis": {**axis, "minExtent": 56},
            },
        },
        "layer": [
            {
                "data": {"values": empty},
                "mark": {
                    "type": "rect",
                    "cornerRadius": 4,
                    "color": QUIET,
                    "opacity": 0.1,
                    "aria": False,
                },
            },
            {
                "mark": {"type": "rect", "cornerRadius": 4},
                "encoding": {
                    "color": {
                        "condition": {"test": "datum.value < 0", "value": LOSS},
                        "value": GAIN,
                    },
                    "opacity": {
                        "field": "strength",
                        "type": "quantitative",
                        "scale": {"domain": [0, strongest], "range": [0.12, 0.9]},
                        "legend": None,
                    },
                    "description": {"field": "described"},
                    "tooltip": told(
                        name="Month", return_text="Return", profit="Profit", flow="Put in"
                    ),
                },
            },
            {
                "mark": {"type": "text", "fontSize": 12, "aria": False, "tooltip": None},
                "encoding": {"text": {"field": "return_text"}},
            },
        ],
    }


def _row(month: Month) -> Spec:
    value = month.return_.value
    year, _, number = month.month.partition("-")
    shown = month.return_.reason or "" if value is None else percent(value)
    return {
        "year": year,
        "month": NAMES[int(number) - 1],
        "name": month.month,
        "value": value,
        "strength": abs(value or 0.0),
        "return_text": shown,
        "profit": money(month.profit),
        "flow": money(month.flow),
        "described": f"{month.month}: {shown}",
    }
