"""Paper orders: bought whole at one price, closed whole at one price.

An order moves cash twice. Each movement is `cash_value(price, quantity)`, rounded once, and
every figure that an order shows is made of those two booked amounts, so that the profit it
shows is the profit that the balance saw, to the last digit.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple, NewType

from app.domain.errors import Conflict, NotFound, Refused
from app.domain.instruments import Symbol
from app.domain.money import ZERO, cash_value, is_positive_amount, subtract
from app.domain.users import UserId

OrderId = NewType("OrderId", int)


class OrderStatus(IntEnum):
    """As the table holds it and the wire shows it."""

    ACTIVE = 1
    CLOSED = 2


class Figures(NamedTuple):
    """What an order moved: see Order."""

    cost: Decimal
    proceeds: Decimal | None
    profit: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A bought quantity, still held (active) or sold again (closed)."""

    id: OrderId
    user_id: UserId
    epoch: int
    client_order_id: str | None = None
    symbol: Symbol
    status: OrderStatus
    quantity: Decimal
    buy_price: Decimal
    sell_price: Decimal | None
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        assert is_positive_amount(self.quantity), "the schema bounds every quantity"
        assert is_positive_amount(self.buy_price), "the schema bounds every price"
        assert (self.status is OrderStatus.CLOSED) == (self.sell_price is not None)

    @property
    def cost(self) -> Decimal:
        """What the balance fell by when this order was opened."""
        return cash_value(self.buy_price, self.quantity)

    @property
    def proceeds(self) -> Decimal | None:
        """What the balance rose by when this order was closed; None while it is active."""
        return None if self.sell_price is None else cash_value(self.sell_price, self.quantity)

    @property
    def price_change(self) -> Decimal | None:
        """Sell price - buy price, exact; None while the order is active."""
        return None if self.sell_price is None else subtract(self.sell_price, self.buy_price)

    @property
    def profit(self) -> Decimal:
        """Proceeds - cost: what the balance gained by both movements; 0 while active.

        This is (sell - buy) x quantity wherever that has at most 20 decimals. Where it has
        more, the two movements were rounded when they were booked and this is their
        difference, not a third rounding that no balance ever saw.
        """
        return self.figures.profit

    @property
    def figures(self) -> "Figures":
        """Cost, proceeds and profit, each computed once: a page shows a thousand of them."""
        cost, proceeds = self.cost, self.proceeds
        return Figures(cost, proceeds, ZERO if proceeds is None else subtract(proceeds, cost))


class ActiveOrderExists(Refused):
    """One account holds at most one active order per symbol."""

    code = "rejection"

    def __init__(self, symbol: Symbol) -> None:
        super().__init__("rejection")
        self.symbol = symbol


class OrderNotFound(Refused):
    """There is no active order for this symbol to close."""

    code = "order_not_found"

    def __init__(self, symbol: Symbol) -> None:
        super().__init__("order not found")
        self.symbol = symbol


class OrderMissing(NotFound):
    """The caller has no order with this id."""

    code = "order_missing"

    def __init__(self, order_id: object) -> None:
        super().__init__(f"Order with id {order_id} not found")
        self.order_id = order_id


class ClientOrderIdUsed(Conflict):
    """A client order id is unique for ever, and an older order has this one."""

    code = "client_order_id_used"

    def __init__(self, client_order_id: str) -> None:
        super().__init__("this client_order_id belongs to an earlier order: choose another")
        self.client_order_id = client_order_id


class OrderSymbolUnknown(Refused):
    """An order was sent for a symbol that the venue does not list."""

    code = "unknown_symbol"

    def __init__(self, symbol: Symbol) -> None:
        super().__init__("unknown symbol")
        self.symbol = symbol
