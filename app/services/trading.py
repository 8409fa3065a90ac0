"""The price that an order fills at, and what an order would do.

Prices are fetched before any transaction begins. What an order does is decided in
decisions.py and booked by the desk.
"""

from dataclasses import dataclass
from decimal import Decimal

from app.db.dao import grounds, orders
from app.db.database import Database
from app.domain.audit import LedgerStopped
from app.domain.errors import GoblinError
from app.domain.instruments import Category, Symbol, UnknownSymbol
from app.domain.orders import OrderId, OrderNotFound, OrderSymbolUnknown
from app.domain.users import UserGone, UserId
from app.services.decisions import Books, Opening, accounts_of, decide
from app.services.market_data import MarketData, PricedQuote


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an order would do at a price; `refusal` is why it would not be booked."""

    priced: PricedQuote
    quantity: Decimal
    cost: Decimal
    balance_after: Decimal | None
    refusal: GoblinError | None


async def preview(db: Database, opening: Opening) -> Preview:
    """Decide as the desk would and book nothing. Raises LedgerStopped, UserGone."""
    async with db.connection() as conn:
        ground = await grounds.get_ground(
            conn,
            user_ids=[opening.user_id],
            accounts=accounts_of(opening),
            order_count=0,
            closings=[],
            client_order_ids=[(opening.user_id, opening.client_order_id or "")],
            keyed=[],
            claims=[],
        )
    holder = ground.users.get(opening.user_id)
    if holder is None:
        raise UserGone
    if holder.is_ledger_stopped:
        raise LedgerStopped
    books = Books(
        holder=holder,
        at=ground.at,
        accounts=ground.accounts,
        active_orders={},
        used_client_order_ids=ground.used_client_order_ids,
        order_ids=iter([OrderId(0)]),
        balance=holder.user.balance,
    )
    balance_after, refusal = None, None
    try:
        balance_after = decide(opening, books).balance
    except GoblinError as error:
        refusal = error
    return Preview(
        priced=opening.priced,
        quantity=opening.quantity,
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
    db: Database, market: MarketData, *, user_id: UserId, symbol: Symbol
) -> PricedQuote:
    """The price to close at; OrderNotFound before any price is fetched."""
    known = market.known(symbol, Category.SPOT)
    if known is not None:
        return known  # nothing is fetched: the desk finds out whether there is an order
    async with db.connection() as conn:
        has_order = await orders.has_active_order(conn, user_id=user_id, symbol=symbol)
    if not has_order:
        raise OrderNotFound(symbol)
    return await fill_price(market, symbol)
