"""What an account must be after each request, worked out anew and without the application."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Literal

import httpx

MONEY = Context(prec=100, rounding=ROUND_HALF_UP)
LIMIT = Decimal(10) ** 10
UNIT = Decimal("1e-20")

Kind = Literal["deposit", "withdraw", "buy", "sell", "reset"]


@dataclass(frozen=True)
class Change:
    """One request. `amount` is cash, or the quantity of an order."""

    kind: Kind
    symbol: str
    amount: Decimal
    client_order_id: str | None = None

    def request(self) -> dict[str, Any]:
        match self.kind:
            case "buy":
                body = {"symbol": self.symbol, "quantity": spelled(self.amount)}
                if self.client_order_id is not None:
                    body["client_order_id"] = self.client_order_id
                return {"method": "POST", "url": "/order", "json": body}
            case "sell":
                return {"method": "DELETE", "url": "/order", "json": {"symbol": self.symbol}}
            case "reset":
                body = {"balance": spelled(self.amount)}
                return {"method": "POST", "url": "/users/me/reset", "json": body}
            case "deposit" | "withdraw":
                body = {"amount": spelled(self.amount)}
                return {"method": "POST", "url": f"/users/me/{self.kind}", "json": body}


@dataclass(frozen=True)
class Position:
    id: int
    symbol: str
    quantity: Decimal
    buy_price: Decimal
    client_order_id: str | None
    sell_price: Decimal | None = None

    def shown(self) -> dict[str, Any]:
        """As GET /order shows it, but for whose it is and when it was."""
        cost = value(self.buy_price, self.quantity)
        fields: dict[str, Any] = {
            "id": self.id,
            "symbol": self.symbol,
            "quantity": spelled(self.quantity),
            "buy_price": spelled(self.buy_price),
            "buyAggregate": spelled(cost),
            "status": 1,
            "diffDollar": spelled(Decimal(0)),
        }
        if self.client_order_id is not None:
            fields["client_order_id"] = self.client_order_id
        if self.sell_price is not None:
            proceeds = value(self.sell_price, self.quantity)
            fields |= {
                "status": 2,
                "sell_price": spelled(self.sell_price),
                "sellAggregate": spelled(proceeds),
                "diff": spelled(MONEY.subtract(self.sell_price, self.buy_price)),
                "diffDollar": spelled(MONEY.subtract(proceeds, cost)),
            }
        return fields


@dataclass(frozen=True)
class Account:
    """One user, as the contract says they are."""

    balance: Decimal
    epoch: int = 1
    events: int = 1
    active: tuple[Position, ...] = ()
    closed: tuple[Position, ...] = ()
    ordered_ids: frozenset[str] = frozenset()

    def after(
        self, change: Change, answer: httpx.Response, prices: Mapping[str, Decimal]
    ) -> "Account | None":
        """The account after this answer to this change; None when it is the wrong answer."""
        refused = refusals(self, change, prices)
        body = answer.json()
        if refused:
            is_right = (answer.status_code, body.get("meta", {}).get("code")) in refused
            return self if is_right else None
        if not answer.is_success:
            return None
        told = replace(self, events=self.events + 1)
        match change.kind:
            case "buy":
                return bought(told, change, answer, prices)
            case "sell":
                return sold(told, change, answer, prices)
            case "reset":
                told = replace(
                    told, balance=change.amount, epoch=self.epoch + 1, active=(), closed=()
                )
            case "deposit":
                told = replace(told, balance=MONEY.add(self.balance, change.amount))
            case "withdraw":
                told = replace(told, balance=MONEY.subtract(self.balance, change.amount))
        is_right = answer.status_code == 200 and body["data"]["balance"] == spelled(told.balance)
        return told if is_right else None


def refusals(
    account: Account, change: Change, prices: Mapping[str, Decimal]
) -> set[tuple[int, str]]:
    """Every refusal that would be right; more than one rule may be broken at once."""
    held = [position for position in account.active if position.symbol == change.symbol]
    price = prices[change.symbol]
    broken: dict[tuple[int, str], bool] = {}
    match change.kind:
        case "deposit":
            broken[400, "balance_limit_exceeded"] = is_too_much(account.balance, change.amount)
        case "withdraw":
            broken[400, "insufficient_balance"] = account.balance < change.amount
        case "buy":
            broken[400, "insufficient_balance"] = account.balance < value(price, change.amount)
            broken[400, "rejection"] = bool(held)
            broken[409, "client_order_id_used"] = change.client_order_id in account.ordered_ids
        case "sell":
            broken[400, "order_not_found"] = not held
            broken[400, "balance_limit_exceeded"] = bool(held) and is_too_much(
                account.balance, value(price, held[0].quantity)
            )
        case "reset":
            pass
    return {refusal for refusal, is_broken in broken.items() if is_broken}


def is_too_much(balance: Decimal, added: Decimal) -> bool:
    return MONEY.add(balance, added) >= LIMIT


def bought(
    account: Account, change: Change, answer: httpx.Response, prices: Mapping[str, Decimal]
) -> Account | None:
    data = answer.json()["data"]
    position = Position(
        id=data["id"],
        symbol=change.symbol,
        quantity=change.amount,
        buy_price=prices[change.symbol],
        client_order_id=change.client_order_id,
    )
    if answer.status_code != 201 or without_owner(data) != position.shown():
        return None
    cost = value(position.buy_price, position.quantity)
    new_id = set() if change.client_order_id is None else {change.client_order_id}
    return replace(
        account,
        balance=MONEY.subtract(account.balance, cost),
        active=(position, *account.active),
        ordered_ids=account.ordered_ids | new_id,
    )


def sold(
    account: Account, change: Change, answer: httpx.Response, prices: Mapping[str, Decimal]
) -> Account | None:
    (held,) = [position for position in account.active if position.symbol == change.symbol]
    price = prices[change.symbol]
    closed = replace(held, sell_price=price)
    if answer.status_code != 200 or without_owner(answer.json()["data"]) != closed.shown():
        return None
    return replace(
        account,
        balance=MONEY.add(account.balance, value(price, held.quantity)),
        active=tuple(position for position in account.active if position is not held),
        closed=tuple(by_age((closed, *account.closed))),
    )


def by_age(positions: Iterable[Position]) -> tuple[Position, ...]:
    """The youngest first."""
    return tuple(sorted(positions, key=lambda position: -position.id))


def value(price: Decimal, quantity: Decimal) -> Decimal:
    return MONEY.quantize(MONEY.multiply(price, quantity), UNIT)


def spelled(amount: Decimal) -> str:
    return format(MONEY.quantize(amount, UNIT), "f")


def without_owner(shown: dict[str, Any]) -> dict[str, Any]:
    return {
        name: member
        for name, member in shown.items()
        if name not in {"user_id", "created_at", "updated_at"}
    }
