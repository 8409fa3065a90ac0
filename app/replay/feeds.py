"""What a subscriber of the exchange's WebSocket is told about one topic, out of candles or ticks.

A feed says what was new between two instants. Every closed candle and every trade is told
however far apart they are, up to a day; tickers and books only as they stand at the end, which
is what the venue does within its 20 to 100 ms too.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Protocol

from app.domain.instruments import Category
from app.replay.answers import ticker
from app.replay.book import order_book, trades_between
from app.replay.candles import DAY_MS, LENGTHS_MS, Candle, Interval
from app.replay.deep_books import Level
from app.replay.market import Instrument
from app.replay.ticks import BestPrices
from app.replay.wire import encoded, padded, trimmed

Document = dict[str, Any]

TRADES_PER_MESSAGE: Final = 1024
BOOKS_AT_ONCE_MAX: Final = 1000
"""Recorded best prices that are told together; of more, the last ones."""
SOONEST_MS: Final = {"tickers": 100, "orderbook": 100, "kline": 1000, "publicTrade": 0}
"""Of exchange time, between two messages. The venue's books come every 10 and 20 ms; a book out
of candles has nothing to say that often."""
REST_ONLY: Final = frozenset(
    {
        "predictedDeliveryPrice",
        "basisRate",
        "basis",
        "deliveryFeeRate",
        "deliveryTime",
        "basisRateYear",
    }
)
"""Fields of a REST ticker that the WebSocket does not send for perpetuals."""
SPOT_TICKER: Final = (
    "symbol",
    "lastPrice",
    "highPrice24h",
    "lowPrice24h",
    "prevPrice24h",
    "volume24h",
    "turnover24h",
    "price24hPcnt",
    "usdIndexPrice",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One message. `raw` is what goes over the wire; a recorded one is byte for byte.

    Recorded ones have an `order` among those of other topics: time and line.
    """

    topic: str
    raw: bytes
    order: tuple[int, int] = (0, 0)


class Feed(Protocol):
    """What there is to tell about one topic, to one subscriber."""

    def opening(self, now_ms: int) -> list[Told]:
        """What a subscriber is told first."""
        ...

    def news(self, from_ms: int, now_ms: int) -> Iterable[Told]:
        """What was new in (from_ms, now_ms]; it may be a day of trades, made as it is told."""
        ...


class _Derived(ABC):
    """A feed out of candles."""

    def __init__(self, name: str, instrument: Instrument) -> None:
        self.name = name
        self.instrument = instrument
        self._told_ms = 0

    def opening(self, now_ms: int) -> list[Told]:
        self._told_ms = now_ms
        return list(self._as_told(self._messages(now_ms, now_ms, is_first=True)))

    def news(self, from_ms: int, now_ms: int) -> Iterable[Told]:
        if now_ms - self._told_ms < SOONEST_MS[self.name.partition(".")[0]]:
            return []
        from_ms, self._told_ms = self._told_ms, now_ms  # further back, if it kept still
        if not self.instrument.is_listed(now_ms):
            return []
        return self._as_told(self._messages(from_ms, now_ms, is_first=False))

    @abstractmethod
    def _messages(self, from_ms: int, now_ms: int, *, is_first: bool) -> Iterator[Document]:
        """What there is to say at `now_ms`, and since `from_ms` unless it is the first."""

    def _as_told(self, documents: Iterable[Document]) -> Iterable[Told]:
        return (
            Told(topic=self.name, raw=encoded({"topic": self.name, **document}))
            for document in documents
        )


class TickerFeed(_Derived):
    """Spot: whole tickers without bid and ask. Derivatives: one, then the changed fields."""

    def __init__(self, name: str, instrument: Instrument) -> None:
        super().__init__(name, instrument)
        self._last: dict[str, str] = {}

    def _messages(self, from_ms: int, now_ms: int, *, is_first: bool) -> Iterator[Document]:  # noqa: ARG002 - one shape
        whole = ticker(self.instrument, now_ms)
        if self.instrument.category is Category.SPOT:
            data = {field: whole[field] for field in SPOT_TICKER}
            if is_first or data != self._last:
                self._last = data
                yield {"ts": now_ms, "type": "snapshot", "cs": now_ms, "data": data}
            return
        data = {field: text for field, text in whole.items() if field not in REST_ONLY}
        changed = {field: text for field, text in data.items() if self._last.get(field) != text}
        self._last = data
        if is_first:
            yield {"type": "snapshot", "data": data, "cs": now_ms, "ts": now_ms}
        elif changed:
            delta = {"symbol": self.instrument.symbol, **changed}
            yield {"type": "delta", "data": delta, "cs": now_ms, "ts": now_ms}


class TradesFeed(_Derived):
    """Every recorded trade, or one for each second."""

    def _messages(self, from_ms: int, now_ms: int, *, is_first: bool) -> Iterator[Document]:
        if is_first:
            return
        from_ms = max(from_ms, now_ms - DAY_MS)
        trades = (self._wire(t) for t in trades_between(self.instrument, from_ms, now_ms))
        while data := list(islice(trades, TRADES_PER_MESSAGE)):
            yield {"ts": now_ms, "type": "snapshot", "data": data}

    def _wire(self, trade: Document) -> Document:
        wire = {
            "i": trade["execId"],
            "T": int(trade["time"]),
            "p": trade["price"],
            "v": trade["size"],
            "S": trade["side"],
            "seq": int(trade["seq"]),
            "s": trade["symbol"],
            "BT": False,
            "RPI": False,
        }
        if self.instrument.category is not Category.SPOT:
            wire["L"] = "ZeroPlusTick" if trade["side"] == "Buy" else "MinusTick"
        return wire


