"""Books to check, written by the services that write them in earnest."""

import itertools
from collections.abc import Sequence
from decimal import Decimal

from app.db.connection import Connection
from app.db.dao import users
from app.domain.answers import Answer
from app.domain.errors import GoblinError
from app.domain.instruments import Category, Symbol
from app.domain.quotes import Quote
from app.domain.users import UserId
from app.services import accounts
from app.services.decisions import Closing, Decision, Deposit, MoneyRequest, Opening
from app.services.market_data import PricedQuote
from app.services.settlement import Asked, settle

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


async def settle_all(
    conn: Connection, requests: Sequence[MoneyRequest]
) -> list[Decision | GoblinError]:
    """What became of each request, without a key and without words."""
    decisions: list[Decision] = []

    def remember(decision: Decision) -> Answer:
        decisions.append(decision)
        return Answer(status=200, body="")

    def refuse(error: GoblinError) -> Answer:
        raise AssertionError("nothing is kept without a key") from error

    asked = [Asked(request=r, keyed=None, respond=remember, refuse=refuse) for r in requests]
    verdicts = await settle(conn, asked)
    made = iter(decisions)
    return [v if isinstance(v, GoblinError) else next(made) for v in verdicts]


async def settle_one(conn: Connection, request: MoneyRequest) -> Decision:
    """A batch of one. Raises the refusal."""
    (verdict,) = await settle_all(conn, [request])
    if isinstance(verdict, GoblinError):
        raise verdict
    return verdict


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
        if epoch > 1:
            locked = (await users.lock_users(conn, user_ids=[opened.id]))[opened.id]
            await accounts.reset(conn, locked, balance=Decimal(500), request_id="books")
        deposit = Deposit(user_id=opened.id, amount=Decimal("0.5"), request_id="books")
        await settle_one(conn, deposit)
        for symbol, price in (("BTCUSDT", "100"), ("ETHUSDT", "7.00000000000000000003")):
            opening = Opening(
                user_id=opened.id,
                symbol=Symbol(symbol),
                quantity=Decimal("0.3"),
                priced=priced(symbol, price),
                request_id="books",
            )
            await settle_one(conn, opening)
        closing = Closing(
            user_id=opened.id,
            symbol=Symbol("BTCUSDT"),
            priced=priced("BTCUSDT", "120"),
            request_id="books",
        )
        await settle_one(conn, closing)
    return opened.id
