# Made by scripts/sync_client.py of goblin/aio/client.py; do not edit.
"""The whole client: the account, trading, the market, and the service itself."""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Final

from goblin.calls import PAGE_MAX, Instant, Pages, credential_change, get, read_data
from goblin.models import (
    AdminUser,
    Candle,
    Health,
    IndicatorRow,
    InstallationAudit,
    Instrument,
    MarketUpdate,
    OrderBook,
    Price,
    PublicTrades,
    Ticker,
)
from goblin.sync.listing import Listing
from goblin.sync.trading import Trading
from goblin.sync.transport import EVENT_STREAM

KNOWN_OF_UPDATE: Final = ("topic", "source", "age_ms", "venue_time_ms")
CANDLES_PAGE_MAX: Final = 10_000
"""Of one answer; longer stretches are asked for in pages that the server can fetch at once."""


class Client(Trading):
    """A client of one goblin.

    `api_key` is what POST /auth/api-keys made, or leave it out and `login`. Every change is
    sent with an idempotency key and repeated, with growing pauses, when the connection breaks
    or the server asks for patience: nothing is ever done twice.
    """

    def price(self, symbol: str, *, category: str | None = None) -> Price:
        """The venue's last price."""
        found: Price = self._get(Price, get("/market/price", symbol=symbol, category=category))
        return found

    def ticker(self, symbol: str, *, category: str | None = None) -> Ticker:
        """The state of a market."""
        call = get("/market/ticker", symbol=symbol, category=category)
        found: Ticker = self._get(Ticker, call)
        return found

    def order_book(
        self, symbol: str, *, category: str | None = None, depth: int | None = None
    ) -> OrderBook:
        """Bids and asks off the venue's stream."""
        call = get("/market/orderbook", symbol=symbol, category=category, depth=depth)
        found: OrderBook = self._get(OrderBook, call)
        return found

    def public_trades(
        self, symbol: str, *, category: str | None = None, limit: int | None = None
    ) -> PublicTrades:
        """What strangers traded last, off the venue's stream."""
        call = get("/market/trades", symbol=symbol, category=category, limit=limit)
        found: PublicTrades = self._get(PublicTrades, call)
        return found

    def candles(
        self,
        symbol: str,
        interval: str,
        *,
        begin: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
        limit: int | None = None,
    ) -> Listing[Candle]:
        """Closed candles of [begin, end), oldest first; without `begin` the last `limit`.

        Warns where candles are missing that could not be had now.
        """
        page_max = PAGE_MAX if begin is not None else CANDLES_PAGE_MAX
        call = get(
            "/market/candles",
            symbol=symbol,
            interval=interval,
            begin=begin,
            end=end,
            venue=venue,
            category=category,
        )
        return self._list(
            Pages(
                first=call,
                model=Candle,
                member="candles",
                by="cursor",
                limit=_last(begin, limit, page_max),
                page_max=page_max,
            )
        )

    def indicators(
        self,
        symbol: str,
        interval: str,
        indicator: str | Sequence[str],
        *,
        begin: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
        limit: int | None = None,
    ) -> Listing[IndicatorRow]:
        """`rsi:14`, or several, at the close of each candle; without `begin` the last `limit`."""
        call = get(
            "/market/indicators",
            symbol=symbol,
            interval=interval,
            indicator=indicator,
            begin=begin,
            end=end,
            venue=venue,
            category=category,
        )
        return self._list(
            Pages(
                first=call,
                model=IndicatorRow,
                member="rows",
                by="cursor",
                limit=_last(begin, limit, PAGE_MAX),
            )
        )

    def instruments(
        self,
        *,
        venue: str | None = None,
        category: str | None = None,
        symbol: str | None = None,
        limit: int | None = None,
    ) -> Listing[Instrument]:
        """What a venue trades, by symbol, with tick sizes and lot rules."""
        call = get("/market/instruments", venue=venue, category=category, symbol=symbol)
        return self._list(
            Pages(first=call, model=Instrument, member="instruments", by="cursor", limit=limit)
        )

    def market_stream(self, *topics: str) -> Generator[MarketUpdate, None]:
        """The latest of these topics whenever it changes, without an end: spot/BTCUSDT/ticker.

        After a broken connection it goes on with what is known then. Raises GoblinError for
        what waiting does not help against.
        """
        call = get("/market/stream", accept=EVENT_STREAM, topics=",".join(topics))
        with closing(self._stream(lambda: call)) as values:
            for updates in values:
                for update in updates:
                    known = {name: update.pop(name) for name in KNOWN_OF_UPDATE}
                    yield read_data(MarketUpdate, {"data": {**known, "data": update}}, call.name)

    def health(self) -> Health:
        """Whether the API and its database work. Raises Unavailable."""
        found: Health = self._get(Health, get("/health"))
        return found

    def users(self, *, limit: int | None = None) -> Listing[AdminUser]:
        """Everybody with an account, newest first; like what follows for administrators."""
        return self._list(
            Pages(first=get("/admin/users"), model=AdminUser, member="users", by="cursor",
                  limit=limit)
        )  # fmt: skip

    def disable_user(self, user_id: int) -> AdminUser:
        """Shut a user out at once."""
        return self._set_user(user_id, "disable")

    def enable_user(self, user_id: int) -> AdminUser:
        """Let them in again."""
        return self._set_user(user_id, "enable")

    def _set_user(self, user_id: int, what: str) -> AdminUser:
        call = credential_change("POST", f"/admin/users/{user_id}/{what}", "always")
        user: AdminUser = self._get(AdminUser, call)
        return user

    def audit_installation(self) -> InstallationAudit:
        """Recompute everybody's books."""
        found: InstallationAudit = self._get(InstallationAudit, get("/admin/audit"))
        return found


def _last(begin: Instant | None, limit: int | None, limit_max: int) -> int | None:
    """How many are wanted: without a beginning one page, which is the last."""
    if begin is not None:
        return limit
    if limit is not None and limit > limit_max:
        raise ValueError(f"the last {limit} are too many (at most {limit_max}): name `begin`")
    return PAGE_MAX if limit is None else limit
