"""What a market says while it happens: tickers, public trades, forming candles, books.

Every value carries `venue_time_ms`, the venue's clock in milliseconds since 1970 UTC. How old
a value is here is not its own business: the board keeps the instant at which it arrived.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from app.domain.books import Book
from app.domain.candles import BYBIT_SPELLING
from app.domain.instruments import Category, Symbol


class Channel(StrEnum):
    """The kinds of news that there are about a symbol."""

    TICKER = "ticker"
    TRADES = "trades"
    CANDLE = "candle"
    TOP = "top"
    """The best bid and ask alone, which come sooner than the book."""
    BOOK = "book"


@dataclass(frozen=True, slots=True, order=True)
class Topic:
    """What can be followed: one kind of news about one symbol.

    Candles have an interval, in Bybit's spelling.
    """

    category: Category
    symbol: Symbol
    channel: Channel
    interval: str = ""

    def __post_init__(self) -> None:
        is_candle = self.channel is Channel.CANDLE
        assert (self.interval in BYBIT_SPELLING.values()) if is_candle else not self.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """The state of a market. None is what the venue does not say for this category.

    `price_text` is the last price in the venue's own spelling. `change_24h` is a fraction.
    """

    last_price: Decimal
    price_text: str
    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    high_24h: Decimal | None
    low_24h: Decimal | None
    volume_24h: Decimal | None
    turnover_24h: Decimal | None
    change_24h: Decimal | None
    mark_price: Decimal | None
    index_price: Decimal | None
    funding_rate: Decimal | None
    open_interest: Decimal | None
    venue_time_ms: int


TICKER_NUMBERS: Final[Mapping[str, str]] = {
    "bid": "bid1Price",
    "bid_size": "bid1Size",
    "ask": "ask1Price",
    "ask_size": "ask1Size",
    "high_24h": "highPrice24h",
    "low_24h": "lowPrice24h",
    "volume_24h": "volume24h",
    "turnover_24h": "turnover24h",
    "change_24h": "price24hPcnt",
    "mark_price": "markPrice",
    "index_price": "indexPrice",
    "funding_rate": "fundingRate",
    "open_interest": "openInterest",
}
"""Our names and the venue's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    """Two strangers agreed on a price. `is_buy`: the taker bought."""

    id: str
    price: Decimal
    size: Decimal
    is_buy: bool
    venue_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCandle:
    """A candle as far as it has got. Only a closed one is final.

    Covers [open_ms, end_ms]; the last millisecond belongs to it, as the venue writes it.
    """

    interval: str
    open_ms: int
    end_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    is_closed: bool
    venue_time_ms: int


Trades: TypeAlias = tuple[PublicTrade, ...]
"""In the order in which they happened."""

LiveValue: TypeAlias = Ticker | Trades | LiveCandle | Book


class TickerMerge:
    """One symbol's ticker out of a snapshot and the deltas after it.

    A delta names only what changed; what it does not name has not changed. What the venue
    spells as an empty string does not apply.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, Decimal | None] = {}
        self._has_snapshot = False

    def apply(
        self, texts: Mapping[str, str], *, is_snapshot: bool, venue_time_ms: int
    ) -> Ticker | None:
        """The ticker after this frame; None while no last price is known."""
        if is_snapshot:
            self._texts.clear()
            self._numbers.clear()
            self._has_snapshot = True
        elif not self._has_snapshot:
            return None  # a delta to nothing says nothing about the rest
        for name, venue_name in TICKER_NUMBERS.items():
            if venue_name in texts:
                text = texts[venue_name]
                self._numbers[name] = Decimal(text) if text else None
        if "lastPrice" in texts:
            self._texts["lastPrice"] = texts["lastPrice"]
        price_text = self._texts.get("lastPrice")
        if not price_text:
            return None
        return Ticker(
            last_price=Decimal(price_text),
            price_text=price_text,
            venue_time_ms=venue_time_ms,
            **{name: self._numbers.get(name) for name in TICKER_NUMBERS},
        )
