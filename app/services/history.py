"""Reading orders and the ledger: now, and as they were at an instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.db.connection import Connection
from app.db.dao import fills, ledger, orders
from app.db.database import Database
from app.domain.fills import Fill
from app.domain.instruments import Symbol
from app.domain.ledger import Account, AccountKind, Entry
from app.domain.orders import Order, OrderId, OrderMissing, OrderStatus
from app.domain.users import User, UserId, epoch_of
from app.services.accounts import epoch_and_cash_at


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """One page of a user's orders, counted and listed in one snapshot."""

    orders: Sequence[Order]
    total_count: int
    unique_symbols: Sequence[Symbol]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Some entries, newest first, and where the next older page begins."""

    entries: Sequence[Entry]
    next_before_id: int | None


async def list_orders(
    db: Database,
    *,
    user: User,
    epoch: int | None,
    at: datetime | None,
    status: OrderStatus | None,
    symbol: Symbol | None,
    limit: int,
    offset: int,
) -> OrderPage:
    """A page of one epoch's orders: active first, then newest first.

    The epoch is the current one by default, or the one of the instant `at`, and then the
    page is as it was answered at that instant. Raises BeforeTheLedger and EpochMissing.
    """
    async with db.snapshot() as conn:
        if at is not None:
            return await _page_at(
                conn,
                user=user,
                epoch=epoch,
                at=at,
                status=status,
                symbol=symbol,
                limit=limit,
                offset=offset,
            )
        chosen = epoch_of(epoch, current=user.epoch)
        return OrderPage(
            orders=await orders.get_orders(
                conn,
                user_id=user.id,
                epoch=chosen,
                status=status,
                symbol=symbol,
                limit=limit,
                offset=offset,
            ),
            total_count=await orders.count_orders(
                conn, user_id=user.id, epoch=chosen, status=status, symbol=symbol
            ),
            unique_symbols=await orders.get_unique_order_symbols(
                conn, user_id=user.id, epoch=chosen
            ),
        )


async def get_order(
    db: Database, *, user_id: UserId, order_id: OrderId
) -> tuple[Order, Sequence[Fill]]:
    """One order and how it was filled. Raises OrderMissing."""
    async with db.snapshot() as conn:
        order = await orders.get_order(conn, user_id=user_id, order_id=order_id)
        if order is None:
            raise OrderMissing(order_id)
        return order, await fills.get_fills(conn, order_id=order.id)


async def get_order_by_client_id(
    db: Database, *, user_id: UserId, client_order_id: str
) -> tuple[Order, Sequence[Fill]]:
    """The order with this client order id and how it was filled. Raises OrderMissing."""
    async with db.snapshot() as conn:
        order = await orders.get_order_by_client_id(
            conn, user_id=user_id, client_order_id=client_order_id
        )
        if order is None:
            raise OrderMissing(client_order_id)
        return order, await fills.get_fills(conn, order_id=order.id)


async def list_entries(
    db: Database,
    *,
    user: User,
    epoch: int | None,
    kind: AccountKind | None,
    asset: str | None,
    order_id: OrderId | None,
    before_id: int | None,
    limit: int,
) -> EntryPage:
    """A page of the ledger entries of one epoch, by default the current. Raises EpochMissing."""
    chosen = epoch_of(epoch, current=user.epoch)
    async with db.connection() as conn:
        found = await ledger.get_entries(
            conn,
            user_id=user.id,
            epoch=chosen,
            kind=kind,
            asset=asset,
            order_id=order_id,
            before_id=before_id,
            limit=limit + 1,
        )
    entries = found[:limit]
    return EntryPage(entries=entries, next_before_id=entries[-1].id if len(found) > limit else None)


async def list_accounts(
    db: Database, *, user: User, epoch: int | None, at: datetime | None
) -> Sequence[Account]:
    """The ledger accounts of one epoch, now or at an instant.

    The epoch is the current one by default, or the one of the instant. Raises BeforeTheLedger
    and EpochMissing.
    """
    async with db.snapshot() as conn:
        current = user.epoch
        if at is not None:
            current, _ = await epoch_and_cash_at(conn, user_id=user.id, at=at)
        return await ledger.get_accounts_at(
            conn, user_id=user.id, epoch=epoch_of(epoch, current=current), at=at
        )


async def _page_at(
    conn: Connection,
    *,
    user: User,
    epoch: int | None,
    at: datetime,
    status: OrderStatus | None,
    symbol: Symbol | None,
    limit: int,
    offset: int,
) -> OrderPage:
    epoch_then, _ = await epoch_and_cash_at(conn, user_id=user.id, at=at)
    chosen = epoch_of(epoch, current=epoch_then)
    return OrderPage(
        orders=await orders.get_orders_at(
            conn,
            user_id=user.id,
            epoch=chosen,
            at=at,
            status=status,
            symbol=symbol,
            limit=limit,
            offset=offset,
        ),
        total_count=await orders.count_orders_at(
            conn, user_id=user.id, epoch=chosen, at=at, status=status, symbol=symbol
        ),
        unique_symbols=await orders.get_unique_order_symbols_at(
            conn, user_id=user.id, epoch=chosen, at=at
        ),
    )
