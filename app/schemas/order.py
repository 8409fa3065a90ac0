"""Orders on the wire; the names are the user's own."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from app.domain.fills import Fill, Side
from app.domain.orders import Order, OrderStatus
from app.schemas.common import ClientOrderId, Instant, Money, OrderSymbol, PositiveAmount, Request
from app.services.trading import Preview


class OrderCreate(Request):
    """Buy this quantity at the venue's price of now."""

    symbol: OrderSymbol = Field(examples=["BTCUSDT"])
    quantity: PositiveAmount = Field(examples=["0.25"])
    client_order_id: ClientOrderId | None = None


class OrderClose(Request):
    """Sell what is held of this symbol at the venue's price of now."""

    symbol: OrderSymbol = Field(examples=["BTCUSDT"])


class OrderOut(BaseModel):
    """An order; what only a closed one has is absent while it is active."""

    id: int
    client_order_id: str | None = None
    symbol: str
    buy_price: Money
    sell_price: Money | None = None
    status: OrderStatus = Field(description="1 active, 2 closed")
    quantity: Money
    user_id: int
    created_at: Instant
    updated_at: Instant
    diff: Money | None = Field(None, description="sell_price - buy_price")
    buyAggregate: Money = Field(description="What the balance fell by.")  # noqa: N815
    sellAggregate: Money | None = Field(  # noqa: N815
        None, description="What the balance rose by."
    )
    diffDollar: Money = Field(  # noqa: N815
        description="sellAggregate - buyAggregate once closed, else 0."
    )

    @classmethod
    def of(cls, order: Order) -> "OrderOut":
        """The wire form of an order."""
        return cls(
            id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            buy_price=order.buy_price,
            sell_price=order.sell_price,
            status=order.status,
            quantity=order.quantity,
            user_id=order.user_id,
            created_at=order.created_at,
            updated_at=order.updated_at,
            diff=order.price_change,
            buyAggregate=order.cost,
            sellAggregate=order.proceeds,
            diffDollar=order.profit,
        )


class FillOut(BaseModel):
    """Why one side of an order filled at its price."""

    side: Side
    price: Money
    source: str = Field(description="The venue that named the price.")
    venue_time_ms: int = Field(description="The venue's clock, milliseconds since 1970 UTC.")
    price_age_ms: int = Field(description="From asking the venue until the order was decided.")
    request_id: str
    filled_at: Instant

    @classmethod
    def of(cls, fill: Fill) -> "FillOut":
        """The wire form of a fill."""
        assert fill.filled_at is not None, "it was read from the database"
        return cls(
            side=fill.side,
            price=fill.price,
            source=fill.source,
            venue_time_ms=fill.venue_time_ms,
            price_age_ms=fill.price_age_ms,
            request_id=fill.request_id,
            filled_at=fill.filled_at,
        )


class OrderDetail(OrderOut):
    """An order, and why it filled at its prices; older orders have no explanation."""

    explain: list[FillOut]

    @classmethod
    def explained(cls, order: Order, fills: Sequence[Fill]) -> "OrderDetail":
        """The wire form of an order with its fills."""
        shown = OrderOut.of(order)
        return cls(**dict(shown), explain=[FillOut.of(fill) for fill in fills])


class OrderPreview(BaseModel):
    """What an order would do now; `refusal` instead of `balance_after` if it would fail."""

    symbol: str
    quantity: Money
    price: Money
    cost: Money
    balance_after: Money | None = None
    refusal: str | None = Field(None, description="The text of the error that it would get.")
    refusal_code: str | None = None

    @classmethod
    def of(cls, preview: Preview) -> "OrderPreview":
        """The wire form of a preview."""
        refusal = preview.refusal
        return cls(
            symbol=preview.priced.quote.symbol,
            quantity=preview.quantity,
            price=preview.priced.quote.price,
            cost=preview.cost,
            balance_after=preview.balance_after,
            refusal=None if refusal is None else refusal.message,
            refusal_code=None if refusal is None else refusal.code,
        )


class OrderList(BaseModel):
    """A page of orders, and every symbol the user ever ordered."""

    orders: list[OrderOut]
    unique_symbols: list[str]


class PageMeta(BaseModel):
    """Which part of how many."""

    total_count: int
    limit: int
    offset: int
