"""Bybit v5 public market data: last prices, candles and instruments."""

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import httpx

from app.clients.history import (
    TIME_MS_LIMIT,
    closed_candles,
    first_number,
    instant_of,
    readable_instruments,
    time_ms,
)
from app.clients.venue_http import Answer, VenueClient
from app.domain.candles import BYBIT_SPELLING, Candle, Interval, Span, advance
from app.domain.instruments import (
    Category,
    CategoryNotListed,
    Instrument,
    Symbol,
    UnknownSymbol,
    Venue,
    is_tradeable,
)
from app.domain.quotes import Quote, parse_price, plain_text

TICKERS_PATH: Final = "/v5/market/tickers"
KLINE_PATH: Final = "/v5/market/kline"
INSTRUMENTS_PATH: Final = "/v5/market/instruments-info"
TIME_PATH: Final = "/v5/market/time"

INSTRUMENTS_PER_PAGE: Final = 500
"""Of 1 to 2 kB each; at 1000 a page would be larger than an answer may be."""
PAGES_MAX: Final = 100
LENGTH_MS_MAX: Final = 16

OK: Final = 0
UNKNOWN_SYMBOL_CODES: Final = frozenset({10001, 10029, 170121})
"""10001 is any wrong parameter; of ours only the symbol can be wrong."""

LIMIT_CODES: Final = frozenset({10006, 10018})
UNAVAILABLE_CODES: Final = frozenset({429, 10000, 10008, 10009, 10010, 10016, 10024, 10027})
"""Busy, failing, or not serving this address. Bybit sends these with HTTP status 200."""


