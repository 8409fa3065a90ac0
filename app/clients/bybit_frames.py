"""What Bybit v5 says on its public WebSocket, read into values.

One frame is one message: news about a topic, or the answer to one of our requests. Numbers
are strings there, padded or trimmed as the category likes; they are taken exactly.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from app.domain.books import BookChange, Level
from app.domain.instruments import Category, Symbol
from app.domain.live import (
    TICKER_NUMBERS,
    Channel,
    LiveCandle,
    PublicTrade,
    Topic,
    Trades,
)
from app.domain.quotes import parse_price

NUMBER: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?", re.ASCII)
TIME_MS_MAX: Final = 253_402_300_800_000
"""The year 10000."""

LEVELS_PER_MESSAGE_MAX: Final = 4000
TRADES_PER_MESSAGE_MAX: Final = 2048
TEXT_LENGTH_MAX: Final = 64
BOOK_DEPTHS: Final = {Channel.TOP: 1, Channel.BOOK: 50}
_DEPTH_CHANNELS: Final = {str(depth): channel for channel, depth in BOOK_DEPTHS.items()}


class BadFrame(Exception):
    """A frame that is not what the venue's documents say. `topic` is known for some.

    `is_unreadable`: not even that it was no news for us can be said.
    """

    def __init__(
        self, reason: str, *, topic: Topic | None = None, is_unreadable: bool = False
    ) -> None:
        super().__init__(reason)
        self.topic = topic
        self.is_unreadable = is_unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerFields:
    """The fields that a ticker message names, by the venue's names, texts as sent."""

    texts: Mapping[str, str]
    is_snapshot: bool
    venue_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A message about a topic."""

    topic: Topic
    content: TickerFields | Trades | tuple[LiveCandle, ...] | BookChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer to a request of ours. `op` and `request_id` are empty where none was sent."""

    op: str
    is_success: bool
    text: str
    request_id: str


Frame: TypeAlias = News | Reply


def topic_name(topic: Topic) -> str:
    """How Bybit spells a topic: `orderbook.50.BTCUSDT`."""
    match topic.channel:
        case Channel.TICKER:
            return f"tickers.{topic.symbol}"
        case Channel.TRADES:
            return f"publicTrade.{topic.symbol}"
        case Channel.CANDLE:
            return f"kline.{topic.interval}.{topic.symbol}"
        case Channel.TOP | Channel.BOOK:
            return f"orderbook.{BOOK_DEPTHS[topic.channel]}.{topic.symbol}"


def parse_topic(name: str, category: Category) -> Topic | None:
    """The topic of that name, None for one that goblin does not follow."""
    try:
        match name.split("."):
            case ["tickers", symbol]:
                return Topic(category, Symbol(symbol), Channel.TICKER)
            case ["publicTrade", symbol]:
                return Topic(category, Symbol(symbol), Channel.TRADES)
            case ["kline", interval, symbol]:
                return Topic(category, Symbol(symbol), Channel.CANDLE, interval)
            case ["orderbook", depth, symbol] if depth in _DEPTH_CHANNELS:
                return Topic(category, Symbol(symbol), _DEPTH_CHANNELS[depth])
            case _:
                return None
    except AssertionError:  # an interval that does not exist
        return None


