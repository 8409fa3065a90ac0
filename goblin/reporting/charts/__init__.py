"""The charts of a report, as Vega-Lite specifications: plain JSON, drawn by a page or a picture."""

from datetime import datetime
from typing import Any, Final, TypeAlias

Spec: TypeAlias = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
"""Names the language; nothing is fetched from there."""
WIDTH: Final = 800
"""Until the page says how wide it is."""

GAIN: Final = "#12a37f"
LOSS: Final = "#e5484d"
ACCOUNT: Final = "#4f7cff"
QUIET: Final = "#8b93a3"
PERCENT: Final = ",~%"
"""With as many decimals as tell one tick from the next."""
BUY: Final = "#2f6bff"
SELL: Final = "#f08c00"

ZOOM: Final = "wheel![event.ctrlKey || event.metaKey]"
"""Pinching arrives as a wheel with Ctrl; the wheel alone scrolls the page."""


def zoom(*views: str) -> Spec:
    """Drag and pinch along the time axis of all these views at once."""
    select = {"type": "interval", "encodings": ["x"], "zoom": ZOOM}
    return {"name": "zoom", "select": select, "bind": "scales", "views": list(views)}


def milliseconds(at: datetime) -> int:
    """Since 1970, which is what Vega counts time in."""
    return round(at.timestamp() * 1000)


def time_axis(field: str, *, labels: bool = True) -> Spec:
    """Along the bottom, in UTC."""
    return {
        "field": field,
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc"},
        "axis": {
            "grid": False,
            "labels": labels,
            "ticks": labels,
            "tickCount": 8,
            "tickMinStep": 1000,
            "format": {
                "date": "%b %d",
                "hours": "%H:%M",
                "minutes": "%H:%M",
                "seconds": "%H:%M:%S",
                "milliseconds": "%H:%M:%S.%L",
            },
        },
    }


def value_axis(field: str, axis_format: str, **more: Any) -> Spec:
    """Along the left side."""
    return {
        "field": field,
        "type": "quantitative",
        "title": None,
        "axis": {"format": axis_format, "tickCount": 4, "minExtent": 56},
        **more,
    }


def told(**titles: str) -> list[Spec]:
    """What a tooltip says: texts that were made here, so that no digit is lost in a float."""
    return [{"field": field, "title": title} for field, title in titles.items()]
