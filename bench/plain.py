"""Orders as they were booked before there was a ledger: what its cost is measured against.

Four statements in a transaction (lock the user, look for an active order, write the order,
write the balance), no transfers, no entries, no fills, no events, no idempotency keys. Run as
`python -m bench.plain` it is goblin's own application with these routes beside its others.
"""

import asyncio
import socket
import sys
from decimal import Decimal
from typing import Annotated

import uvloop
from app.core.config import Settings, load_settings
from app.core.logging import configure_logging
from app.db.connection import Connection, Row
from app.db.dao import users
from app.db.database import Database
from app.domain.instruments import Symbol
from app.domain.money import cash_value
from app.domain.orders import ActiveOrderExists, Order, OrderId, OrderNotFound, OrderStatus
from app.domain.users import UserGone, UserId, credit, debit
from app.http.dependencies import CurrentUser, ResourcesOf
from app.http.routing import Router
from app.main import create_app
from app.schemas.common import OrderSymbol, StandardResponse
from app.schemas.order import OrderCreate, OrderOut
from app.services import trading
from app.serving import Server, server_config
from fastapi import Path

router = Router(prefix="/plain", tag="plain")


async def buy(
    db: Database, *, user_id: UserId, symbol: Symbol, quantity: Decimal, price: Decimal
) -> Order:
    """Open an order and take its cost."""
    async with db.transaction() as conn:
        user = (await users.lock_users(conn, user_ids=[user_id])).get(user_id)
        if user is None:
            raise UserGone
        active = await _get_active_order(conn, user_id=user_id, symbol=symbol)
        balance = debit(user.user.balance, cash_value(price, quantity))
        if active is not None:
            raise ActiveOrderExists(symbol)
        order = await _insert_order(
            conn, user_id=user_id, symbol=symbol, quantity=quantity, price=price
        )
        await _update_balance(conn, user_id=user_id, balance=balance)
        return order


async def close(db: Database, *, user_id: UserId, symbol: Symbol, price: Decimal) -> Order:
    """Close the active order and pay its proceeds."""
    async with db.transaction() as conn:
        user = (await users.lock_users(conn, user_ids=[user_id])).get(user_id)
        if user is None:
            raise UserGone
        order = await _get_active_order(conn, user_id=user_id, symbol=symbol)
        if order is None:
            raise OrderNotFound(symbol)
        balance = credit(user.user.balance, cash_value(price, order.quantity))
        closed = await _close_order(conn, order_id=order.id, price=price)
        await _update_balance(conn, user_id=user_id, balance=balance)
        return closed


async def _get_active_order(conn: Connection, *, user_id: UserId, symbol: Symbol) -> Order | None:
    row = await conn.fetchrow(
        """
        SELECT id, user_id, epoch, client_order_id, symbol, status, quantity, buy_price,
            sell_price, created_at, updated_at
        FROM transact
        WHERE user_id = $1 AND epoch = 1 AND symbol = $2 AND status = 1
        """,
        user_id,
        symbol,
    )
    return None if row is None else _order(row)


async def _insert_order(
    conn: Connection, *, user_id: UserId, symbol: Symbol, quantity: Decimal, price: Decimal
) -> Order:
    row = await conn.fetchrow(
        """
        INSERT INTO transact (user_id, symbol, quantity, buy_price)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::numeric[], $4::numeric[])
        RETURNING id, user_id, epoch, client_order_id, symbol, status, quantity, buy_price,
            sell_price, created_at, updated_at
        """,
        [user_id],
        [symbol],
        [quantity],
        [price],
    )
    return _order(row)


async def _close_order(conn: Connection, *, order_id: OrderId, price: Decimal) -> Order:
    row = await conn.fetchrow(
        """
        UPDATE transact
        SET status = 2, sell_price = closing.sell_price, updated_at = now()
        FROM unnest($1::bigint[], $2::numeric[]) AS closing (id, sell_price)
        WHERE transact.id = closing.id AND transact.status = 1
        RETURNING transact.id, user_id, epoch, client_order_id, symbol, status, quantity,
            buy_price, transact.sell_price, created_at, updated_at
        """,
        [order_id],
        [price],
    )
    return _order(row)


def _order(row: Row | None) -> Order:
    assert row is not None, "the user is locked"
    return Order(**{**row, "status": OrderStatus(row["status"])})


async def _update_balance(conn: Connection, *, user_id: UserId, balance: Decimal) -> None:
    await conn.execute(
        """
        UPDATE users
        SET balance = changed.balance, updated_at = now()
        FROM unnest($1::bigint[], $2::numeric[]) AS changed (id, balance)
        WHERE users.id = changed.id
        """,
        [user_id],
        [balance],
    )


@router.endpoint("POST", "", summary="Buy without a ledger", status_code=201)
async def create_order(
    body: OrderCreate, user: CurrentUser, resources: ResourcesOf
) -> StandardResponse[OrderOut]:
    symbol = Symbol(body.symbol)
    priced = await trading.fill_price(resources.market, symbol)
    order = await buy(
        resources.db,
        user_id=user.id,
        symbol=symbol,
        quantity=body.quantity,
        price=priced.quote.price,
    )
    return StandardResponse(data=OrderOut.of(order))


@router.endpoint("DELETE", "/{symbol:path}", summary="Sell without a ledger")
async def close_order(
    symbol: Annotated[OrderSymbol, Path()], user: CurrentUser, resources: ResourcesOf
) -> StandardResponse[OrderOut]:
    named = Symbol(symbol)
    priced = await trading.close_price(
        resources.db, resources.market, user_id=user.id, symbol=named
    )
    order = await close(resources.db, user_id=user.id, symbol=named, price=priced.quote.price)
    return StandardResponse(data=OrderOut.of(order))


async def _serve(settings: Settings) -> None:
    app = create_app(settings)
    app.include_router(router)
    listener = socket.create_server((settings.host, settings.port), backlog=2048)
    async with app.router.lifespan_context(app):
        server = Server(server_config(app), end_streams=app.state.resources.events.close)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        is_up = asyncio.create_task(server.up.wait())
        await asyncio.wait({serving, is_up}, return_when=asyncio.FIRST_COMPLETED)
        is_up.cancel()
        host, port = listener.getsockname()[:2]
        print(f"http://{host}:{port}", flush=True)
        await serving


def main() -> int:
    settings = load_settings()
    configure_logging(level=settings.log_level, style=settings.log_format)
    uvloop.run(_serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