def parse_frame(raw: str | bytes, category: Category) -> Frame:
    """Read one message. Raises BadFrame for anything that the venue does not promise."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadFrame("not JSON", is_unreadable=True) from None
    if not isinstance(document, dict):
        raise BadFrame("not a JSON object", is_unreadable=True)
    name = document.get("topic")
    if name is None:
        return _reply(document)
    topic = parse_topic(name, category) if isinstance(name, str) else None
    if topic is None:
        raise BadFrame(f"unknown topic {str(name)[:TEXT_LENGTH_MAX]!r}")
    try:
        return News(topic=topic, content=_content(topic, document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{name}: {type(error).__name__} {error}"
        raise BadFrame(reason[:200], topic=topic) from None


def _reply(document: Mapping[str, Any]) -> Reply:
    op = document.get("op", "")
    if not isinstance(op, str) or ("success" not in document and op != "pong"):
        raise BadFrame("neither news nor an answer")
    text, request_id = document.get("ret_msg", ""), document.get("req_id", "")
    return Reply(
        op=op,
        # The pong of options and private sockets carries no verdict.
        is_success=document.get("success", True) is True,
        text=text if isinstance(text, str) else "",
        request_id=request_id if isinstance(request_id, str) else "",
    )


def _content(
    topic: Topic, document: Mapping[str, Any]
) -> TickerFields | Trades | tuple[LiveCandle, ...] | BookChange:
    data, venue_time_ms = document["data"], _time_ms(document["ts"])
    match topic.channel:
        case Channel.TICKER:
            if data["symbol"] != topic.symbol:
                raise ValueError("another symbol inside")
            return TickerFields(
                texts=_ticker_texts(data),
                is_snapshot=_is_snapshot(document),
                venue_time_ms=venue_time_ms,
            )
        case Channel.TRADES:
            if not isinstance(data, list) or len(data) > TRADES_PER_MESSAGE_MAX:
                raise ValueError("not a list of trades")
            return tuple(_trade(item, topic.symbol) for item in data)
        case Channel.CANDLE:
            return tuple(_candle(item, topic.interval, venue_time_ms) for item in data)
        case Channel.TOP | Channel.BOOK:
            if data["s"] != topic.symbol:
                raise ValueError("another symbol inside")
            return BookChange(
                is_snapshot=_is_snapshot(document),
                bids=_levels(data["b"]),
                asks=_levels(data["a"]),
                update_id=_count(data["u"]),
                sequence=_count(data["seq"]),
                venue_time_ms=venue_time_ms,
            )


def _is_snapshot(document: Mapping[str, Any]) -> bool:
    kind = document["type"]
    if kind not in ("snapshot", "delta"):
        raise ValueError("type is neither snapshot nor delta")
    return bool(kind == "snapshot")


def _ticker_texts(data: Mapping[str, Any]) -> dict[str, str]:
    texts = {}
    for name in TICKER_NUMBERS.values():
        if name in data:
            texts[name] = data[name] if data[name] == "" else format(_number(data[name]), "f")
    if "lastPrice" in data:
        if data["lastPrice"] and parse_price(data["lastPrice"]) is None:
            raise ValueError("lastPrice is not a usable price")
        texts["lastPrice"] = data["lastPrice"]
    return texts


def _trade(item: Mapping[str, Any], symbol: str) -> PublicTrade:
    if item["s"] != symbol:
        raise ValueError("another symbol inside")
    if item["S"] not in ("Buy", "Sell"):
        raise ValueError("S is neither Buy nor Sell")
    trade_id = item["i"]
    if not isinstance(trade_id, str) or not 0 < len(trade_id) <= TEXT_LENGTH_MAX:
        raise ValueError("i is not an id")
    return PublicTrade(
        id=trade_id,
        price=_positive(item["p"]),
        size=_positive(item["v"]),
        is_buy=item["S"] == "Buy",
        venue_time_ms=_time_ms(item["T"]),
    )


def _candle(item: Mapping[str, Any], interval: str, venue_time_ms: int) -> LiveCandle:
    first, high = _positive(item["open"]), _positive(item["high"])
    low, last = _positive(item["low"]), _positive(item["close"])
    is_closed = item["confirm"]
    if item["interval"] != interval or type(is_closed) is not bool:
        raise ValueError("another interval, or no confirm")
    if not low <= min(first, last) <= max(first, last) <= high:
        raise ValueError("open and close are not between low and high")
    return LiveCandle(
        interval=interval,
        open_ms=_time_ms(item["start"]),
        end_ms=_time_ms(item["end"]),
        open=first,
        high=high,
        low=low,
        close=last,
        volume=_not_negative(item["volume"]),
        turnover=_not_negative(item["turnover"]),
        is_closed=is_closed,
        venue_time_ms=venue_time_ms,
    )


def _levels(rows: Any) -> tuple[Level, ...]:
    if not isinstance(rows, list) or len(rows) > LEVELS_PER_MESSAGE_MAX:
        raise ValueError("not a list of levels")
    return tuple((_positive(price), _not_negative(size)) for price, size in rows)


def _number(text: Any) -> Decimal:
    if not isinstance(text, str) or NUMBER.fullmatch(text) is None:
        raise ValueError("not a number in a string")
    return Decimal(text)


def _not_negative(text: Any) -> Decimal:
    number = _number(text)
    if number < 0:
        raise ValueError("negative")
    return number


def _positive(text: Any) -> Decimal:
    number = _number(text)
    if number <= 0:
        raise ValueError("not above zero")
    return number


def _count(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError("not a whole number")
    return number


def _time_ms(number: Any) -> int:
    count = _count(number)
    if not 0 < count < TIME_MS_MAX:
        raise ValueError("not a time")
    return count
