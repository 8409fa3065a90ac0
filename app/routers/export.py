"""Whole tables of the caller's as files: CSV, Parquet or an Arrow stream."""

from typing import Annotated, Final

from fastapi import Header, Query, Response
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from app.domain.exports import (
    ExportFormat,
    ExportTable,
    FilterNotPossible,
    FormatNotOffered,
    FormatTooNarrow,
)
from app.domain.instants import in_utc, iso_instant
from app.http.dependencies import CurrentUser, ResourcesOf
from app.http.exports import ExportResponse, wanted_format
from app.http.routing import Router
from app.schemas.common import Epoch, FilterSymbol
from app.services.exports import ExportFilters, ExportsExhausted, TooManyExports, open_export

router = Router(prefix="/export", tag="export")

_CSV_EXAMPLE: Final = "id,symbol,created_at\r\n7,BTCUSDT,2026-01-31T12:00:00.123456Z\r\n"
_CONTENT: Final = {
    ExportFormat.CSV: {"schema": {"type": "string"}, "example": _CSV_EXAMPLE},
    **{
        kind: {"schema": {"type": "string", "format": "binary"}, "example": shown}
        for kind, shown in ((ExportFormat.PARQUET, "PAR1..."), (ExportFormat.ARROW, "..."))
    },
}


@router.endpoint(
    "GET",
    "/{table}",
    summary="Export",
    errors=(
        FilterNotPossible,
        FormatNotOffered,
        FormatTooNarrow,
        TooManyExports,
        ExportsExhausted,
    ),
    response_class=Response,
    openapi_extra={"responses": {"200": {"content": {str(k): v for k, v in _CONTENT.items()}}}},
)
async def export_table(
    table: ExportTable,
    user: CurrentUser,
    resources: ResourcesOf,
    epoch: Epoch = None,
    symbol: Annotated[FilterSymbol | None, Query(examples=["BTCUSDT"])] = None,
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
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> ExportResponse:
    """Every row of one table as it stands at one instant, oldest first, however many there are.

    `Accept` chooses the format: text/csv (the default; RFC 4180), application/vnd.apache.parquet,
    or application/vnd.apache.arrow.stream, both with amounts as decimal128(38,20). In CSV a text
    that a spreadsheet would take for a formula begins with `'`. The answer of a reader who
    takes nothing for 10 seconds, or of an export longer than 10 minutes, ends unfinished.
    """
    file_format = wanted_format(accept, resources.exports.formats)
    filters = ExportFilters(epoch=epoch, symbol=symbol or None, begin=begin, end=end)
    filters.for_table(table, user)
    return ExportResponse(
        open_export(
            resources.exports,
            resources.db,
            user=user,
            table=table,
            file_format=file_format,
            filters=filters,
        ),
        table=table,
        file_format=file_format,
        send_seconds=resources.exports.limits.send_seconds,
    )
