"""A report of an account as one file that people show each other: a page or a picture.

Drawing needs vl-convert-python, which is imported when a report is written and not before.
"""

from pathlib import Path
from typing import Final

from goblin.calls import Instant
from goblin.reporting.data import ReportData
from goblin.reporting.fetch import fetch_report
from goblin.reporting.page import html_report
from goblin.reporting.poster import png_report
from goblin.reporting.rendering import ReportPackageMissing, vl_convert
from goblin.sync.client import Client

__all__ = ["ReportData", "ReportPackageMissing", "fetch_report", "report", "write_report"]

_PAGES: Final = frozenset({".html", ".htm"})
_PICTURE: Final = ".png"


def report(
    client: Client,
    path: str | Path,
    *,
    symbol: str | None = None,
    begin: Instant | None = None,
    end: Instant | None = None,
    interval: str | None = None,
    epoch: int | None = None,
) -> Path:
    """Write how the client's account did in [begin, end), by default its whole current epoch.

    `path` ends in .html (one file that works offline) or .png; where there is a file already
    it is replaced. With a symbol it is as if nothing else had been traded. `interval` is that
    of the candles under the fills; without one the shortest that shows all of them.

    Raises ReportPackageMissing where vl-convert-python is missing, ValueError for another
    ending or interval, and GoblinError.
    """
    target = _target(path)
    vl_convert()  # before anything is asked
    data = fetch_report(client, symbol=symbol, begin=begin, end=end, interval=interval, epoch=epoch)
    return write_report(data, target)


def write_report(data: ReportData, path: str | Path) -> Path:
    """Write what was fetched: several files of one `fetch_report` agree with each other."""
    target = _target(path)
    if target.suffix.lower() == _PICTURE:
        target.write_bytes(png_report(data))
    else:
        target.write_text(html_report(data), encoding="utf-8", newline="\n")
    return target


def _target(path: str | Path) -> Path:
    target = Path(path)
    if target.suffix.lower() not in _PAGES | {_PICTURE}:
        raise ValueError(f"{target.name!r}: expected a name that ends in .html or .png")
    return target
