"""Binance spot and AsterDEX futures, which speak alike: prices, candles and instruments."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import httpx

from app.clients.history import (
    closed_candles,
    first_number,
    instant_of,
    readable_instruments,
    time_ms,
)
from app.clients.venue_http import RESPONSE_BYTES_MAX, Answer, VenueClient
from app.domain.candles import Candle, Interval, Span, advance
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

EXCHANGE_INFO_BYTES_MAX: Final = 32 * 1024 * 1024
"""Binance's whole list has about 15 MB."""

UNKNOWN_SYMBOL_CODES: Final = frozenset({-1121, -1100})
"""-1100 is an illegal character or length; the symbol is all that we send."""

LIMIT_CODES: Final = frozenset({-1003})
UNAVAILABLE_CODES: Final = frozenset({-1000, -1001, -1006, -1007, -1008})

HTTP_DATE: Final = "%a, %d %b %Y %H:%M:%S GMT"


class BinanceClient(VenueClient):
    """The ports PriceSource and MarketSource for Binance spot."""

    venue: ClassVar[str] = "Binance"
    categories: ClassVar[Sequence[Category]] = (Category.SPOT,)
    candles_per_request: ClassVar[int] = 1000
    request_seconds_min: ClassVar[float] = 0.05  # of weight 2; 6,000 a minute are allowed
    _base: ClassVar[str] = "/api/v3"
    _as_venue: ClassVar[Venue] = Venue.BINANCE

    async def fetch_quote(self, symbol: Symbol, category: Category) -> Quote:
        """`price`, and the answer's Date header as the venue's time.

        Binance sends no time with a price. The Date header is its clock too, in whole
        seconds; an answer without one is dated by this machine's clock.
        Raises CategoryNotListed for a category that it has not, and as PriceSource says.
        """
        self._require_listed(symbol, category)
        async with self._ask("/ticker/price", {"symbol": symbol}, (symbol, category)) as answer:
            content = self._http.json_object(answer)
            if content.get("symbol") != symbol:
                raise self._http.invalid("not the symbol that was asked for", answer)
            text = content.get("price", "")
            price = parse_price(text)
            if price is None:
                raise self._http.invalid("price is not a usable price", answer)
            return Quote(
                venue=self.venue,
                symbol=symbol,
                category=category,
                price=price,
                price_text=plain_text(text),
                upstream_time_ms=self._answered_at_ms(answer.headers),
            )

    async def fetch_time(self) -> datetime:
        """`serverTime`."""
        async with self._ask("/time", {}) as answer:
            instant = instant_of(self._http.json_object(answer).get("serverTime"))
            if instant is None:
                raise self._http.invalid("no serverTime", answer)
            return instant

    async def fetch_candles(
        self, symbol: Symbol, category: Category, interval: Interval, span: Span
    ) -> list[Candle]:
        """Closed candles, ascending; the span has at most `candles_per_request`.

        An answer without a Date header is judged by this machine's clock.
        """
        last_open = advance(span.end_at, interval, -1)
        answer, rows = await self._klines(
            symbol,
            category,
            interval,
            {"startTime": str(time_ms(span.begin_at)), "endTime": str(time_ms(last_open))},
        )
        now = instant_of(self._answered_at_ms(answer.headers))
        assert now is not None, "a clock of this millennium"
        found = closed_candles(rows, interval=interval, span=span, venue_time=now)
        if found is None:
            raise self._http.invalid("a row that is no candle", answer)
        return found

    async def fetch_first_open(
        self, symbol: Symbol, category: Category, interval: Interval
    ) -> datetime | None:
        """The oldest candle is the first from 1970 on."""
        params = {"startTime": "0", "limit": "1"}
        answer, rows = await self._klines(symbol, category, interval, params)
        if not rows:
            return None
        first = instant_of(rows[0][0])
        if first is None:
            raise self._http.invalid("a candle without a time", answer)
        return first

    async def fetch_instruments(self, category: Category) -> list[Instrument]:
        """The whole list of exchangeInfo; only what trades, where the venue can filter."""
        self._require_listed(Symbol("A"), category)
        async with self._ask(
            "/exchangeInfo",
            {"showPermissionSets": "false"} if category is Category.SPOT else {},
            bytes_max=EXCHANGE_INFO_BYTES_MAX,
        ) as answer:
            items = self._http.json_object(answer).get("symbols")
            if not isinstance(items, list):
                raise self._http.invalid("no symbols", answer)
            return readable_instruments(
                items, lambda item: _instrument(item, self._as_venue, category)
            )

    def _require_listed(self, symbol: Symbol, category: Category) -> None:
        if category not in self.categories:
            raise CategoryNotListed(self.venue, category, self.categories)
        if not is_tradeable(symbol):
            raise UnknownSymbol(symbol, category)

    async def _klines(
        self, symbol: Symbol, category: Category, interval: Interval, params: Mapping[str, str]
    ) -> tuple[Answer, list[tuple[int, list[object]]]]:
        self._require_listed(symbol, category)
        asked = {
            "symbol": symbol,
            "interval": interval.value,
            "limit": str(self.candles_per_request),
            **params,
        }
        async with self._ask("/klines", asked, (symbol, category)) as answer:
            items = self._http.json_value(answer)
            if not isinstance(items, list):
                raise self._http.invalid("not a list of candles", answer)
            return answer, [_row(item) for item in items]

    @asynccontextmanager
    async def _ask(
        self,
        path: str,
        params: Mapping[str, str],
        about: tuple[Symbol, Category] | None = None,
        bytes_max: int = RESPONSE_BYTES_MAX,
    ) -> AsyncIterator[Answer]:
        """An answer of status 200, to be read in the block; anything else is raised."""
        async with self._http.get(self._base + path, params, bytes_max=bytes_max) as answer:
            if answer.status != httpx.codes.OK:
                code = self._http.json_object(answer).get("code")
                self._raise_for_code(code, answer, about)
            yield answer

    def _raise_for_code(
        self, code: object, answer: Answer, about: tuple[Symbol, Category] | None
    ) -> None:
        if type(code) is not int:
            raise self._http.invalid("no code", answer)
        if about is not None and code in UNKNOWN_SYMBOL_CODES:
            raise UnknownSymbol(*about)
        if code in LIMIT_CODES:
            raise self._http.limited(f"code {code}", answer)
        if code in UNAVAILABLE_CODES:
            raise self._http.unavailable(f"code {code}", answer)
        raise self._http.invalid(f"code {code}", answer)

    def _answered_at_ms(self, headers: httpx.Headers) -> int:
        try:
            at = datetime.strptime(headers.get("Date", ""), HTTP_DATE).replace(tzinfo=UTC)
        except ValueError:
            return self._now_ms()
        return int(at.timestamp()) * 1000


