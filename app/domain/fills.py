"""How an order was executed, and why at that price."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.orders import OrderId


class Side(StrEnum):
    """Which way an order was executed."""

    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """The execution of one side of an order.

    `source` is the venue, with `:stream` when its price came by the stream and was not asked
    for; `venue_time_ms` is its clock (milliseconds since 1970 UTC), and `price_age_ms` the time
    from asking the venue, or from the price's arrival, until the order was decided.
    """

    order_id: OrderId
    side: Side
    price: Decimal
    source: str
    venue_time_ms: int
    price_age_ms: int
    request_id: str
    filled_at: datetime | None = None
