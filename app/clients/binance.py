"""Binance spot public market data: the last price of one symbol."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import httpx

from app.clients.venue_http import DEFAULT_PAUSES, Answer, Pauses, VenueHttp, wall_clock_ms
from app.domain.circuits import VenueState
from app.domain.instruments import (
    Category,
    CategoryNotListed,
    Symbol,
    UnknownSymbol,
    is_tradeable,
)
from app.domain.quotes import Quote, parse_price, plain_text

PRICE_PATH: Final = "/api/v3/ticker/price"

UNKNOWN_SYMBOL_CODES: Final = frozenset({-1121, -1100})
"""-1100 is an illegal character or length; the symbol is all that we send."""

LIMIT_CODES: Final = frozenset({-1003})
UNAVAILABLE_CODES: Final = frozenset({-1000, -1001, -1006, -1007, -1008})

HTTP_DATE: Final = "%a, %d %b %Y %H:%M:%S GMT"


class BinanceClient:
    """The port PriceSource over `GET /api/v3/ticker/price`, which is spot only.

    `http` comes from `venue_http_client` and stays the caller's to close. A call takes at
    most `timeout_seconds`, connecting and waiting for a free connection included.
    """

    venue: Final = "Binance"

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        timeout_seconds: float,
        pauses: Pauses = DEFAULT_PAUSES,
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._now_ms = now_ms
        self._http = VenueHttp(
            http,
            venue=self.venue,
            timeout_seconds=timeout_seconds,
            pauses=pauses,
            monotonic=monotonic,
            now_ms=now_ms,
        )

    @property
    def state(self) -> VenueState:
        """Whether the venue is asked at present."""
        return self._http.state

    async def fetch_quote(self, symbol: Symbol, category: Category) -> Quote:
        """`price`, and the answer's Date header as the venue's time.

        Binance sends no time with a price. The Date header is its clock too, in whole
        seconds; an answer without one is dated by this machine's clock.
        Raises CategoryNotListed for anything but spot, and as PriceSource says.
        """
        if category is not Category.SPOT:
            raise CategoryNotListed(self.venue, category)
        if not is_tradeable(symbol):
            raise UnknownSymbol(symbol, category)
        async with self._http.get(PRICE_PATH, {"symbol": symbol}) as answer:
            return self._quote(answer, symbol, category)

    def _quote(self, answer: Answer, symbol: Symbol, category: Category) -> Quote:
        content = self._http.json_object(answer)
        if answer.status != httpx.codes.OK:
            self._raise_for_code(content.get("code"), answer, symbol, category)
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

    def _raise_for_code(
        self, code: object, answer: Answer, symbol: Symbol, category: Category
    ) -> None:
        if type(code) is not int:
            raise self._http.invalid("no code", answer)
        if code in UNKNOWN_SYMBOL_CODES:
            raise UnknownSymbol(symbol, category)
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
