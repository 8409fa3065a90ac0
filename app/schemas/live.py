"""A market as it is now, on the wire. Numbers are plain decimals in strings."""

from typing import Any

from pydantic import BaseModel, Field

from app.domain.books import Book, Level
from app.domain.candles import plain_number
from app.domain.instruments import Category, Symbol
from app.domain.live import TICKER_NUMBERS, PublicTrade, Ticker
from app.services.live_market import Live
from app.services.market_data import PricedQuote

SOURCE: Any = Field(
    description="`Bybit:stream` for what the venue told by itself, `Bybit` for what it was asked.",
    examples=["Bybit:stream"],
)
AGE: Any = Field(description="Since it arrived, or was asked for.", examples=[42], ge=0)


class LiveOut(BaseModel):
    """What every answer about a live market says."""

    symbol: str = Field(examples=["BTCUSDT"])
    category: Category = Field(examples=["spot"])
    source: str = SOURCE
    age_ms: int = AGE
    venue_time_ms: int = Field(
        description="The venue's clock, milliseconds since 1970 UTC.", examples=[1748623140000]
    )


class TickerOut(LiveOut):
    """The state of a market; what the venue does not say is left out.

    A ticker that was not streamed has the price alone; the stream of spot has no bid and no ask
    (GET /market/orderbook?depth=1 has).
    """

    price: str = Field(examples=["104000.5"])
    bid: str | None = Field(None, examples=["104000.4"])
    bid_size: str | None = Field(None, examples=["1.25"])
    ask: str | None = Field(None, examples=["104000.5"])
    ask_size: str | None = Field(None, examples=["0.4"])
    high_24h: str | None = Field(None, examples=["105200"])
    low_24h: str | None = Field(None, examples=["103100.1"])
    volume_24h: str | None = Field(None, examples=["8123.402"])
    turnover_24h: str | None = Field(None, examples=["846120345.1"])
    change_24h: str | None = Field(
        None, description="A fraction: -0.0062 is -0.62 %.", examples=["-0.0062"]
    )
    mark_price: str | None = Field(None, examples=["104000.9"])
    index_price: str | None = Field(None, examples=["104010.2"])
    funding_rate: str | None = Field(None, examples=["0.0001"])
    open_interest: str | None = Field(None, examples=["57118.511"])

    @classmethod
    def of(cls, answer: Live | PricedQuote, *, symbol: Symbol, category: Category) -> "TickerOut":
        """The wire form of a ticker, or of a price that was asked for instead."""
        head: dict[str, Any] = {
            "symbol": symbol,
            "category": category,
            "source": answer.source,
            "age_ms": round(answer.age_seconds * 1000),
        }
        if isinstance(answer, PricedQuote):
            return cls(
                **head,
                price=answer.quote.price_text,
                venue_time_ms=answer.quote.upstream_time_ms,
            )
        ticker = answer.value
        assert isinstance(ticker, Ticker), "a ticker was asked for"
        numbers = {name: getattr(ticker, name) for name in TICKER_NUMBERS}
        return cls(
            **head,
            price=plain_number(ticker.last_price),
            venue_time_ms=ticker.venue_time_ms,
            **{name: None if n is None else plain_number(n) for name, n in numbers.items()},
        )


class BookOut(LiveOut):
    """Bids descending and asks ascending, each [price, size]."""

    bids: list[tuple[str, str]] = Field(examples=[[["104000.4", "1.25"]]])
    asks: list[tuple[str, str]] = Field(examples=[[["104000.5", "0.4"]]])
    update_id: int = Field(description="The venue's number of this state.", examples=[3734358])

    @classmethod
    def of(cls, live: Live, *, symbol: Symbol, category: Category, depth: int) -> "BookOut":
        """The wire form of the best levels."""
        book = live.value
        assert isinstance(book, Book), "a book was asked for"
        return cls(
            symbol=symbol,
            category=category,
            source=live.source,
            age_ms=round(live.age_seconds * 1000),
            venue_time_ms=book.venue_time_ms,
            bids=[_level(level) for level in book.bids[:depth]],
            asks=[_level(level) for level in book.asks[:depth]],
            update_id=book.update_id,
        )


class PublicTradeOut(BaseModel):
    """Two strangers agreed on a price; `side` is what the taker did."""

    id: str = Field(examples=["2100000000188691524"])
    price: str = Field(examples=["104000.5"])
    size: str = Field(examples=["0.00389"])
    side: str = Field(examples=["sell"])
    venue_time_ms: int = Field(examples=[1748623139871])

    @classmethod
    def of(cls, trade: PublicTrade) -> "PublicTradeOut":
        """The wire form of a public trade."""
        return cls(
            id=trade.id,
            price=plain_number(trade.price),
            size=plain_number(trade.size),
            side="buy" if trade.is_buy else "sell",
            venue_time_ms=trade.venue_time_ms,
        )


class PublicTradesOut(LiveOut):
    """Public trades, the newest first."""

    trades: list[PublicTradeOut]

    @classmethod
    def of(cls, live: Live, *, symbol: Symbol, category: Category, limit: int) -> "PublicTradesOut":
        """The wire form of the last trades."""
        assert isinstance(live.value, tuple), "trades were asked for"
        newest = live.value[: -limit - 1 : -1]
        return cls(
            symbol=symbol,
            category=category,
            source=live.source,
            age_ms=round(live.age_seconds * 1000),
            venue_time_ms=newest[0].venue_time_ms,
            trades=[PublicTradeOut.of(trade) for trade in newest],
        )


def _level(level: Level) -> tuple[str, str]:
    return plain_number(level[0]), plain_number(level[1])
