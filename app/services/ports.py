"""What the services need from outside, as the services see it."""

from typing import Protocol

from app.domain.circuits import VenueState
from app.domain.instruments import Category, Symbol
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
