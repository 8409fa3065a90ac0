"""The past of any instrument, exact and closed."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import Query, Request, Response

from app.db.errors import DatabaseUnavailable
from app.domain.candles import CandleRangeRefused
from app.domain.errors import NotAcceptable, UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import (
    Category,
    CategoryNotListed,
    Symbol,
    UnknownSymbol,
    Venue,
)
from app.http.dependencies import ResourcesOf
from app.http.media_types import preferred
from app.http.routing import Router
from app.schemas.candles import (
    CandleInstant,
    CandleInterval,
    CandleLimit,
    CandleList,
    CandleMeta,
    arrow_page,
    csv_page,
    json_page,
    parquet_page,
)
from app.schemas.common import PagedResponse, QuoteSymbol, format_instant
from app.services.candles import CandlePage, CandleQuery

router = Router(prefix="/market", tag="candles")

FORMATS: Final[Mapping[str, Callable[[CandlePage], bytes]]] = {
    "application/json": json_page,
    "text/csv": csv_page,
    "application/vnd.apache.arrow.stream": arrow_page,
    "application/vnd.apache.parquet": parquet_page,
}
_BINARY: Final = {
    "schema": {"type": "string", "format": "binary"},
    "example": "the columns of the CSV: timestamp[ms, UTC], then decimal128(38, 18)",
}
_CSV: Final = {
    "schema": {"type": "string"},
    "example": "open_time,open,high,low,close,volume,turnover\n"
    "2025-06-01T00:00:00Z,104000.5,104010,103990.1,104000,7.316,760864\n",
}


@router.endpoint(
    "GET",
    "/candles",
    summary="Candles",
    errors=(
        CandleRangeRefused, UnknownSymbol, CategoryNotListed, NotAcceptable, UpstreamInvalid,
        UpstreamUnavailable, DatabaseUnavailable,
    ),
    response_model=PagedResponse[CandleList, CandleMeta],
    openapi_extra={
        "responses": {
            "200": {
                "content": {
                    "text/csv": _CSV,
                    "application/vnd.apache.arrow.stream": _BINARY,
                    "application/vnd.apache.parquet": _BINARY,
                }
            }
        }
    },
)  # fmt: skip
async def list_candles(
    request: Request,
    resources: ResourcesOf,
    symbol: Annotated[QuoteSymbol, Query()],
    interval: CandleInterval,
    venue: Venue | None = None,
    category: Category | None = None,
    begin_at: Annotated[
        CandleInstant | None,
        Query(alias="from", description="First open time; `limit` candles before `to` if absent."),
    ] = None,
    end_at: Annotated[
        CandleInstant | None, Query(alias="to", description="Not answered itself; now if absent.")
    ] = None,
    cursor: Annotated[CandleInstant | None, Query(description="meta.next_cursor.")] = None,
    limit: CandleLimit = 1000,
) -> Response:
    """Closed candles of [from, to), oldest first: stored, made of minutes, or fetched now.

    `Accept` chooses JSON, CSV, Arrow or Parquet. A page has at most `limit` open times;
    `meta` says where the next one begins (X-Next-Cursor in the other formats), where the
    venue has nothing (gaps), and what could not be had now (missing, X-Missing-Spans).
    """
    media_type = _chosen(request.headers.get("Accept"))
    its_venue, its_category = resources.candles.chosen(venue, category)
    page = await resources.candles.read(
        CandleQuery(
            venue=its_venue,
            category=its_category,
            symbol=Symbol(symbol),
            interval=interval,
            begin_at=begin_at,
            end_at=end_at,
            cursor=cursor,
            limit=limit,
        )
    )
    headers = {"Vary": "Accept"}
    if media_type != "application/json":
        headers["X-Missing-Spans"] = str(len(page.missing))
        if page.next_cursor is not None:
            headers["X-Next-Cursor"] = format_instant(page.next_cursor)
    # Ten thousand candles are a tenth of a second of work: not in front of everybody else.
    content = await asyncio.to_thread(FORMATS[media_type], page)
    return Response(content, media_type=media_type, headers=headers)


def _chosen(accept: str | None) -> str:
    media_type = preferred(accept, tuple(FORMATS))
    if media_type is None:
        raise NotAcceptable(f"candles come as {', '.join(FORMATS)}")
    return media_type
