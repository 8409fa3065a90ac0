"""Whole tables of the caller's, and stored candles, as files: CSV, Parquet or an Arrow stream."""

from typing import Annotated, Any, Final

from fastapi import Header, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from app.domain.candles import CandleRangeRefused, CandlesNotStored
from app.domain.exports import (
    ExportFormat,
    ExportRangeEmpty,
    ExportTable,
    FilterNotPossible,
    FormatNotOffered,
    FormatTooNarrow,
)
from app.domain.instants import in_utc, iso_instant
from app.domain.instruments import Category, CategoryNotListed, Symbol, Venue
from app.domain.ledger import AccountKind
from app.domain.orders import OrderStatus
from app.domain.users import EpochMissing, User
from app.http.dependencies import CurrentUser, ResourcesOf
from app.http.exports import ExportResponse, wanted_format
from app.http.routing import Router
from app.resources import Resources
from app.schemas.candles import CandleInstant, CandleInterval
from app.schemas.common import Epoch, FilterSymbol, IdentifierIn, QuoteSymbol
from app.services.exports import (
    Copying,
    ExportFilters,
    ExportsExhausted,
    TooManyExports,
    candles_of,
    open_export,
    table_of,
)

router = Router(prefix="/export", tag="export")

_ERRORS: Final = (FormatNotOffered, FormatTooNarrow, TooManyExports, ExportsExhausted)
Accept = Annotated[str | None, Header(include_in_schema=False)]


def _file(csv: str) -> dict[str, Any]:
    """A route's answer as the documents have it: one of the formats, and an example."""
    shown = {ExportFormat.CSV: csv, ExportFormat.PARQUET: "PAR1...", ExportFormat.ARROW: "..."}
    content = {
        str(kind): {
            "schema": {"type": "string"}
            | ({} if kind is ExportFormat.CSV else {"format": "binary"}),
            "example": example,
        }
        for kind, example in shown.items()
    }
    return {
        "response_class": Response,
        "openapi_extra": {"responses": {"200": {"content": content}}},
    }


@router.endpoint(
    "GET",
    "/candles",
    summary="Export candles",
    errors=(*_ERRORS, CandleRangeRefused, CategoryNotListed, CandlesNotStored),
    **_file(
        "open_time,open,high,low,close,volume,turnover\r\n"
        "2025-06-01T00:00:00.000000Z,104000.5,104010,103990.1,104000,7.316,760864\r\n"
    ),
)
async def export_candles(
    user: CurrentUser,
    resources: ResourcesOf,
    symbol: Annotated[QuoteSymbol, Query()],
    interval: CandleInterval,
    venue: Venue | None = None,
    category: Category | None = None,
    begin: Annotated[
        CandleInstant | None, Query(alias="from", description="First open time.")
    ] = None,
    end: Annotated[CandleInstant | None, Query(alias="to", description="Before.")] = None,
    accept: Accept = None,
) -> ExportResponse:
    """Every stored candle of one instrument and interval, oldest first, however many there are.

    Only closed candles that are stored here: nothing is fetched and nothing made of minutes,
    and a hole is not named (GET /market/candles does all three). Formats are those of
    GET /export/{table}.
    """
    file_format = wanted_format(accept, resources.exports.formats)
    its_venue = venue or resources.listings.price_venue
    source = resources.candles.sources[its_venue]
    its_category = category or source.categories[0]
    if its_category not in source.categories:
        raise CategoryNotListed(source.venue, its_category, source.categories)
    copying = await candles_of(
        resources.db,
        venue=its_venue,
        category=its_category,
        symbol=Symbol(symbol),
        interval=interval,
        begin=begin,
        end=end,
    )
    return _sent(resources, user, copying, name="candles", file_format=file_format)


@router.endpoint(
    "GET",
    "/{table}",
    summary="Export",
    errors=(*_ERRORS, FilterNotPossible, ExportRangeEmpty, EpochMissing),
    **_file("id,symbol,created_at\r\n7,BTCUSDT,2026-01-31T12:00:00.123456Z\r\n"),
)
async def export_table(
    table: ExportTable,
    request: Request,
    user: CurrentUser,
    resources: ResourcesOf,
    epoch: Epoch = None,
    symbol: Annotated[FilterSymbol | None, Query(examples=["BTCUSDT"])] = None,
    asset: Annotated[
        FilterSymbol | None, Query(description="Of the ledger and its accounts.", examples=["USD"])
    ] = None,
    begin: Annotated[
        AwareDatetime | None,
        BeforeValidator(iso_instant),
        AfterValidator(in_utc),
        Query(alias="from", description="Not before.", examples=["2026-01-01T00:00:00Z"]),
    ] = None,
    end: Annotated[
        AwareDatetime | None,
        BeforeValidator(iso_instant),
        AfterValidator(in_utc),
        Query(alias="to", description="Before.", examples=["2027-01-01T00:00:00Z"]),
    ] = None,
    active: Annotated[bool, Query(description="Only active orders.")] = False,  # noqa: FBT002 - FastAPI passes it by name
    kind: Annotated[AccountKind | None, Query(description="Of the ledger's accounts.")] = None,
    order_id: Annotated[IdentifierIn | None, Query(description="Of the ledger's entries.")] = None,
    include_deleted: Annotated[bool, Query(description="Strategies, assignments.")] = True,  # noqa: FBT002 - FastAPI passes it by name
    accept: Accept = None,
) -> ExportResponse:
    """Every row of one table as it stands at one instant, oldest first, however many there are.

    `Accept` chooses the format: text/csv (the default; RFC 4180), application/vnd.apache.parquet,
    or application/vnd.apache.arrow.stream, both with amounts as decimal128(38,20). In CSV a text
    that a spreadsheet would take for a formula begins with `'`. The answer of a reader who
    takes nothing for 10 seconds, or of an export longer than 10 minutes, ends unfinished.
    """
    file_format = wanted_format(accept, resources.exports.formats)
    filters = ExportFilters(
        names=list(request.query_params),
        epoch=epoch,
        symbol=symbol or asset or None,
        begin=begin,
        end=end,
        status=OrderStatus.ACTIVE if active else None,
        kind=kind,
        order_id=order_id,
        include_deleted=include_deleted,
    )
    copying = table_of(user, table, filters)
    return _sent(resources, user, copying, name=table, file_format=file_format)


def _sent(
    resources: Resources, user: User, copying: Copying, *, name: str, file_format: ExportFormat
) -> ExportResponse:
    return ExportResponse(
        open_export(
            resources.exports,
            resources.db,
            user_id=user.id,
            copying=copying,
            file_format=file_format,
        ),
        table=name,
        file_format=file_format,
        send_seconds=resources.exports.limits.send_seconds,
    )