class KlineFeed(_Derived):
    """Every candle as it closes, and the forming one each second."""

    def __init__(self, name: str, instrument: Instrument) -> None:
        super().__init__(name, instrument)
        self._interval = Interval(name.split(".")[1])

    def _messages(self, from_ms: int, now_ms: int, *, is_first: bool) -> Iterator[Document]:
        candles = self.instrument.klines(
            self._interval,
            first_ms=now_ms if is_first else max(from_ms, now_ms - DAY_MS),
            last_ms=now_ms,
            limit=DAY_MS // 60_000 + 2,
            newest=True,
            now_ms=now_ms,
        )
        for candle in candles:
            if candle.end_ms > now_ms:
                yield self._message(candle, now_ms)
            elif candle.end_ms > from_ms:
                yield self._message(candle, candle.end_ms)

    def _message(self, candle: Candle, at_ms: int) -> Document:
        data = {
            "start": candle.open_ms,
            "end": candle.end_ms - 1,
            "interval": self._interval,
            "open": trimmed(candle.open),
            "close": trimmed(candle.close),
            "high": trimmed(candle.high),
            "low": trimmed(candle.low),
            "volume": trimmed(candle.volume),
            "turnover": trimmed(candle.turnover),
            "confirm": candle.end_ms <= at_ms,
            "timestamp": at_ms,
        }
        return {"type": "snapshot", "ts": at_ms, "data": [data]}


class BookFeed(_Derived):
    """Depth 1: snapshots, of recorded best prices each. Deeper: one, then deltas, `u` by one."""

    def __init__(self, name: str, instrument: Instrument) -> None:
        super().__init__(name, instrument)
        self._depth = int(name.split(".")[1])
        self._sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
        self._update_id = 0

    def news(self, from_ms: int, now_ms: int) -> Iterable[Told]:
        """Recorded best prices one by one, everything else as it stands now."""
        ticks = self.instrument.ticks
        if self._depth > 1 or ticks is None or not ticks.has_best_prices(now_ms):
            return super().news(from_ms, now_ms)
        changes = ticks.best_price_changes(self._told_ms, now_ms)
        self._told_ms = now_ms
        return self._as_told(self._best(best) for best in deque(changes, maxlen=BOOKS_AT_ONCE_MAX))

    def _messages(self, from_ms: int, now_ms: int, *, is_first: bool) -> Iterator[Document]:  # noqa: ARG002 - one shape
        bids, asks = order_book(self.instrument, now_ms, depth=self._depth)
        sides = (dict(bids), dict(asks))
        if not is_first and sides == self._sides:
            return
        self._update_id = now_ms // 20 if is_first else self._update_id + 1
        is_snapshot = is_first or self._depth == 1
        before = ({}, {}) if is_snapshot else self._sides
        self._sides = sides
        changed_bids, changed_asks = (
            _changed(old, new) for old, new in zip(before, sides, strict=True)
        )
        yield self._document(changed_bids, changed_asks, now_ms, is_snapshot=is_snapshot)

    def _best(self, best: BestPrices) -> Document:
        self._update_id += 1
        return self._document([best.bid], [best.ask], best.at_ms, is_snapshot=True)

    def _document(
        self, bids: Sequence[Level], asks: Sequence[Level], at_ms: int, *, is_snapshot: bool
    ) -> Document:
        return {
            "ts": at_ms,
            "type": "snapshot" if is_snapshot else "delta",
            "data": {
                "s": self.instrument.symbol,
                "b": self._wire(bids),
                "a": self._wire(asks),
                "u": self._update_id,
                "seq": at_ms,
            },
            "cts": at_ms,
        }

    def _wire(self, levels: Sequence[Level]) -> list[list[str]]:
        spec = self.instrument.spec
        if self.instrument.category is Category.SPOT or self._depth == 1:
            return [[trimmed(price), trimmed(size)] for price, size in levels]
        step = spec.quantity_step
        return [
            [padded(price, spec.tick), padded(size, step) if size else "0"]
            for price, size in levels
        ]


def _changed(old: dict[Decimal, Decimal], new: dict[Decimal, Decimal]) -> list[Level]:
    gone = [(price, Decimal(0)) for price in old if price not in new]
    return gone + [(price, size) for price, size in new.items() if old.get(price) != size]


FEEDS: Final[Mapping[str, Callable[[str, Instrument], Feed]]] = {
    "tickers": TickerFeed,
    "publicTrade": TradesFeed,
    "kline": KlineFeed,
    "orderbook": BookFeed,
}
DEPTHS: Final = frozenset(("1", "50"))


def parse_name(name: str) -> tuple[str, str] | None:
    """Kind and symbol of a topic's name, None for a topic that does not exist."""
    match name.split("."):
        case [("tickers" | "publicTrade") as kind, symbol]:
            return kind, symbol
        case ["kline", interval, symbol] if interval in LENGTHS_MS:
            return "kline", symbol
        case ["orderbook", depth, symbol] if depth in DEPTHS:
            return "orderbook", symbol
        case _:
            return None
