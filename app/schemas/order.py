"""Orders on the wire; the names are the user's own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, Field

from app.domain.fills import Fill, Side
from app.domain.instruments import Symbol
from app.domain.money import format_amount
from app.domain.orders import Order, OrderId, OrderStatus
from app.domain.users import UserId
from app.schemas.common import (
    CashValue,
    ClientOrderId,
    Count,
    Identifier,
    Instant,
    Money,
    OrderSymbol,
    PositiveAmount,
    Request,
    SymbolOut,
    format_instant,
)
from app.services.trading import Preview


class OrderCreate(Request):
    """Buy this quantity at the venue's price of now."""

    symbol: OrderSymbol = Field(examples=["BTCUSDT"])
    quantity: PositiveAmount = Field(examples=["0.01"])
    client_order_id: ClientOrderId | None = None


class OrderClose(Request):
    """Sell what is held of this symbol at the venue's price of now."""

    symbol: OrderSymbol = Field(examples=["BTCUSDT"])


class OrderOut(BaseModel):
    """An order; what only a closed one has is absent while it is active."""

    id: Identifier
    client_order_id: ClientOrderId | None = None
    symbol: SymbolOut
    buy_price: Money = Field(examples=["104000.50000000000000000000"])
    sell_price: Money | None = None
    status: OrderStatus = Field(description="1 active, 2 closed", examples=[1])
    quantity: Money = Field(examples=["0.01000000000000000000"])
    user_id: Identifier
    created_at: Instant
    updated_at: Instant
    diff: Money | None = Field(None, description="sell_price - buy_price")
    buyAggregate: Money = Field(  # noqa: N815 - the wire's name
        description="What the balance fell by.", examples=["1040.00500000000000000000"]
    )
    sellAggregate: Money | None = Field(  # noqa: N815 - the wire's name
        None, description="What the balance rose by."
    )
    diffDollar: Money = Field(  # noqa: N815 - the wire's name
        description="sellAggregate - buyAggregate once closed, else 0.",
        examples=["0.00000000000000000000"],
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


def order_members(order: Order) -> dict[str, str | int]:
    """What `OrderOut.of` sends of an order, without a model: a page has a thousand of them."""
    sell_price, price_change, figures = order.sell_price, order.price_change, order.figures
    members: dict[str, str | int] = {"id": order.id}
    if order.client_order_id is not None:
        members["client_order_id"] = order.client_order_id
    members["symbol"] = order.symbol
    members["buy_price"] = format_amount(order.buy_price)
    if sell_price is not None:
        members["sell_price"] = format_amount(sell_price)
    members["status"] = order.status.value
    members["quantity"] = format_amount(order.quantity)
    members["user_id"] = order.user_id
    members["created_at"] = format_instant(order.created_at)
    members["updated_at"] = format_instant(order.updated_at)
    if price_change is not None:
        members["diff"] = format_amount(price_change)
    members["buyAggregate"] = format_amount(figures.cost)
    if figures.proceeds is not None:
        members["sellAggregate"] = format_amount(figures.proceeds)
    members["diffDollar"] = format_amount(figures.profit)
    return members


_NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CLOSED_ORDER: Final = OrderOut.of(
    Order(
        id=OrderId(1),
        user_id=UserId(1),
        epoch=1,
        symbol=Symbol("BTCUSDT"),
        buy_price=Decimal("104000.5"),
        sell_price=Decimal("105000.5"),
        quantity=Decimal("0.01"),
        status=OrderStatus.CLOSED,
        created_at=_NOW,
        updated_at=_NOW,
    )
).model_dump(mode="json", exclude_none=True)
"""The example of a closed order, its sums made by the code that makes them."""

PREVIEW: Final = {
    name: CLOSED_ORDER[source]
    for name, source in {
        "symbol": "symbol", "quantity": "quantity", "price": "buy_price", "cost": "buyAggregate",
    }.items()
} | {"balance_after": "8959.99500000000000000000"}  # fmt: skip
"""The example of a preview by somebody with 10,000."""


class FillOut(BaseModel):
    """Why one side of an order filled at its price."""

    side: Side = Field(examples=["buy"])
    price: Money = Field(examples=["104000.50000000000000000000"])
    source: str = Field(
        description="The venue that named the price; with `:stream` when the price came by its "
        "stream, and without when it was asked for.",
        examples=["Bybit:stream"],
    )
    venue_time_ms: int = Field(
        description="The venue's clock, milliseconds since 1970 UTC.", examples=[1748623140000]
    )
    price_age_ms: int = Field(
        description="From asking the venue until the order was decided.", examples=[84]
    )
    request_id: str = Field(examples=["3f2a9c1be07d4a55"])
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

    symbol: SymbolOut
    quantity: Money
    price: Money
    cost: CashValue
    balance_after: Money | None = None
    refusal: str | None = Field(
        None,
        description="The text of the error that it would get.",
        examples=["insufficient balance"],
    )
    refusal_code: str | None = Field(None, examples=["insufficient_balance"])

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
    unique_symbols: list[SymbolOut]


class PageMeta(BaseModel):
    """Which part of how many."""

    total_count: Count
    limit: int = Field(examples=[1000])
    offset: int = Field(examples=[0])
