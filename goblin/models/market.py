"""The market, now and in the past."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from goblin.decoding import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The last price at the venue."""

    symbol: str
    category: str
    price: Decimal
    upstream_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What every answer about a live market says."""

    symbol: str
    category: str
    source: str
    age_ms: int
    venue_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker(Live):
    """The state of a market; what the venue does not say is None."""

    price: Decimal
    bid: Decimal | None = None
    bid_size: Decimal | None = None
    ask: Decimal | None = None
    ask_size: Decimal | None = None
    high_24h: Decimal | None = None
    low_24h: Decimal | None = None
    volume_24h: Decimal | None = None
    turnover_24h: Decimal | None = None
    change_24h: Decimal | None = None
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    funding_rate: Decimal | None = None
    open_interest: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBook(Live):
    """Bids descending and asks ascending, each (price, size)."""

    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    update_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    """Two strangers agreed on a price; `side` is what the taker did."""

    id: str
    price: Decimal
    size: Decimal
    side: str
    venue_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrades(Live):
    """Public trades, the newest first."""

    trades: Rows[PublicTrade]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """What a price did in [open_time, open_time + interval)."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorRow:
    """The values at the close of a candle; those that are warming up are absent."""

    open_time: datetime
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One symbol with the venue's rules for orders; a rule that it has not is None."""

    venue: str
    category: str
    symbol: str
    base: str
    quote: str
    status: str
    tick_size: Decimal
    lot_step: Decimal
    quantity_min: Decimal
    quantity_max: Decimal | None = None
    amount_min: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketUpdate:
    """What is new about a topic; `data` has its numbers as exact texts (docs/streams.md)."""

    topic: str
    source: str
    age_ms: int
    venue_time_ms: int
    data: dict[str, Any]
