"""Opening and closing paper orders.

Prices are fetched before any transaction begins. Money moves in batches: `place_orders` and
`close_orders` take a sequence and return one verdict for each request, in order, with a
constant number of statements whatever the length; one refusal never touches its neighbours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from app.db.connection import Connection
from app.db.dao import ledger, ledger_alarms, orders
from app.db.database import Database
from app.domain.audit import LedgerStopped
from app.domain.errors import GoblinError
from app.domain.events import EventType
from app.domain.fills import Fill, Side
from app.domain.instruments import Category, Symbol, UnknownSymbol
from app.domain.ledger import (
    CASH_ASSET,
    Account,
    AccountKey,
    buying,
    cash_of,
    holding_of,
    selling,
    venue_of,
)
from app.domain.money import ZERO, cash_value
from app.domain.orders import (
    ActiveOrderExists,
    ClientOrderIdUsed,
    Order,
    OrderId,
    OrderNotFound,
    OrderStatus,
    OrderSymbolUnknown,
)
from app.domain.users import LockedUser, User, UserId, credit, debit
from app.services.booking import Movement, book, get_accounts, require_agreement
from app.services.market_data import MarketData, PricedQuote


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
class Preview:
    """What an order would do at a price; `refusal` is why it would not be booked."""

    priced: PricedQuote
    quantity: Decimal
    cost: Decimal
    balance_after: Decimal | None
    refusal: GoblinError | None


async def preview(
    db: Database,
    *,
    user: User,
    symbol: Symbol,
    quantity: Decimal,
    priced: PricedQuote,
    client_order_id: str | None,
) -> Preview:
    """Decide as place_orders would, on a snapshot, and book nothing. Raises LedgerStopped."""
    opening = Opening(
        user_id=user.id,
        symbol=symbol,
        quantity=quantity,
        priced=priced,
        request_id="",
        client_order_id=client_order_id,
    )
    seen = {user.id: LockedUser(user=user, event_number=0)}
    async with db.snapshot() as conn:
        alarm = await ledger_alarms.get_standing_alarm(conn)
        accounts = await get_accounts(conn, _keys(opening, seen))
        used_ids = await _used_client_order_ids(conn, [opening])
    if alarm is not None:
        raise LedgerStopped
    balance_after, refusal = None, None
    try:
        after = debit(user.balance, opening.cost)
        _check_unique(opening, seen, accounts, taken=set(), used_ids=used_ids)
        balance_after = after
    except GoblinError as error:
        refusal = error
    return Preview(
        priced=priced,
        quantity=quantity,
        cost=opening.cost,
        balance_after=balance_after,
        refusal=refusal,
    )


async def fill_price(market: MarketData, symbol: Symbol) -> PricedQuote:
    """The price that an order of now fills at.

    Raises OrderSymbolUnknown, UpstreamUnavailable or UpstreamInvalid.
    """
    try:
        return await market.quote(symbol, Category.SPOT)
    except UnknownSymbol:
        raise OrderSymbolUnknown(symbol) from None


async def close_price(
    db: Database, market: MarketData, *, user: User, symbol: Symbol
) -> PricedQuote:
    """The price to close at; OrderNotFound before any price is fetched."""
    async with db.connection() as conn:
        has_order = await orders.has_active_order(
            conn, user_id=user.id, epoch=user.epoch, symbol=symbol
        )
    if not has_order:
        raise OrderNotFound(symbol)
    return await fill_price(market, symbol)


async def place_order(conn: Connection, opening: Opening, *, locked: LockedUser) -> Order:
    """A batch of one. Raises the refusal."""
    (verdict,) = await place_orders(conn, [opening], locked={locked.user.id: locked})
    return _order_or_raise(verdict)


async def close_order(conn: Connection, closing: Closing, *, locked: LockedUser) -> Order:
    """A batch of one. Raises the refusal."""
    (verdict,) = await close_orders(conn, [closing], locked={locked.user.id: locked})
    return _order_or_raise(verdict)


async def place_orders(
    conn: Connection, openings: Sequence[Opening], *, locked: Mapping[UserId, LockedUser]
) -> list[Order | GoblinError]:
    """One verdict for each opening, in order; every user of them is locked by the caller."""
    require_agreement(locked.values())
    ground = await ledger.get_order_ground(
        conn, keys=[key for o in openings for key in _keys(o, locked)], order_count=len(openings)
    )
    accounts = {account.key: account for account in ground.accounts}
    used_ids = await _used_client_order_ids(conn, openings)
    balances = {user_id: holder.user.balance for user_id, holder in locked.items()}
    taken: set[tuple[UserId, Symbol]] = set()
    refusals: dict[int, GoblinError] = {}
    accepted: list[Opening] = []
    for position, opening in enumerate(openings):
        try:
            balance = debit(balances[opening.user_id], opening.cost)
            _check_unique(opening, locked, accounts, taken=taken, used_ids=used_ids)
        except GoblinError as refusal:
            refusals[position] = refusal
            continue
        balances[opening.user_id] = balance
        taken.add((opening.user_id, opening.symbol))
        if opening.client_order_id is not None:
            used_ids.add((opening.user_id, opening.client_order_id))
        accepted.append(opening)
    opened = {
        (o.user_id, o.symbol): _order(o, order_id, locked[o.user_id].user.epoch, at=ground.at)
        for o, order_id in zip(accepted, ground.order_ids, strict=False)
    }
    if accepted:
        await book(
            conn,
            locked=_only(locked, accepted),
            movements=[_opened(o, opened[o.user_id, o.symbol]) for o in accepted],
            known=accounts,
            at=ground.at,
            opened=list(opened.values()),
        )
    return [
        refusals[position] if position in refusals else opened[opening.user_id, opening.symbol]
        for position, opening in enumerate(openings)
    ]


async def close_orders(
    conn: Connection, closings: Sequence[Closing], *, locked: Mapping[UserId, LockedUser]
) -> list[Order | GoblinError]:
    """One verdict for each closing, in order; every user of them is locked by the caller."""
    require_agreement(locked.values())
    active = await orders.get_active_orders(
        conn,
        user_ids=[c.user_id for c in closings],
        epochs=[locked[c.user_id].user.epoch for c in closings],
        symbols=[c.symbol for c in closings],
    )
    balances = {user_id: holder.user.balance for user_id, holder in locked.items()}
    verdicts: list[OrderId | GoblinError] = []
    accepted: dict[OrderId, Closing] = {}
    for closing in closings:
        try:
            order = active.get((closing.user_id, closing.symbol))
            if order is None or order.id in accepted:
                raise OrderNotFound(closing.symbol)
            proceeds = cash_value(closing.priced.quote.price, order.quantity)
            balances[closing.user_id] = credit(balances[closing.user_id], proceeds)
        except GoblinError as refusal:
            verdicts.append(refusal)
            continue
        accepted[order.id] = closing
        verdicts.append(order.id)
    closed: dict[OrderId, Order] = {}
    if accepted:
        ground = await ledger.get_order_ground(
            conn,
            keys=[key for c in accepted.values() for key in _keys(c, locked)],
            order_count=0,
        )
        for order_id, closing in accepted.items():
            closed[order_id] = replace(
                active[closing.user_id, closing.symbol],
                status=OrderStatus.CLOSED,
                sell_price=closing.priced.quote.price,
                updated_at=ground.at,
            )
        await book(
            conn,
            locked=_only(locked, accepted.values()),
            movements=[_closed(c, closed[order_id]) for order_id, c in accepted.items()],
            known={account.key: account for account in ground.accounts},
            at=ground.at,
            closed=list(closed.values()),
        )
    return [
        verdict if isinstance(verdict, GoblinError) else closed[verdict] for verdict in verdicts
    ]


def _order_or_raise(verdict: Order | GoblinError) -> Order:
    if isinstance(verdict, GoblinError):
        raise verdict
    return verdict


def _keys(request: Opening | Closing, locked: Mapping[UserId, LockedUser]) -> list[AccountKey]:
    user_id, epoch = request.user_id, locked[request.user_id].user.epoch
    return [
        cash_of(user_id, epoch),
        venue_of(user_id, epoch, CASH_ASSET),
        venue_of(user_id, epoch, request.symbol),
        holding_of(user_id, epoch, request.symbol),
    ]


def _order(opening: Opening, order_id: OrderId, epoch: int, *, at: datetime) -> Order:
    return Order(
        id=order_id,
        user_id=opening.user_id,
        epoch=epoch,
        client_order_id=opening.client_order_id,
        symbol=opening.symbol,
        status=OrderStatus.ACTIVE,
        quantity=opening.quantity,
        buy_price=opening.priced.quote.price,
        sell_price=None,
        created_at=at,
        updated_at=at,
    )


async def _used_client_order_ids(
    conn: Connection, openings: Sequence[Opening]
) -> set[tuple[UserId, str]]:
    asked = [(o.user_id, o.client_order_id) for o in openings if o.client_order_id is not None]
    if not asked:
        return set()
    return await orders.get_used_client_order_ids(
        conn,
        user_ids=[user_id for user_id, _ in asked],
        client_order_ids=[client_order_id for _, client_order_id in asked],
    )


def _check_unique(
    opening: Opening,
    locked: Mapping[UserId, LockedUser],
    accounts: Mapping[AccountKey, Account],
    *,
    taken: set[tuple[UserId, Symbol]],
    used_ids: set[tuple[UserId, str]],
) -> None:
    """One active order for each symbol: there is one exactly where something is held."""
    user_id = opening.user_id
    held = accounts.get(holding_of(user_id, locked[user_id].user.epoch, opening.symbol))
    if (user_id, opening.symbol) in taken or (held is not None and held.balance > ZERO):
        raise ActiveOrderExists(opening.symbol)
    if opening.client_order_id is not None and (user_id, opening.client_order_id) in used_ids:
        raise ClientOrderIdUsed(opening.client_order_id)


def _opened(opening: Opening, order: Order) -> Movement:
    return Movement(
        user_id=order.user_id,
        epoch=order.epoch,
        type=EventType.ORDER_OPENED,
        data={
            "order_id": order.id,
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "quantity": order.quantity,
            "price": order.buy_price,
            "cost": order.cost,
        },
        request_id=opening.request_id,
        transfers=buying(
            user_id=order.user_id,
            epoch=order.epoch,
            symbol=order.symbol,
            order_id=order.id,
            quantity=order.quantity,
            cost=order.cost,
        ),
        fill=_fill(order, Side.BUY, opening.priced, opening.request_id),
    )


def _closed(closing: Closing, order: Order) -> Movement:
    assert order.proceeds is not None, "it was closed just now"
    return Movement(
        user_id=order.user_id,
        epoch=order.epoch,
        type=EventType.ORDER_CLOSED,
        data={
            "order_id": order.id,
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "quantity": order.quantity,
            "price": order.sell_price,
            "proceeds": order.proceeds,
            "profit": order.profit,
        },
        request_id=closing.request_id,
        transfers=selling(
            user_id=order.user_id,
            epoch=order.epoch,
            symbol=order.symbol,
            order_id=order.id,
            quantity=order.quantity,
            proceeds=order.proceeds,
        ),
        fill=_fill(order, Side.SELL, closing.priced, closing.request_id),
    )


def _fill(order: Order, side: Side, priced: PricedQuote, request_id: str) -> Fill:
    return Fill(
        order_id=order.id,
        side=side,
        price=priced.quote.price,
        source=priced.quote.venue,
        venue_time_ms=priced.quote.upstream_time_ms,
        price_age_ms=round(priced.age_seconds * 1000),
        request_id=request_id,
    )


def _only(
    locked: Mapping[UserId, LockedUser], accepted: Iterable[Opening | Closing]
) -> dict[UserId, LockedUser]:
    return {request.user_id: locked[request.user_id] for request in accepted}
