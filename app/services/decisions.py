"""What a buy, a close, a deposit or a withdrawal does to an account, or why it is refused.

Pure: everything that is known comes in as `Books`, and nothing is written here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias, assert_never

from app.domain.audit import LedgerStopped
from app.domain.events import EventType
from app.domain.fills import Fill, Side
from app.domain.instruments import Symbol
from app.domain.ledger import (
    CASH_ASSET,
    Account,
    AccountKey,
    AccountKind,
    Cause,
    Transfer,
    buying,
    cash_of,
    funding_of,
    holding_of,
    selling,
)
from app.domain.money import ZERO, cash_value
from app.domain.orders import (
    ActiveOrderExists,
    ClientOrderIdUsed,
    Order,
    OrderId,
    OrderNotFound,
    OrderStatus,
)
from app.domain.users import LockedUser, User, UserId, credit, debit
from app.services.booking import LedgerDisagrees, Movement
from app.services.market_data import PricedQuote


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Buy `quantity` of `symbol` at the price of `priced`."""

    user_id: UserId
    symbol: Symbol
    quantity: Decimal
    priced: PricedQuote
    request_id: str
    client_order_id: str | None = None

    @property
    def cost(self) -> Decimal:
        """What the balance falls by."""
        return cash_value(self.priced.quote.price, self.quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Sell the active order of `symbol` at the price of `priced`."""

    user_id: UserId
    symbol: Symbol
    priced: PricedQuote
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Add paper cash."""

    user_id: UserId
    amount: Decimal
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Take paper cash out."""

    user_id: UserId
    amount: Decimal
    request_id: str


MoneyRequest: TypeAlias = Opening | Closing | Deposit | Withdrawal


@dataclass(slots=True, kw_only=True)
class Books:
    """What is known of one user; it follows the decisions of a batch."""

    holder: LockedUser
    at: datetime
    """The instant that whatever is decided is written as of."""
    accounts: Mapping[AccountKey, Account]
    """As they were before the batch."""
    active_orders: Mapping[tuple[UserId, Symbol], Order]
    used_client_order_ids: set[tuple[UserId, str]]
    order_ids: Iterator[OrderId]
    balance: Decimal
    traded: set[Symbol] = field(default_factory=set)
    """What this batch has bought or sold for the user."""

    @property
    def epoch(self) -> int:
        """The life of the account that is traded in."""
        return self.holder.user.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be written for one request, and what is to be answered."""

    movement: Movement
    user_before: User
    balance: Decimal
    """After it."""
    opened: Order | None = None
    closed: Order | None = None

    @property
    def user(self) -> User:
        """With the balance after it."""
        return replace(self.user_before, balance=self.balance)

    @property
    def order(self) -> Order:
        """The order that was opened or closed."""
        order = self.opened or self.closed
        assert order is not None, "only deposits and withdrawals have none"
        return order


def accounts_of(request: MoneyRequest) -> list[tuple[UserId, AccountKind, str]]:
    """User, kind and asset of the accounts that it may move something between."""
    user_id = request.user_id
    match request:
        case Opening() | Closing():
            return [
                (user_id, AccountKind.CASH, CASH_ASSET),
                (user_id, AccountKind.VENUE, CASH_ASSET),
                (user_id, AccountKind.VENUE, request.symbol),
                (user_id, AccountKind.HOLDING, request.symbol),
            ]
        case Deposit() | Withdrawal():
            return [
                (user_id, AccountKind.CASH, CASH_ASSET),
                (user_id, AccountKind.FUNDING, CASH_ASSET),
            ]
        case _:
            assert_never(request)


def decide(request: MoneyRequest, books: Books) -> Decision:
    """Decide and let the books follow; what is refused leaves them as they were.

    Raises LedgerStopped, LedgerDisagrees, InsufficientBalance, BalanceLimitExceeded,
    ActiveOrderExists, ClientOrderIdUsed or OrderNotFound.
    """
    if books.holder.is_ledger_stopped:
        raise LedgerStopped
    cash = books.accounts[cash_of(request.user_id, books.epoch)]
    if cash.balance != books.holder.user.balance:
        raise LedgerDisagrees(request.user_id)
    match request:
        case Opening():
            decision = _open(request, books)
        case Closing():
            decision = _close(request, books)
        case Deposit():
            decision = _deposit(request, books)
        case Withdrawal():
            decision = _withdraw(request, books)
        case _:
            assert_never(request)
    books.balance = decision.balance
    return decision


def _open(opening: Opening, books: Books) -> Decision:
    user_id, symbol, cost = opening.user_id, opening.symbol, opening.cost
    client_id = opening.client_order_id
    # First: any other refusal would tell who sends an order again that it was never booked.
    if client_id is not None and (user_id, client_id) in books.used_client_order_ids:
        raise ClientOrderIdUsed(client_id)
    balance = debit(books.balance, cost)
    # There is an active order exactly where something is held.
    held = books.accounts[holding_of(user_id, books.epoch, symbol)]
    if symbol in books.traded or held.balance > ZERO:
        raise ActiveOrderExists(symbol)
    if client_id is not None:
        books.used_client_order_ids.add((user_id, client_id))
    books.traded.add(symbol)
    order = Order(
        id=next(books.order_ids),
        user_id=user_id,
        epoch=books.epoch,
        client_order_id=opening.client_order_id,
        symbol=symbol,
        status=OrderStatus.ACTIVE,
        quantity=opening.quantity,
        buy_price=opening.priced.quote.price,
        sell_price=None,
        created_at=books.at,
        updated_at=books.at,
    )
    transfers = buying(
        user_id=user_id,
        epoch=books.epoch,
        symbol=symbol,
        order_id=order.id,
        quantity=order.quantity,
        cost=cost,
    )
    movement = _traded(opening, order, EventType.ORDER_OPENED, {"cost": cost}, transfers)
    return Decision(movement=movement, user_before=books.holder.user, balance=balance, opened=order)


def _close(closing: Closing, books: Books) -> Decision:
    user_id, symbol, price = closing.user_id, closing.symbol, closing.priced.quote.price
    active = books.active_orders.get((user_id, symbol))
    if active is None or symbol in books.traded:
        raise OrderNotFound(symbol)
    proceeds = cash_value(price, active.quantity)
    balance = credit(books.balance, proceeds)
    books.traded.add(symbol)
    order = replace(active, status=OrderStatus.CLOSED, sell_price=price, updated_at=books.at)
    transfers = selling(
        user_id=user_id,
        epoch=books.epoch,
        symbol=symbol,
        order_id=order.id,
        quantity=order.quantity,
        proceeds=proceeds,
    )
    outcome = {"proceeds": proceeds, "profit": order.profit}
    movement = _traded(closing, order, EventType.ORDER_CLOSED, outcome, transfers)
    return Decision(movement=movement, user_before=books.holder.user, balance=balance, closed=order)


def _deposit(deposit: Deposit, books: Books) -> Decision:
    balance = credit(books.balance, deposit.amount)
    transfer = Transfer(
        cause=Cause.DEPOSIT,
        source=funding_of(deposit.user_id, books.epoch),
        target=cash_of(deposit.user_id, books.epoch),
        amount=deposit.amount,
    )
    return _moved(transfer, EventType.DEPOSITED, deposit.request_id, books, balance)


def _withdraw(withdrawal: Withdrawal, books: Books) -> Decision:
    balance = debit(books.balance, withdrawal.amount)
    transfer = Transfer(
        cause=Cause.WITHDRAWAL,
        source=cash_of(withdrawal.user_id, books.epoch),
        target=funding_of(withdrawal.user_id, books.epoch),
        amount=withdrawal.amount,
    )
    return _moved(transfer, EventType.WITHDRAWN, withdrawal.request_id, books, balance)


def _moved(
    transfer: Transfer, kind: EventType, request_id: str, books: Books, balance: Decimal
) -> Decision:
    movement = Movement(
        user_id=transfer.source.user_id,
        epoch=books.epoch,
        type=kind,
        data={"amount": transfer.amount},
        request_id=request_id,
        transfers=[transfer],
    )
    return Decision(movement=movement, user_before=books.holder.user, balance=balance)


def _traded(
    request: Opening | Closing,
    order: Order,
    kind: EventType,
    outcome: Mapping[str, Decimal],
    transfers: Sequence[Transfer],
) -> Movement:
    """What opening and closing an order have in common: the fill, and how it is told."""
    quote = request.priced.quote
    return Movement(
        user_id=order.user_id,
        epoch=order.epoch,
        type=kind,
        data={
            "order_id": order.id,
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "quantity": order.quantity,
            "price": quote.price,
            **outcome,
        },
        request_id=request.request_id,
        transfers=transfers,
        fill=Fill(
            order_id=order.id,
            side=Side.BUY if isinstance(request, Opening) else Side.SELL,
            price=quote.price,
            source=request.priced.source,
            venue_time_ms=quote.upstream_time_ms,
            price_age_ms=round(request.priced.age_seconds * 1000),
            request_id=request.request_id,
        ),
    )
