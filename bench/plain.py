"""Orders as they were booked before there was a ledger: what its cost is measured against.

Four statements in a transaction (lock the user, look for an active order, write the order,
write the balance), no transfers, no entries, no fills, no events, no idempotency keys. Run as
`python -m bench.plain` it is goblin's own application with these routes beside its others.
"""

import asyncio
import socket
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import uvloop
from app.core.config import Settings, load_settings
from app.core.logging import configure_logging
from app.db.connection import Connection
from app.db.dao import orders, users
from app.db.database import Database
from app.domain.instruments import Symbol
from app.domain.money import cash_value
from app.domain.orders import ActiveOrderExists, Order, OrderNotFound
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
        active = await orders.get_active_orders(
            conn, user_ids=[user_id], epochs=[1], symbols=[symbol]
        )
        balance = debit(user.user.balance, cash_value(price, quantity))
        if active:
            raise ActiveOrderExists(symbol)
        opened = await orders.insert_orders(
            conn,
            user_ids=[user_id],
            epochs=[1],
            client_order_ids=[None],
            symbols=[symbol],
            quantities=[quantity],
            buy_prices=[price],
        )
        await _update_balances(conn, user_ids=[user_id], balances=[balance])
        return opened[user_id, symbol]


async def close(db: Database, *, user_id: UserId, symbol: Symbol, price: Decimal) -> Order:
    """Close the active order and pay its proceeds."""
    async with db.transaction() as conn:
        user = (await users.lock_users(conn, user_ids=[user_id])).get(user_id)
        if user is None:
            raise UserGone
        active = await orders.get_active_orders(
            conn, user_ids=[user_id], epochs=[1], symbols=[symbol]
        )
        order = active.get((user_id, symbol))
        if order is None:
            raise OrderNotFound(symbol)
        balance = credit(user.user.balance, cash_value(price, order.quantity))
        closed = await orders.close_orders(conn, order_ids=[order.id], sell_prices=[price])
        await _update_balances(conn, user_ids=[user_id], balances=[balance])
        return closed[order.id]


async def _update_balances(
    conn: Connection, *, user_ids: Sequence[UserId], balances: Sequence[Decimal]
) -> None:
    await conn.execute(
        """
        UPDATE users
        SET balance = changed.balance, updated_at = now()
        FROM unnest($1::bigint[], $2::numeric[]) AS changed (id, balance)
        WHERE users.id = changed.id
        """,
        user_ids,
        balances,
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
    priced = await trading.close_price(resources.db, resources.market, user=user, symbol=named)
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