class AsterClient(BinanceClient):
    """The same ports for AsterDEX, whose perpetual contracts are linear."""

    venue = "AsterDEX"
    categories = (Category.LINEAR,)
    candles_per_request = 1500
    request_seconds_min = 0.3  # of weight 10; 2,400 a minute are allowed
    _base = "/fapi/v3"
    _as_venue = Venue.ASTER


def _row(item: object) -> tuple[int, list[object]]:
    """Open time and six texts; a negative time where it is no such row."""
    match item:
        case [int(open_ms), first, high, low, last, volume, int(), turnover, *_]:
            return open_ms, [first, high, low, last, volume, turnover]
        case _:
            return -1, []


def _instrument(item: Mapping[str, Any], venue: Venue, category: Category) -> Instrument | None:
    rules = {rule["filterType"]: rule for rule in item["filters"]}
    lots = rules["LOT_SIZE"]
    amounts = {**rules.get("MIN_NOTIONAL", {}), **rules.get("NOTIONAL", {})}
    tick_size = first_number(rules["PRICE_FILTER"]["tickSize"])
    lot_step = first_number(lots["stepSize"])
    if tick_size is None or lot_step is None or not is_tradeable(item["symbol"]):
        return None
    return Instrument(
        venue=venue,
        category=category,
        symbol=Symbol(item["symbol"]),
        base=str(item["baseAsset"]),
        quote=str(item["quoteAsset"]),
        status=str(item["status"]),
        tick_size=tick_size,
        lot_step=lot_step,
        quantity_min=first_number(lots["minQty"]) or lot_step,
        quantity_max=first_number(rules.get("MARKET_LOT_SIZE", {}).get("maxQty"), lots["maxQty"]),
        amount_min=first_number(amounts.get("minNotional"), amounts.get("notional")),
    )
