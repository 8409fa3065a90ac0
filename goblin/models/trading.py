"""Orders, and what is written down about trading."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from goblin.decoding import Rows, wire

ACTIVE: Final = 1
CLOSED: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order; what only a closed one has is None while it is active."""

    id: int
    client_order_id: str | None = None
    symbol: str
    status: int
    """1 active, 2 closed."""
    quantity: Decimal
    buy_price: Decimal
    sell_price: Decimal | None = None
    price_change: Decimal | None = field(default=None, metadata=wire("diff"))
    cost: Decimal = field(metadata=wire("buyAggregate"))
    """What the balance fell by."""
    proceeds: Decimal | None = field(default=None, metadata=wire("sellAggregate"))
    """What the balance rose by."""
    profit: Decimal = field(metadata=wire("diffDollar"))
    """proceeds - cost once closed, else 0."""
    user_id: int
    created_at: datetime
    updated_at: datetime

    @property
    def is_active(self) -> bool:
        """Whether it can still be closed."""
        return self.status == ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Why one side of an order filled at its price."""

    side: str
    price: Decimal
    source: str
    venue_time_ms: int
    price_age_ms: int
    request_id: str
    filled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDetail(Order):
    """An order, and why it filled at its prices."""

    explain: Rows[Fill]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPreview:
    """What an order would do now; `refusal` instead of `balance_after` if it would fail."""

    symbol: str
    quantity: Decimal
    price: Decimal
    cost: Decimal
    balance_after: Decimal | None = None
    refusal: str | None = None
    refusal_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchlistEntry:
    """One watched symbol."""

    id: int
    symbol: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of the trading log; `data` is what was sent, with Decimal for fractions."""

    id: int
    symbol: str
    action: str
    data: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A strategy."""

    id: int
    name: str
    slug: str
    deleted_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStrategy:
    """Which strategy trades which symbol at which interval."""

    id: int
    symbol: str
    strategy_id: int
    interval: str = field(metadata=wire("timestamp"))
    deleted_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
