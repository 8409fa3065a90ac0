"""Books to check, written by the services that write them in earnest."""

import itertools
from decimal import Decimal

from app.db.connection import Connection
from app.db.dao import users
from app.domain.instruments import Category, Symbol
from app.domain.quotes import Quote
from app.domain.users import UserId
from app.services import accounts, trading
from app.services.market_data import PricedQuote
from app.services.trading import Closing, Opening

_numbers = itertools.count(1)


def priced(symbol: str, price: str) -> PricedQuote:
    quote = Quote(
        venue="Bybit",
        symbol=Symbol(symbol),
        category=Category.SPOT,
        price=Decimal(price),
        price_text=price,
        upstream_time_ms=1_735_689_600_000,
    )
    return PricedQuote(quote=quote, age_seconds=0.0)


async def insert_small_books(conn: Connection) -> UserId:
    """A user who deposited, bought twice, closed once, and did the same again after a reset."""
    opened = await accounts.open_account(
        conn,
        email=f"books{next(_numbers)}@example.com",
        password_hash="!",
        name="Books",
        starting_balance=Decimal(1000),
        request_id="books",
    )
    for epoch in (1, 2):
        locked = (await users.lock_users(conn, user_ids=[opened.id]))[opened.id]
        if epoch > 1:
            await accounts.reset(conn, locked, balance=Decimal(500), request_id="books")
            locked = (await users.lock_users(conn, user_ids=[opened.id]))[opened.id]
        await accounts.deposit(conn, locked, amount=Decimal("0.5"), request_id="books")
        for symbol, price in (("BTCUSDT", "100"), ("ETHUSDT", "7.00000000000000000003")):
            locked = (await users.lock_users(conn, user_ids=[opened.id]))[opened.id]
            opening = Opening(
                user_id=opened.id,
                symbol=Symbol(symbol),
                quantity=Decimal("0.3"),
                priced=priced(symbol, price),
                request_id="books",
            )
            await trading.place_order(conn, opening, locked=locked)
        locked = (await users.lock_users(conn, user_ids=[opened.id]))[opened.id]
        closing = Closing(
            user_id=opened.id,
            symbol=Symbol("BTCUSDT"),
            priced=priced("BTCUSDT", "120"),
            request_id="books",
        )
        await trading.close_order(conn, closing, locked=locked)
    return opened.id
