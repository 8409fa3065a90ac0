"""Candles on the wire: as JSON, as CSV, and as Arrow or Parquet tables."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema

from app.domain.candles import (
    NUMBER_DECIMALS_MAX,
    SPELLINGS,
    Candle,
    Interval,
    Span,
    parse_interval,
    plain_number,
)
from app.domain.errors import NotAcceptable
from app.domain.instants import iso_date_or_instant, of_a_market
from app.domain.instruments import Category, Venue
from app.schemas.common import Instant, SymbolOut, format_instant, whole_number
from app.schemas.instruments import PlainNumber
from app.services.candles import CandlePage

CANDLES_MAX: Final = 10_000
DIGITS: Final = 38
COLUMNS: Final = ("open_time", "open", "high", "low", "close", "volume", "turnover")
NUMBERS: Final = COLUMNS[1:]
META_KEY: Final = b"goblin"


def _interval(text: object) -> Interval:
    interval = parse_interval(text) if isinstance(text, str) else None
    if interval is None:
        raise ValueError(f"expected one of {', '.join(SPELLINGS)}")
    return interval


CandleInterval = Annotated[
    Interval,
    BeforeValidator(_interval),
    WithJsonSchema({"type": "string", "enum": list(SPELLINGS), "examples": ["1h"]}),
]
CandleInstant = Annotated[
    datetime,
    BeforeValidator(iso_date_or_instant),
    AfterValidator(of_a_market),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 40,
            "anyOf": [{"format": "date-time"}, {"format": "date"}],
            "examples": ["2025-01-01T00:00:00Z"],
        }
    ),
]
CandleLimit = Annotated[int, Field(ge=1, le=CANDLES_MAX), BeforeValidator(whole_number)]


class CandleOut(BaseModel):
    """What a price did from `open_time` on, for one interval."""

    open_time: Instant
    open: PlainNumber
    high: PlainNumber
    low: PlainNumber
    close: PlainNumber
    volume: PlainNumber = Field(description="In the base coin; inverse: in US dollars.")
    turnover: PlainNumber = Field(description="In the quote coin; inverse: in the base coin.")


class CandleList(BaseModel):
    """Closed candles, ascending."""

    candles: list[CandleOut]


class SpanOut(BaseModel):
    """The half-open time [from, to)."""

    begin_at: Instant = Field(alias="from")
    end_at: Instant = Field(alias="to")


class CandleMeta(BaseModel):
    """What the page is of, and what is known about the candles that are not in it."""

    venue: Venue
    category: Category
    symbol: SymbolOut
    interval: Interval
    begin_at: Instant = Field(alias="from", description="Open times from here on are answered,")
    end_at: Instant = Field(alias="to", description="up to here.")
    gaps: list[SpanOut] = Field(description="Where the venue itself has none.")
    missing: list[SpanOut] = Field(
        description="What could not be had now: too much to fetch while you wait (use "
        "`python -m app backfill`), or not there yet."
    )
    next_cursor: Instant | None = Field(None, description="Absent on the last page.")


def meta_of(page: CandlePage) -> dict[str, Any]:
    """CandleMeta as plain JSON values."""
    meta = {
        "venue": page.query.venue,
        "category": page.query.category,
        "symbol": page.query.symbol,
        "interval": page.query.interval,
        **_span(page.span),
        "gaps": [_span(span) for span in page.gaps],
        "missing": [_span(span) for span in page.missing],
    }
    if page.next_cursor is not None:
        meta["next_cursor"] = format_instant(page.next_cursor)
    return meta


def json_page(page: CandlePage) -> bytes:
    """The envelope. Ten thousand candles through a model would take ten times as long."""
    rows = [dict(zip(COLUMNS, _texts(candle), strict=True)) for candle in page.candles]
    envelope = {"status": "success", "meta": meta_of(page), "data": {"candles": rows}}
    return json.dumps(envelope, separators=(",", ":")).encode()


def csv_page(page: CandlePage) -> bytes:
    """A header line and a line for each candle."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_texts(candle) for candle in page.candles)
    return text.getvalue().encode()


def _import_pyarrow() -> Any:
    import pyarrow as pa  # noqa: PLC0415 - optional
    import pyarrow.parquet  # noqa: PLC0415 - as above

    return pa


def arrow_page(page: CandlePage, *, load: Callable[[], Any] = _import_pyarrow) -> bytes:
    """An Arrow IPC stream; `meta` is in the schema's metadata. Raises NotAcceptable."""
    pa = _loaded(load)
    table = _table(pa, page)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def parquet_page(page: CandlePage) -> bytes:
    """A Parquet file; `meta` is in the schema's metadata. Raises NotAcceptable."""
    pa = _loaded(_import_pyarrow)
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(_table(pa, page), sink, compression="zstd")
    return bytes(sink.getvalue())


def _loaded(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except ImportError:
        raise NotAcceptable(
            "Arrow and Parquet need pyarrow where goblin runs: "
            "pip install -r requirements-research.txt, or ask for JSON or CSV"
        ) from None


def _table(pa: Any, page: CandlePage) -> Any:
    number = pa.decimal128(DIGITS, NUMBER_DECIMALS_MAX)
    schema = pa.schema(
        [("open_time", pa.timestamp("ms", tz="UTC")), *((name, number) for name in NUMBERS)],
        metadata={META_KEY: json.dumps(meta_of(page)).encode()},
    )
    columns: dict[str, Iterable[object]] = {
        name: [getattr(candle, name) for candle in page.candles] for name in COLUMNS
    }
    return pa.table(columns, schema=schema)


def _texts(candle: Candle) -> list[str]:
    return [
        format_instant(candle.open_time),
        *(plain_number(getattr(candle, name)) for name in NUMBERS),
    ]


def _span(span: Span) -> dict[str, str]:
    return {"from": format_instant(span.begin_at), "to": format_instant(span.end_at)}
