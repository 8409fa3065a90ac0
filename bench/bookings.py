"""Booking orders without HTTP: what ledger, events and keys cost, and what one client for
each upstream call would allow."""

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from secrets import token_hex
from typing import Protocol

from app.clients.bybit import BybitClient
from app.clients.venue_http import venue_http_client
from app.db.database import Database
from app.domain.answers import Answer, KeyedRequest
from app.domain.errors import GoblinError
from app.domain.instruments import Category, Symbol
from app.domain.orders import Order
from app.domain.quotes import Quote
from app.domain.users import UserId
from app.http.changes import answer
from app.schemas.common import StandardResponse
from app.schemas.order import OrderOut
from app.services.decisions import Closing, Decision, Opening
from app.services.desk import Desk
from app.services.market_data import PricedQuote
from app.services.settlement import Asked

from bench import plain
from bench.installation import POOL_SIZE, Installation
from bench.load import Run
from bench.report import Aim, Rounds, print_rates, ratio

WORKERS = 16
BATCH_MAX = 64
SYMBOL = Symbol("BTCUSDT")
QUANTITY = Decimal("0.001")
PRICED = PricedQuote(
    quote=Quote(
        venue="Bybit",
        symbol=SYMBOL,
        category=Category.SPOT,
        price=Decimal("60275.67"),
        price_text="60275.67",
        upstream_time_ms=1_750_000_000_000,
    ),
    age_seconds=0.1,
)

PLAIN = "without ledger, events and keys"
LEDGER = "with ledger and events"
KEYED = "with ledger, events and keys"
ALONE = "  the same, each in a transaction of its own"


class Trader(Protocol):
    """Somebody who buys and sells the same thing in turn."""

    async def buy(self) -> None: ...
    async def sell(self) -> None: ...


async def trade(traders: Sequence[Trader], *, seconds: float) -> Run:
    """Let everybody buy and sell for so long; each ends without a position."""
    latencies: list[float] = []
    begun = time.perf_counter()

    async def trade_one(trader: Trader) -> None:
        while time.perf_counter() < begun + seconds:
            for order in (trader.buy, trader.sell):
                sent_at = time.perf_counter()
                await order()
                latencies.append(time.perf_counter() - sent_at)

    await asyncio.gather(*map(trade_one, traders))
    return Run(seconds=time.perf_counter() - begun, latencies_seconds=latencies)


class PlainTrader:
    """Books as before the ledger; the answer is put into words as it was then."""

    def __init__(self, db: Database, user_id: UserId) -> None:
        self._db, self._user_id = db, user_id

    async def buy(self) -> None:
        order = await plain.buy(
            self._db,
            user_id=self._user_id,
            symbol=SYMBOL,
            quantity=QUANTITY,
            price=PRICED.quote.price,
        )
        _answer(order)

    async def sell(self) -> None:
        order = await plain.close(
            self._db, user_id=self._user_id, symbol=SYMBOL, price=PRICED.quote.price
        )
        _answer(order)


class LedgerTrader:
    """Books as goblin does, with an idempotency key or without one."""

    def __init__(self, desk: Desk, user_id: UserId, *, keyed: bool) -> None:
        self._desk, self._user_id, self._keyed = desk, user_id, keyed

    async def buy(self) -> None:
        await self._ask(
            Opening(
                user_id=self._user_id,
                symbol=SYMBOL,
                quantity=QUANTITY,
                priced=await self.price(),
                request_id="bench",
            )
        )

    async def sell(self) -> None:
        await self._ask(
            Closing(
                user_id=self._user_id,
                symbol=SYMBOL,
                priced=await self.price(),
                request_id="bench",
            )
        )

    async def price(self) -> PricedQuote:
        """What the order fills at."""
        return PRICED

    async def _ask(self, request: Opening | Closing) -> None:
        keyed = None
        if self._keyed:
            keyed = KeyedRequest(user_id=self._user_id, key=token_hex(8), fingerprint=b"bench")
        await self._desk.ask(Asked(request=request, keyed=keyed, respond=_respond, refuse=_refuse))


class NewClientTrader(LedgerTrader):
    """The same booking at a price that each order fetches with an HTTP client of its own."""

    def __init__(self, desk: Desk, user_id: UserId, *, exchange_url: str) -> None:
        super().__init__(desk, user_id, keyed=False)
        self._exchange_url = exchange_url

    async def price(self) -> PricedQuote:
        begun = time.monotonic()
        async with venue_http_client(self._exchange_url) as http:
            client = BybitClient(http, timeout_seconds=10.0)
            quote = await client.fetch_quote(SYMBOL, Category.SPOT)
        return PricedQuote(quote=quote, age_seconds=time.monotonic() - begun)


async def new_client_traders(installation: Installation, count: int) -> list[NewClientTrader]:
    """The baseline that the orders' rate is compared with."""
    desk = Desk(installation.db, batch_max=BATCH_MAX)
    return [
        NewClientTrader(desk, person.user.id, exchange_url=installation.exchange_url)
        for person in await installation.people(count)
    ]


async def measure(installation: Installation, *, rounds: int, seconds: float) -> list[Aim]:
    """Print the tables; return the aims and what they came to."""
    aims = []
    desk = Desk(installation.db, batch_max=BATCH_MAX)
    alone = Desk(installation.db, batch_max=1, batches_at_once=POOL_SIZE)
    for workers in (1, WORKERS):
        traders: dict[str, list[Trader]] = {
            PLAIN: [
                PlainTrader(installation.plain_db, p.user.id)
                for p in await installation.people(workers, plain=True)
            ],
            LEDGER: [
                LedgerTrader(desk, p.user.id, keyed=False)
                for p in await installation.people(workers)
            ],
            KEYED: [
                LedgerTrader(desk, p.user.id, keyed=True)
                for p in await installation.people(workers)
            ],
            ALONE: [
                LedgerTrader(alone, p.user.id, keyed=True)
                for p in await installation.people(workers)
            ],
        }
        measured: dict[str, list[Run]] = {name: [] for name in traders}
        for each in traders.values():
            await trade(each, seconds=min(seconds, 0.5))
        for _ in range(rounds):
            for name, each in traders.items():
                measured[name].append(await trade(each, seconds=seconds))
        shown: dict[str, Rounds] = {**measured}
        print_rates(f"Orders booked without HTTP, {workers} at once", shown, of=PLAIN)
        aims.append(
            Aim(
                text=f"orders booked {KEYED}, of those without, {workers} at once",
                measured=ratio(measured[KEYED], measured[PLAIN]),
                wanted_min=2 / 3,
            )
        )
    return aims


def _respond(decision: Decision) -> Answer:
    return _answer(decision.order)


def _answer(order: Order) -> Answer:
    return answer(StandardResponse(data=OrderOut.of(order)), status=201)


def _refuse(error: GoblinError) -> Answer:
    raise AssertionError("the bench's orders are never refused") from error
