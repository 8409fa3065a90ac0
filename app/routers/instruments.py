"""What venues trade, with their tick sizes and lot rules."""

from typing import Annotated

from fastapi import Query

from app.db.errors import DatabaseUnavailable
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, CategoryNotListed, Symbol, Venue
from app.http.dependencies import ResourcesOf
from app.http.routing import Router
from app.schemas.common import FilterSymbol, Limit, PagedResponse
from app.schemas.instruments import InstrumentList, InstrumentMeta, InstrumentOut

router = Router(prefix="/market", tag="instruments")


@router.endpoint(
    "GET",
    "/instruments",
    summary="Instruments",
    errors=(CategoryNotListed, UpstreamInvalid, UpstreamUnavailable, DatabaseUnavailable),
)
async def list_instruments(
    resources: ResourcesOf,
    venue: Venue | None = None,
    category: Category = Category.SPOT,
    symbol: Annotated[FilterSymbol | None, Query(examples=["BTCUSDT"])] = None,
    cursor: Annotated[FilterSymbol, Query(description="meta.next_cursor of a page.")] = "",
    limit: Limit = 1000,
) -> PagedResponse[InstrumentList, InstrumentMeta]:
    """A category's instruments by symbol, refreshed daily; PRICE_SOURCE's without a venue.

    A category that nobody has asked for before is fetched now.
    """
    listings = resources.listings
    found = await listings.list_page(
        venue or listings.price_venue,
        category,
        symbol=Symbol(symbol) if symbol else None,
        after=cursor,
        limit=limit + 1,
    )
    page = found[:limit]
    return PagedResponse(
        meta=InstrumentMeta(next_cursor=page[-1].symbol if len(found) > limit else None),
        data=InstrumentList(instruments=[InstrumentOut.of(instrument) for instrument in page]),
    )