class BybitClient(VenueClient):
    """The ports PriceSource, for all four categories, and MarketSource, for all but options."""

    venue: ClassVar[str] = "Bybit"
    categories: Final = (Category.SPOT, Category.LINEAR, Category.INVERSE)
    candles_per_request: Final = 1000
    request_seconds_min: Final = 0.02  # 50 a second; the venue allows 120

    async def fetch_quote(self, symbol: Symbol, category: Category) -> Quote:
        """`lastPrice` and the envelope's `time`, which is not compared with our clock.

        (The replay exchange lives in another year, and a sandbox's clock may be wrong.)
        Raises as PriceSource says.
        """
        if not is_tradeable(symbol):
            raise UnknownSymbol(symbol, category)
        params = {"category": category.value, "symbol": symbol}
        async with self._ask(TICKERS_PATH, params, (symbol, category)) as (answer, envelope):
            time_ms = envelope.get("time")
            if type(time_ms) is not int or not 0 < time_ms < TIME_MS_LIMIT:
                raise self._http.invalid("no time", answer)
            text = self._last_price(envelope.get("result"), answer, symbol, category)
            price = parse_price(text)
            if price is None:
                raise self._http.invalid("lastPrice is not a usable price", answer)
            return Quote(
                venue=self.venue,
                symbol=symbol,
                category=category,
                price=price,
                price_text=plain_text(text),
                upstream_time_ms=time_ms,
            )

    async def fetch_time(self) -> datetime:
        """The envelope's time, as in every answer."""
        async with self._ask(TIME_PATH, {}) as (answer, envelope):
            return self._envelope_time(answer, envelope)

    async def fetch_candles(
        self, symbol: Symbol, category: Category, interval: Interval, span: Span
    ) -> list[Candle]:
        """Closed candles, ascending; the span has at most `candles_per_request`.

        A span of more would be answered by its newest ones, with `start` silently ignored.
        """
        self._require_candles(symbol, category)
        last_open = advance(span.end_at, interval, -1)
        params = {"start": str(time_ms(span.begin_at)), "end": str(time_ms(last_open))}
        found, _ = await self._kline(symbol, category, interval, span, params)
        return found

    async def fetch_first_open(
        self, symbol: Symbol, category: Category, interval: Interval
    ) -> datetime | None:
        """`start` alone goes forward: the first candle after 1970 is the oldest one."""
        self._require_candles(symbol, category)
        params = {"start": "1", "limit": "1"}
        _, opens = await self._kline(symbol, category, interval, None, params)
        return opens[0] if opens else None

    async def fetch_instruments(self, category: Category) -> list[Instrument]:
        """Every page: the cursor is followed until it is empty."""
        found: list[Instrument] = []
        params = {"category": category.value, "limit": str(INSTRUMENTS_PER_PAGE)}
        for page in itertools.count(1):
            async with self._ask(INSTRUMENTS_PATH, params) as (answer, envelope):
                if page > PAGES_MAX:
                    raise self._http.invalid(f"more than {PAGES_MAX} pages", answer)
                match envelope.get("result"):
                    case {"category": answered, "list": list(items), **rest} if (
                        answered == category
                    ):
                        cursor = rest.get("nextPageCursor", "")
                    case _:
                        raise self._http.invalid("not the instruments that were asked for", answer)
                found += readable_instruments(items, lambda item: _instrument(item, category))
                if not items or not isinstance(cursor, str) or not cursor:
                    break
                # It arrives percent-encoded, and httpx encodes it again.
                params = {**params, "cursor": unquote(cursor)}
        return found

    def _require_candles(self, symbol: Symbol, category: Category) -> None:
        if category not in self.categories:
            raise CategoryNotListed(self.venue, category, self.categories)
        if not is_tradeable(symbol):
            raise UnknownSymbol(symbol, category)

    async def _kline(
        self,
        symbol: Symbol,
        category: Category,
        interval: Interval,
        span: Span | None,
        params: Mapping[str, str],
    ) -> tuple[list[Candle], list[datetime]]:
        """The closed candles of the span, and the open times of all that came."""
        asked = {
            "category": category.value,
            "symbol": symbol,
            "interval": BYBIT_SPELLING[interval],
            "limit": str(self.candles_per_request),
            **params,
        }
        async with self._ask(KLINE_PATH, asked, (symbol, category)) as (answer, envelope):
            match envelope.get("result"):
                case {"category": answered, "symbol": listed, "list": list(items)} if (
                    answered == category and listed == symbol
                ):
                    rows = [_row(item) for item in items]
                case _:
                    raise self._http.invalid("not the candles that were asked for", answer)
            opens = [instant_of(open_ms) for open_ms, _ in rows]
            first = min((open_time for open_time in opens if open_time is not None), default=None)
            if span is None:
                if rows and first is None:
                    raise self._http.invalid("a candle without a time", answer)
                return [], [] if first is None else [first]
            found = closed_candles(
                rows, interval=interval, span=span, venue_time=self._envelope_time(answer, envelope)
            )
            if found is None:
                raise self._http.invalid("a row that is no candle", answer)
            return found, []

    @asynccontextmanager
    async def _ask(
        self,
        path: str,
        params: Mapping[str, str],
        about: tuple[Symbol, Category] | None = None,
    ) -> AsyncIterator[tuple[Answer, dict[str, Any]]]:
        """An answer that says yes, to be read in the block."""
        async with self._http.get(path, params) as answer:
            if answer.status != httpx.codes.OK:
                raise self._http.invalid("unexpected status", answer)
            envelope = self._http.json_object(answer)
            self._raise_for_code(envelope.get("retCode"), answer, about)
            yield answer, envelope

    def _envelope_time(self, answer: Answer, envelope: Mapping[str, Any]) -> datetime:
        instant = instant_of(envelope.get("time"))
        if instant is None:
            raise self._http.invalid("no time", answer)
        return instant

    def _raise_for_code(
        self, code: object, answer: Answer, about: tuple[Symbol, Category] | None
    ) -> None:
        if type(code) is not int:  # False == 0
            raise self._http.invalid("no retCode", answer)
        if about is not None and code in UNKNOWN_SYMBOL_CODES:
            raise UnknownSymbol(*about)
        if code in LIMIT_CODES:
            raise self._http.limited(f"retCode {code}", answer)
        if code in UNAVAILABLE_CODES:
            raise self._http.unavailable(f"retCode {code}", answer)
        if code != OK:
            raise self._http.invalid(f"retCode {code}", answer)

    def _last_price(
        self, result: object, answer: Answer, symbol: Symbol, category: Category
    ) -> str:
        """The price text of the list's one entry, which must be the one asked for."""
        match result:
            case {"category": answered, "list": []} if answered == category:
                raise UnknownSymbol(symbol, category)
            case {"category": answered, "list": [{"symbol": listed, "lastPrice": str(text)}]} if (
                answered == category and listed == symbol
            ):
                return text
            case _:
                raise self._http.invalid("not the ticker that was asked for", answer)


def _row(item: object) -> tuple[int, list[object]]:
    """Open time and six texts; a negative time where it is no such row."""
    match item:
        case [str(open_ms), *texts] if open_ms.isdecimal() and len(open_ms) < LENGTH_MS_MAX:
            return int(open_ms), texts
        case _:
            return -1, []


def _instrument(item: Mapping[str, Any], category: Category) -> Instrument | None:
    """Spot has no qtyStep and names its smallest amount otherwise; "" is no rule."""
    lots = item["lotSizeFilter"]
    tick_size = first_number(item["priceFilter"]["tickSize"])
    lot_step = first_number(lots.get("qtyStep"), lots.get("basePrecision"))
    if tick_size is None or lot_step is None or not is_tradeable(item["symbol"]):
        return None
    return Instrument(
        venue=Venue.BYBIT,
        category=category,
        symbol=Symbol(item["symbol"]),
        base=str(item["baseCoin"]),
        quote=str(item["quoteCoin"]),
        status=str(item["status"]),
        tick_size=tick_size,
        lot_step=lot_step,
        quantity_min=first_number(lots.get("minOrderQty")) or lot_step,
        quantity_max=first_number(
            lots.get("maxMarketOrderQty"), lots.get("maxMktOrderQty"), lots.get("maxOrderQty")
        ),
        amount_min=first_number(lots.get("minOrderAmt"), lots.get("minNotionalValue")),
    )
