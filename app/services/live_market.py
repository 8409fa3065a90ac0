"""What is going on at a market now: off the board, and followed for a while once asked for."""

from dataclasses import dataclass
from typing import Final

from app.domain.books import Book
from app.domain.errors import NotFound, Unavailable
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, Ticker, Topic, Trades
from app.services.board import Board, Posted
from app.services.demand import TOUCH_SECONDS, Demand
from app.services.market_data import MarketData, PricedQuote

WAIT_SECONDS: Final = 2.0
"""How long the first to ask about a market waits for the stream to begin."""

TICKER_AGE_SECONDS_MAX: Final = 10.0
"""An older ticker is not shown: the venue is asked."""

OLD_SECONDS: Final = TOUCH_SECONDS
"""What is older may have been followed no more since, and a newer one is waited for first."""


class CategoryNotStreamed(NotFound):
    """The venue streams this category in a way that goblin does not read."""

    code = "category_not_streamed"

    def __init__(self) -> None:
        super().__init__("options are not streamed: ask for category=spot, linear or inverse")


class StreamsOff(NotFound):
    """There is no stream in this installation, by its settings: asking later does not help."""

    code = "streams_off"

    def __init__(self) -> None:
        super().__init__(
            "nothing is streamed here (MARKET_STREAMS, PRICE_SOURCE): GET /market/price still works"
        )


class NotStreamedYet(Unavailable):
    """The stream has not said anything about this yet."""

    code = "not_streamed_yet"

    def __init__(self, symbol: str) -> None:
        super().__init__(
            f"the stream has not said anything about {symbol} yet: it is followed now, ask again"
        )
        self.symbol = symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A value, where it came from, and how long ago it arrived."""

    value: Ticker | Book | Trades
    source: str
    age_seconds: float


class LiveMarket:
    """Reads the board for those who ask once."""

    def __init__(self, *, board: Board, demand: Demand, market: MarketData) -> None:
        self._board = board
        self._demand = demand
        self._market = market

    async def ticker(self, symbol: Symbol, category: Category) -> Live | PricedQuote:
        """The streamed ticker if it is young, otherwise the price alone. Raises as `quote`."""
        fresh = self._board.fresh_ticker(category, symbol, age_seconds_max=TICKER_AGE_SECONDS_MAX)
        if fresh is None:
            return await self._market.quote(symbol, category)
        self._demand.touch(Topic(category, symbol, Channel.TICKER))
        return Live(value=fresh[0], source=f"{self._board.venue}:stream", age_seconds=fresh[1])

    async def latest(self, symbol: Symbol, category: Category, channel: Channel) -> Live:
        """The book or the trades as the stream told them last.

        Raises CategoryNotStreamed, StreamsOff, NotStreamedYet, and as `MarketData.quote` for a
        symbol of which nothing is known: the venue says whether it exists.
        """
        if category is Category.OPTION:
            raise CategoryNotStreamed
        if not self._board.is_fed:
            raise StreamsOff
        topic = Topic(category, symbol, channel)
        posted = self._board.get(topic)
        if posted is None:
            await self._market.quote(symbol, category)
        self._demand.touch(topic)
        if posted is None or self._board.age_seconds(posted) > OLD_SECONDS:
            posted = await self._newer(topic, posted)
        if posted is None:
            raise NotStreamedYet(symbol)
        assert isinstance(posted.value, Book | tuple), "a topic keeps its kind"
        return Live(
            value=posted.value,
            source=f"{self._board.venue}:stream",
            age_seconds=self._board.age_seconds(posted),
        )

    async def _newer(self, topic: Topic, known: Posted | None) -> Posted | None:
        """The next that arrives, or after a while what is known."""
        with self._board.follow([topic]) as following:
            if known is not None:
                following.take_now()  # what is known already
            await following.take(seconds_max=WAIT_SECONDS)
        return self._board.get(topic)
