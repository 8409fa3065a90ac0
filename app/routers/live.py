"""Markets as they are now, as the venue's streams tell; see docs/streams.md."""

from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator

from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, CategoryNotListed, Symbol, UnknownSymbol
from app.domain.live import Channel
from app.http.dependencies import ResourcesOf
from app.http.routing import Router
from app.schemas.common import QuoteSymbol, StandardResponse, whole_number
from app.schemas.live import BookOut, PublicTradesOut, TickerOut
from app.services.live_market import (
    CategoryNotStreamed,
    LiveMarket,
    NotStreamedYet,
    StreamsOff,
)

router = Router(prefix="/market", tag="live market")

ASKING = (UnknownSymbol, CategoryNotListed, UpstreamInvalid, UpstreamUnavailable)
STREAMING = (*ASKING, CategoryNotStreamed, StreamsOff, NotStreamedYet)

AskedSymbol = Annotated[QuoteSymbol, Query()]
AskedCategory = Annotated[Category, Query()]


@router.endpoint("GET", "/ticker", summary="The state of a market", errors=ASKING)
async def get_ticker(
    resources: ResourcesOf, symbol: AskedSymbol, category: AskedCategory = Category.SPOT
) -> StandardResponse[TickerOut]:
    """The ticker off the stream, at most 10 s old; otherwise the venue's last price alone.

    Asking makes goblin follow the market for a minute, so that the next answer is streamed.
    """
    wanted = Symbol(symbol)
    answer = await _live(resources).ticker(wanted, category)
    return StandardResponse(data=TickerOut.of(answer, symbol=wanted, category=category))


@router.endpoint("GET", "/orderbook", summary="Bids and asks", errors=STREAMING)
async def get_orderbook(
    resources: ResourcesOf,
    symbol: AskedSymbol,
    category: AskedCategory = Category.SPOT,
    depth: Annotated[
        int,
        Query(ge=1, le=50, description="Levels of each side."),
        BeforeValidator(whole_number),
    ] = 25,
) -> StandardResponse[BookOut]:
    """The book off the stream; asking makes goblin follow it for a minute."""
    wanted = Symbol(symbol)
    live = await _live(resources).latest(wanted, category, Channel.BOOK)
    return StandardResponse(data=BookOut.of(live, symbol=wanted, category=category, depth=depth))


@router.endpoint("GET", "/trades", summary="What strangers traded last", errors=STREAMING)
async def get_trades(
    resources: ResourcesOf,
    symbol: AskedSymbol,
    category: AskedCategory = Category.SPOT,
    limit: Annotated[int, Query(ge=1, le=200), BeforeValidator(whole_number)] = 50,
) -> StandardResponse[PublicTradesOut]:
    """Public trades since goblin follows them, the newest first; asking does, for a minute."""
    wanted = Symbol(symbol)
    live = await _live(resources).latest(wanted, category, Channel.TRADES)
    return StandardResponse(
        data=PublicTradesOut.of(live, symbol=wanted, category=category, limit=limit)
    )


def _live(resources: ResourcesOf) -> LiveMarket:
    return LiveMarket(board=resources.board, demand=resources.demand, market=resources.market)
