"""Markets as they happen: subscribed to over a WebSocket, or named in the address of a stream."""

from functools import partial
from typing import Annotated, Final

from fastapi import Query, Request, Response, WebSocket, WebSocketDisconnect

from app.db.errors import DatabaseUnavailable
from app.domain.errors import GoblinError, Invalid, UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import UnknownSymbol, Venue
from app.domain.live import Topic
from app.domain.topics import UnknownTopic, name_topic, parse_topic
from app.http.dependencies import ResourcesOf
from app.http.event_stream import close_for
from app.http.exact_json import parse_exact_json
from app.http.market_stream import MarketStream, Telling, serve_market_socket
from app.http.rate_limit import network_of
from app.http.routing import Router
from app.resources import Resources
from app.schemas.market_stream import (
    OPERATION,
    SSE_EXAMPLE,
    TOPICS_PER_REQUEST_MAX,
    Ping,
    Subscribe,
    spell_answer,
    spell_updates,
)
from app.services.live_market import StreamsOff
from app.services.market_feed import (
    MarketFeed,
    Subscriber,
    TooManyMarketStreams,
    TooManyTopics,
    TopicsExhausted,
)

EXPECTED: Final = (
    'expected {"op": "subscribe", "topics": ["spot/BTCUSDT/ticker"]}, the same with '
    '"unsubscribe", or {"op": "ping"}'
)
SSE_SCHEMA: Final = {"schema": {"type": "string"}, "example": SSE_EXAMPLE}

router = Router(tag="market streams")


@router.endpoint(
    "GET",
    "/market/stream",
    summary="Stream",
    errors=(
        UnknownTopic,
        UnknownSymbol,
        UpstreamInvalid,
        UpstreamUnavailable,
        StreamsOff,
        DatabaseUnavailable,
        TooManyTopics,
        TooManyMarketStreams,
        TopicsExhausted,
    ),
    response_class=Response,  # MarketStream would make the errors text/event-stream as well
    openapi_extra={"responses": {"200": {"content": {MarketStream.media_type: SSE_SCHEMA}}}},
)
async def stream_markets(
    request: Request,
    resources: ResourcesOf,
    topics: Annotated[
        str,
        Query(
            min_length=1,
            max_length=8000,
            description="Up to 100, with commas or one by one: category/symbol/channel, where the "
            "channel is ticker, trades, top, book, or candles with an interval.",
            examples=["spot/BTCUSDT/ticker,spot/BTCUSDT/candles/1m"],
        ),
    ],
) -> MarketStream:
    """Server-Sent Events without an end: what is known at once, then what is new.

    `data` is a list with the latest of each topic that changed. A comment line comes at least
    every 15 seconds. The stream ends when the server stops, and when nothing is read for 10
    seconds. The WebSocket /ws/market tells the same; docs/streams.md has both.
    """
    # Whoever names one at a time means all of them; the argument is the last alone.
    others = request.query_params.getlist("topics")[:-1]
    names = ",".join([*others, topics]).split(",")
    if len(names) > TOPICS_PER_REQUEST_MAX:
        raise TooManyTopics(TOPICS_PER_REQUEST_MAX, whose="a stream")
    feed = _feed(resources)
    wanted = await _checked(resources, feed, names)
    return MarketStream(_telling(feed, network_of(request.scope)), wanted)


@router.websocket("/ws/market")
async def stream_over_websocket(websocket: WebSocket) -> None:
    """`{"op": "subscribe", "topics": [...]}`, answered at once and then with updates."""
    resources: Resources = websocket.app.state.resources
    try:
        await websocket.accept()
        feed = _feed(resources)
        telling = _telling(feed, network_of(websocket.scope))
        await serve_market_socket(websocket, telling, partial(_reply, resources, feed))
    except GoblinError as error:
        await close_for(websocket, error)
    except WebSocketDisconnect:
        pass


def _feed(resources: Resources) -> MarketFeed:
    if not resources.board.is_fed:
        raise StreamsOff
    return resources.market_feed


def _telling(feed: MarketFeed, address: str) -> Telling:
    return Telling(feed=feed, address=address, spell=spell_updates)


async def _reply(resources: Resources, feed: MarketFeed, subscriber: Subscriber, text: str) -> str:
    try:
        said = OPERATION.validate_python(parse_exact_json(text.encode()))
    except ValueError:  # pydantic's is one too
        return spell_answer("error", code=Invalid.code, message=EXPECTED)
    if isinstance(said, Ping):
        return spell_answer("pong", request_id=said.id)
    try:
        if isinstance(said, Subscribe):
            topics = await _checked(resources, feed, said.topics)
            feed.subscribe(subscriber, topics)
        else:
            topics = tuple(map(parse_topic, said.topics))
            feed.unsubscribe(subscriber, topics)
    except GoblinError as error:
        said_back = {"code": error.code, "message": error.message, "topics": said.topics}
        return spell_answer("error", request_id=said.id, **said_back)
    names = [name_topic(topic) for topic in topics]
    return spell_answer(f"{said.op}d", request_id=said.id, topics=names)


async def _checked(resources: Resources, feed: MarketFeed, names: list[str]) -> tuple[Topic, ...]:
    """The topics of these names, which the venue lists. Raises UnknownTopic, UnknownSymbol."""
    topics = tuple(dict.fromkeys(parse_topic(name.strip()) for name in names))
    markets = {(topic.category, topic.symbol) for topic in topics if not feed.is_followed(topic)}
    for category, symbol in sorted(markets):
        try:
            await resources.listings.require(Venue.BYBIT, category, symbol)
        except UnknownSymbol as error:  # of many symbols it was this one
            error.message = f"{error.message}: {symbol} in {category}"
            raise
    return topics
