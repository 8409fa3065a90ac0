"""What statistics are made of: one epoch's cash, movement by movement, and its orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from app.domain.candles import Interval
from app.domain.errors import Refused
from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.money import cash_value
from app.domain.orders import OrderId
from app.domain.statistics.marks import Mark

MOVEMENTS_MAX: Final = 20_000
"""Movements of cash that one answer may be made of: ten thousand orders."""


class TimeRangeEmpty(Refused):
    """No time lies between both ends."""

    code = "time_range_empty"

    def __init__(self) -> None:
        super().__init__("from has to lie before to, and in the past")


class TooManyMovements(Refused):
    """So many movements are not added up in one request."""

    code = "too_many_movements"

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} movements of cash lie in this time, and at most {MOVEMENTS_MAX} are "
            "evaluated at once: ask for a shorter one with from and to"
        )
        self.count = count


def check_count(count: int) -> None:
    """Raise TooManyMovements for more than one answer is made of."""
    if count > MOVEMENTS_MAX:
        raise TooManyMovements(count)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order that is held, or was when a history begins."""

    id: OrderId
    symbol: Symbol
    opened_at: datetime
    buy_price: Decimal
    quantity: Decimal

    @property
    def cost(self) -> Decimal:
        """What the balance fell by when it was opened."""
        return cash_value(self.buy_price, self.quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """An entry of the cash account: `amount` is signed. Orders name themselves and the price."""

    at: datetime
    cause: Cause
    amount: Decimal
    order: OpenOrder | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CashSpan:
    """The cash account's entries in [begin_at, end_at): versions (begin, end]."""

    account_id: int
    opened_at: datetime
    begin_at: datetime
    end_at: datetime
    cash_at_begin: Decimal
    begin_version: int
    end_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One epoch's cash in [begin_at, end_at), in order, and what there was before it.

    `marks` are in order too, at the ends of candles of `interval`; those until `begin_at` say
    what is worth how much then.
    """

    begin_at: datetime
    end_at: datetime
    cash_at_begin: Decimal
    open_at_begin: Sequence[OpenOrder]
    movements: Sequence[Movement]
    interval: Interval = Interval.DAY
    marks: Sequence[Mark] = ()

    def first_opened_at(self, symbol: Symbol | None) -> dict[Symbol, datetime]:
        """When each symbol was first bought, or only the one, of what is in this history."""
        found: dict[Symbol, datetime] = {}
        moved = [movement.order for movement in self.movements]
        for order in (*self.open_at_begin, *moved):
            if order is not None and symbol in {None, order.symbol}:
                found[order.symbol] = min(found.get(order.symbol, order.opened_at), order.opened_at)
        return found
