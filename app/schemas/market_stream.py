"""What clients that follow markets say and are told."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.domain.books import Book
from app.domain.candles import plain_number
from app.domain.live import LiveCandle, PublicTrade, Ticker
from app.domain.topics import interval_of, name_topic
from app.schemas.live import BookOut, PublicTradeOut, TickerOut
from app.services.live_market import Live
from app.services.market_feed import Update

TOPICS_PER_REQUEST_MAX: Final = 100
BOOK_DEPTH: Final = 50

SSE_EXAMPLE: Final = """retry: 1000

event: update
data: [{"age_ms":12,"topic":"spot/BTCUSDT/ticker","source":"Bybit:stream",\
"venue_time_ms":1748623140000,"price":"104000.5","high_24h":"105200"}]

: keep-alive

"""

TopicNames = Annotated[
    list[Annotated[str, Field(max_length=100)]],
    Field(min_length=1, max_length=TOPICS_PER_REQUEST_MAX),
]
RequestId: TypeAlias = Annotated[str, Field(max_length=64)] | int | None


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: RequestId = None


class Subscribe(_Said):
    """Follow these too."""

    op: Literal["subscribe"]
    topics: TopicNames


class Unsubscribe(_Said):
    """Follow these no more."""

    op: Literal["unsubscribe"]
    topics: TopicNames


class Ping(_Said):
    """To be answered by a pong."""

    op: Literal["ping"]


Operation: TypeAlias = Annotated[Subscribe | Unsubscribe | Ping, Field(discriminator="op")]
OPERATION: Final[TypeAdapter[Subscribe | Unsubscribe | Ping]] = TypeAdapter(Operation)


def spell_answer(kind: str, *, request_id: str | int | None = None, **members: Any) -> str:
    """A message that is no update: `subscribed`, `unsubscribed`, `pong` or `error`."""
    echoed = {} if request_id is None else {"id": request_id}
    return json.dumps({"type": kind, **echoed, **members})


def spell_updates(updates: tuple[Update, ...], source: str, now: float) -> str:
    """A JSON list of them; what `now` changes is put in last, the rest is spelled once."""
    return f"[{','.join(_spell(update, source, now) for update in updates)}]"


def _spell(update: Update, source: str, now: float) -> str:
    if update.text is None:
        shown = {"topic": name_topic(update.topic), "source": source, **_shown(update)}
        update.text = json.dumps(shown, separators=(",", ":"))[1:]
    age_ms = max(0, round((now - update.received_at) * 1000))
    return f'{{"age_ms":{age_ms},{update.text}'


def _shown(update: Update) -> dict[str, Any]:
    news, topic = update.news, update.topic
    if isinstance(news, tuple):
        shown: dict[str, Any] = {"venue_time_ms": news[-1].venue_time_ms}
        trades = [row for row in news if isinstance(row, PublicTrade)]
        candles = [row for row in news if isinstance(row, LiveCandle)]
        if candles:
            shown |= {"interval": interval_of(topic), "candles": _candles(candles)}
        else:
            shown["trades"] = [PublicTradeOut.of(trade).model_dump() for trade in trades]
        return shown | {"dropped": update.dropped}
    live = Live(value=news, source="", age_seconds=0)
    out: BaseModel
    match news:
        case Ticker():
            out = TickerOut.of(live, symbol=topic.symbol, category=topic.category)
        case Book():
            out = BookOut.of(live, symbol=topic.symbol, category=topic.category, depth=BOOK_DEPTH)
    return out.model_dump(exclude_none=True, exclude=_SAID_BY_TOPIC)


_SAID_BY_TOPIC: Final = {"symbol", "category", "source", "age_ms"}


def _candles(candles: Iterable[LiveCandle]) -> list[dict[str, Any]]:
    return [
        {
            "open_time_ms": candle.open_ms,
            "open": plain_number(candle.open),
            "high": plain_number(candle.high),
            "low": plain_number(candle.low),
            "close": plain_number(candle.close),
            "volume": plain_number(candle.volume),
            "turnover": plain_number(candle.turnover),
            "is_closed": candle.is_closed,
        }
        for candle in candles
    ]
