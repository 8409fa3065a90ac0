"""Quotes: off the board or asked for, young enough, and once however many want them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.domain.circuits import VenueState
from app.domain.errors import GoblinError, Unavailable, UpstreamUnavailable
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, Ticker, Topic
from app.domain.quotes import Quote, plain_text
from app.services.board import Board
from app.services.demand import Demand
from app.services.ports import PriceSource

SYMBOLS_REMEMBERED_MAX: Final = 1000
CALLS_RUNNING_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedQuote:
    """A quote and its age: seconds from before the venue was asked until it was handed out.

    Of a streamed one: seconds since it arrived.
    """

    quote: Quote
    age_seconds: float
    is_streamed: bool = False

    @property
    def source(self) -> str:
        """What is recorded with a fill: `Bybit`, or `Bybit:stream`."""
        return f"{self.quote.venue}:stream" if self.is_streamed else self.quote.venue


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One question to the venue, running or answered. Failed ones are forgotten."""

    begun_at: float
    task: asyncio.Task[Quote]


Asked = Callable[[str, str, float], None]
"""Told of each call: the venue, answered or the code of the error, and the seconds it took."""


def _tell_nobody(_: str, __: str, ___: float) -> None:
    """For those who do not measure."""


class MarketData:
    """The one place that everybody gets prices from, quotes and fills alike.

    The rule: nobody is given the answer to a question that was put to the venue
    `price_age_seconds_max` or more before they asked. Within that, a running call is shared
    and a finished answer is used again. So a quote is never older than the maximum plus the
    time that this one call took, which even the first to ask has to wait; `age_seconds` says
    what it came to. With a maximum of 0 every caller gets a call of their own.

    A price on the board that arrived less than the maximum ago is as good, and costs no call.
    What was quoted once is wanted on the board for a while, so that the next quote is there.

    An error goes to all who wait for it and to nobody later. A caller who leaves disturbs
    nobody: the call runs on for the others, or for the next to ask.
    """

    def __init__(
        self,
        source: PriceSource,
        *,
        price_age_seconds_max: float,
        monotonic: Callable[[], float],
        asked: Asked = _tell_nobody,
        board: Board | None = None,
        demand: Demand | None = None,
        symbols_remembered_max: int = SYMBOLS_REMEMBERED_MAX,
        calls_running_max: int = CALLS_RUNNING_MAX,
    ) -> None:
        assert price_age_seconds_max >= 0, "settings check it"
        self._source = source
        self._price_age_seconds_max = price_age_seconds_max
        self._monotonic = monotonic
        self._asked = asked
        assert board is None or board.venue == source.venue, "one venue's prices, not two"
        self._board = board
        self._demand = demand
        self._symbols_remembered_max = symbols_remembered_max
        self._calls_running_max = calls_running_max
        self._calls: dict[tuple[Symbol, Category], _Call] = {}  # the oldest first
        self._running: set[asyncio.Task[Quote]] = set()
        self._told: dict[tuple[Symbol, Category], tuple[Ticker, Quote]] = {}
        """The last quote of each streamed symbol: most orders fill at one that another had."""
        self._is_closed = False

    @property
    def venue_state(self) -> VenueState:
        """Whether the venue is asked at present, and since when."""
        return self._source.state

    async def quote(self, symbol: Symbol, category: Category) -> PricedQuote:
        """The last price, at most `price_age_seconds_max` old when asked for.

        Raises as PriceSource says, UpstreamUnavailable also when too many calls are running,
        and Unavailable once closed.
        """
        if self._is_closed:
            raise _closed()
        streamed = self._streamed(symbol, category)
        if streamed is not None:
            return streamed
        call = self._calls.get((symbol, category))
        if call is None or self._monotonic() - call.begun_at >= self._price_age_seconds_max:
            call = self._begin(symbol, category)
        if not call.task.done():
            # Unlike awaiting the task, this cancels nothing when the caller is cancelled.
            await asyncio.wait([call.task])
        if call.task.cancelled():
            raise _closed()
        quote = call.task.result()
        if self._demand is not None:
            self._demand.touch(Topic(category, symbol, Channel.TICKER))
        return PricedQuote(quote=quote, age_seconds=self._monotonic() - call.begun_at)

    def known(self, symbol: Symbol, category: Category) -> PricedQuote | None:
        """What `quote` would answer without asking the venue; None where it would ask."""
        streamed = self._streamed(symbol, category)
        if streamed is not None:
            return streamed
        call = self._calls.get((symbol, category))
        if call is None or not call.task.done() or call.task.cancelled():
            return None
        age_seconds = self._monotonic() - call.begun_at
        if age_seconds >= self._price_age_seconds_max or call.task.exception() is not None:
            return None
        return PricedQuote(quote=call.task.result(), age_seconds=age_seconds)

    async def aclose(self) -> None:
        """Cancel the running calls; whoever waits for one is told Unavailable."""
        self._is_closed = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _streamed(self, symbol: Symbol, category: Category) -> PricedQuote | None:
        if self._board is None:
            return None
        fresh = self._board.fresh_ticker(
            category, symbol, age_seconds_max=self._price_age_seconds_max
        )
        if fresh is None:
            return None
        ticker, age_seconds = fresh
        if self._demand is not None:
            self._demand.touch(Topic(category, symbol, Channel.TICKER))
        last = self._told.get((symbol, category))
        if last is None or last[0] is not ticker:
            quote = Quote(
                venue=self._board.venue,
                symbol=symbol,
                category=category,
                price=ticker.last_price,
                price_text=plain_text(ticker.price_text),
                upstream_time_ms=ticker.venue_time_ms,
            )
            last = self._told[symbol, category] = (ticker, quote)
            if len(self._told) > self._symbols_remembered_max:
                del self._told[next(iter(self._told))]
        return PricedQuote(quote=last[1], age_seconds=age_seconds, is_streamed=True)

    def _begin(self, symbol: Symbol, category: Category) -> _Call:
        if len(self._running) >= self._calls_running_max:
            raise UpstreamUnavailable(self._source.venue)
        begun_at = self._monotonic()
        task = asyncio.create_task(self._ask(symbol, category), name=f"quote {category} {symbol}")
        self._running.add(task)
        task.add_done_callback(self._end)
        call = _Call(begun_at=begun_at, task=task)
        self._calls.pop((symbol, category), None)
        self._calls[symbol, category] = call
        if len(self._calls) > self._symbols_remembered_max:
            del self._calls[next(iter(self._calls))]
        return call

    async def _ask(self, symbol: Symbol, category: Category) -> Quote:
        try:
            return await self._fetch(symbol, category)
        except BaseException:
            # Forgotten before anybody else runs, so that nobody joins what has failed;
            # a younger call that took its place stays.
            call = self._calls.get((symbol, category))
            if call is not None and call.task is asyncio.current_task():
                del self._calls[symbol, category]
            raise

    async def _fetch(self, symbol: Symbol, category: Category) -> Quote:
        began_at = self._monotonic()
        outcome = "abandoned"
        try:
            quote = await self._source.fetch_quote(symbol, category)
            outcome = "answered"
        except GoblinError as error:
            outcome = error.code
            raise
        finally:
            self._asked(self._source.venue, outcome, self._monotonic() - began_at)
        return quote

    def _end(self, task: asyncio.Task[Quote]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even if all who waited have left


def _closed() -> Unavailable:
    return Unavailable("goblin is shutting down")
