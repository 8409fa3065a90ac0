"""Prices, for everybody."""

from typing import Annotated

from fastapi import Query

from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, CategoryNotListed, Symbol, UnknownSymbol
from app.http.dependencies import ResourcesOf
from app.http.routing import Router
from app.schemas.common import QuoteSymbol, StandardResponse
from app.schemas.market import PriceOut

router = Router(prefix="/market", tag="market")


@router.endpoint(
    "GET",
    "/price",
    summary="Last price",
    errors=(UnknownSymbol, CategoryNotListed, UpstreamInvalid, UpstreamUnavailable),
)
async def get_price(
    resources: ResourcesOf,
    symbol: Annotated[QuoteSymbol, Query()],
    category: Annotated[Category, Query()] = Category.SPOT,
) -> StandardResponse[PriceOut]:
    """The venue's last price, at most PRICE_MAX_AGE_SECONDS old; orders fill at the same."""
    priced = await resources.market.quote(Symbol(symbol), category)
    return StandardResponse(data=PriceOut.of(priced.quote))
