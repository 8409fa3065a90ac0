"""How clients name what they follow: `spot/BTCUSDT/ticker`, `linear/ETHUSDT/candles/1m`."""

from typing import Final

from app.domain.candles import BYBIT_SPELLING, Interval, parse_interval
from app.domain.errors import Refused
from app.domain.instruments import Category, is_tradeable, normalize_symbol
from app.domain.live import Channel, Topic

CHANNELS: Final = {
    "ticker": Channel.TICKER,
    "trades": Channel.TRADES,
    "candles": Channel.CANDLE,
    "top": Channel.TOP,
    "book": Channel.BOOK,
}
TOPIC_CHARACTERS_MAX: Final = 80

_CATEGORIES: Final = (Category.SPOT, Category.LINEAR, Category.INVERSE)
_NAMES: Final = {channel: name for name, channel in CHANNELS.items()}
_INTERVALS: Final = {spelling: interval for interval, spelling in BYBIT_SPELLING.items()}


class UnknownTopic(Refused):
    """What a client named is nothing that can be followed."""

    code = "unknown_topic"

    def __init__(self, topic_name: str, expected: str) -> None:
        shown = topic_name[:TOPIC_CHARACTERS_MAX]
        super().__init__(f"{shown!r} cannot be followed: expected {expected}")
        self.topic_name = topic_name


def parse_topic(text: str) -> Topic:
    """The topic that a client names so. Raises UnknownTopic; symbols are the venue's to know."""
    if len(text) > TOPIC_CHARACTERS_MAX:
        raise UnknownTopic(text, f"at most {TOPIC_CHARACTERS_MAX} characters")
    category, _, rest = text.partition("/")
    symbol, _, rest = rest.partition("/")
    name, _, interval = rest.partition("/")
    if category not in _CATEGORIES:
        raise UnknownTopic(text, "spot, linear or inverse first, as in spot/BTCUSDT/ticker")
    wanted = normalize_symbol(symbol)
    if not is_tradeable(wanted):
        raise UnknownTopic(text, "a symbol in the middle, as in spot/BTCUSDT/ticker")
    channel = CHANNELS.get(name)
    if channel is None:
        raise UnknownTopic(text, f"one of {', '.join(CHANNELS)} after the symbol")
    if channel is not Channel.CANDLE:
        if interval:
            raise UnknownTopic(text, "an interval after candles only")
        return Topic(Category(category), wanted, channel)
    known = parse_interval(interval)
    if known is None:
        raise UnknownTopic(text, f"an interval at the end, one of {', '.join(Interval)}")
    return Topic(Category(category), wanted, channel, BYBIT_SPELLING[known])


def interval_of(topic: Topic) -> Interval:
    """The interval of a topic of candles."""
    return _INTERVALS[topic.interval]


def name_topic(topic: Topic) -> str:
    """The name that `parse_topic` reads."""
    parts = [topic.category, topic.symbol, _NAMES[topic.channel]]
    if topic.channel is Channel.CANDLE:
        parts.append(interval_of(topic))
    return "/".join(parts)
