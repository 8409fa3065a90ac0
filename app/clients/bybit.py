"""Bybit v5 public market data: the last price of one symbol."""

import time
from collections.abc import Callable
from typing import Final

import httpx

from app.clients.venue_http import DEFAULT_PAUSES, Answer, Pauses, VenueHttp, wall_clock_ms
from app.domain.circuits import VenueState
from app.domain.instruments import Category, Symbol, UnknownSymbol, is_tradeable
from app.domain.quotes import Quote, parse_price, plain_text

TICKERS_PATH: Final = "/v5/market/tickers"

OK: Final = 0
UNKNOWN_SYMBOL_CODES: Final = frozenset({10001, 10029, 170121})
"""10001 is any wrong parameter; of ours only the symbol can be wrong."""

LIMIT_CODES: Final = frozenset({10006, 10018})
UNAVAILABLE_CODES: Final = frozenset({429, 10000, 10008, 10009, 10010, 10016, 10024, 10027})
"""Busy, failing, or not serving this address. Bybit sends these with HTTP status 200."""

TIME_MS_LIMIT: Final = 253_402_300_800_000
"""The year 10000: what no datetime holds."""


class BybitClient:
    """The port PriceSource over `GET /v5/market/tickers`, for all four categories.

    `http` comes from `venue_http_client` and stays the caller's to close. A call takes at
    most `timeout_seconds`, connecting and waiting for a free connection included.
    """

    venue: Final = "Bybit"

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        timeout_seconds: float,
        pauses: Pauses = DEFAULT_PAUSES,
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
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
        """`lastPrice` and the envelope's `time`, which is not compared with our clock.

        (The replay exchange lives in another year, and a sandbox's clock may be wrong.)
        Raises as PriceSource says.
        """
        if not is_tradeable(symbol):
            raise UnknownSymbol(symbol, category)
        params = {"category": category.value, "symbol": symbol}
        async with self._http.get(TICKERS_PATH, params) as answer:
            return self._quote(answer, symbol, category)

    def _quote(self, answer: Answer, symbol: Symbol, category: Category) -> Quote:
        if answer.status != httpx.codes.OK:
            raise self._http.invalid("unexpected status", answer)
        envelope = self._http.json_object(answer)
        self._raise_for_code(envelope.get("retCode"), answer, symbol, category)
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

    def _raise_for_code(
        self, code: object, answer: Answer, symbol: Symbol, category: Category
    ) -> None:
        if type(code) is not int:  # False == 0
            raise self._http.invalid("no retCode", answer)
        if code in UNKNOWN_SYMBOL_CODES:
            raise UnknownSymbol(symbol, category)
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
