"""What the services need from outside, as the services see it."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NoReturn, Protocol, TypeAlias

from app.domain.candles import Candle, Interval, Span
from app.domain.circuits import VenueState
from app.domain.instruments import Category, Instrument, Symbol
from app.domain.live import LiveValue, Topic
from app.domain.quotes import Quote


class PriceSource(Protocol):
    """A venue that can be asked for the last price of one symbol.

    Raises `UnknownSymbol` for a symbol that the venue does not list, `CategoryNotListed`
    for a category that it does not offer at all, `UpstreamUnavailable` when it could not be
    asked, its leaf `PriceUnavailable` while it is left alone, and `UpstreamInvalid` when its
    answer is not a price that an order could be booked at.
    """

    @property
    def venue(self) -> str:
        """The venue's display name, as in error texts: `Bybit`."""
        ...

    @property
    def state(self) -> VenueState:
        """Whether the venue is asked at present, and since when."""
        ...

    async def fetch_quote(self, symbol: Symbol, category: Category) -> Quote:
        """Ask the venue now. No caching, no retry: that is the caller's decision."""
        ...


class InstrumentSource(Protocol):
    """A venue that can be asked for what it trades.

    Raises `UpstreamUnavailable` and `UpstreamInvalid` as PriceSource does.
    """

    @property
    def venue(self) -> str:
        """The venue's display name."""
        ...

    @property
    def categories(self) -> Sequence[Category]:
        """What it trades and has candles of."""
        ...

    async def fetch_instruments(self, category: Category) -> list[Instrument]:
        """Everything that the category trades now."""
        ...


class MarketSource(InstrumentSource, Protocol):
    """A venue that can be asked for its past too. Raises `UnknownSymbol` as well."""

    @property
    def candles_per_request(self) -> int:
        """The most that fetch_candles may be asked for at once."""
        ...

    @property
    def request_seconds_min(self) -> float:
        """How far apart the requests of a long download are, to stay within its limits."""
        ...

    async def fetch_time(self) -> datetime:
        """The venue's clock, which decides what is closed."""
        ...

    async def fetch_candles(
        self, symbol: Symbol, category: Category, interval: Interval, span: Span
    ) -> list[Candle]:
        """The closed candles that open in the span, ascending; fewer where the venue has none."""
        ...

    async def fetch_first_open(
        self, symbol: Symbol, category: Category, interval: Interval
    ) -> datetime | None:
        """When the oldest candle that the venue has opens; None while there is none."""
        ...


class HearValue(Protocol):
    """Whoever is told what a stream says. It returns at once and does not raise."""

    def __call__(self, topic: Topic, value: LiveValue, *, received_at: float) -> None:
        """`received_at` is monotonic, in seconds."""
        ...


class MarketStream(Protocol):
    """A venue that tells what is new by itself."""

    def want(self, topics: Collection[Topic]) -> None:
        """Follow these from now on, and nothing else."""
        ...

    async def run(self) -> NoReturn:
        """Follow until cancelled; a venue that is away is waited for."""
        ...


OpenStream: TypeAlias = Callable[[HearValue], MarketStream]
"""Makes a stream that tells what it hears."""
