"""What a report is made of: what the server answered, read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from goblin.models import Candle, LedgerEntry, Order, Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One side of an order, as it was filled.

    `venue_at` is the venue's time of the price, which is where it stands among candles; under
    a replayed market that is another time than the server's own.
    """

    order_id: int
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    venue_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Executions of one symbol and the candles around them.

    `missing` says why candles are not there, `left_out` how many older executions are not.
    """

    symbol: str
    interval: str
    executions: Sequence[Execution]
    candles: Sequence[Candle] = ()
    missing: str | None = None
    left_out: int = 0

    @property
    def title(self) -> str:
        """What its chart shows."""
        shown = f"candles of {self.interval}" if self.candles else "fills without candles"
        return f"{self.symbol}, {shown}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A strategy that is assigned to a symbol at an interval."""

    strategy: str
    symbol: str
    interval: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything that one report shows.

    Entries are those of the cash account in the time of the statistics, oldest first; orders
    all that were open or closed in it, as they stood at its end.
    """

    account: str
    symbol: str | None
    statistics: Statistics
    orders: Sequence[Order]
    entries: Sequence[LedgerEntry]
    markets: Sequence[Market] = ()
    markets_left_out: Sequence[str] = ()
    """Symbols with executions that are not drawn."""
    assignments: Sequence[Assignment] = ()
