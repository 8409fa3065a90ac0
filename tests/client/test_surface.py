"""Every route by its method, against a real server; the sync client is the same."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from urllib.parse import parse_qsl

import goblin
import pytest
import pytest_asyncio
from app.core.config import PROJECT
from app.replay import replay_exchange
from fastapi import FastAPI
from tests.client.conftest import AT_ONCE, SWAGGER, token_of
from tests.conftest import Person, run_installation, settings_for
from tests.serving import served

OPERATIONS: dict[str, Any] = SWAGGER["paths"]
NOT_OFFERED = {
    "GET /", "GET /health/live", "GET /health/ready",  # for operators
    "POST /auth/token",  # for OAuth2 clients; login is the same
    "GET /auth/profile",  # me is the same
    "DELETE /order/{id_or_symbol}",  # close_order is the same
}  # fmt: skip
NOT_ASKED_FOR = {"active_only", "limit", "offset", "cursor", "after", "wait_seconds"}
"""Another name for `active`, and what pages are asked for by."""


def test_the_sync_client_is_the_async_one_without_await() -> None:
    """Renew it with `python scripts/sync_client.py`."""
    script = PROJECT / "scripts" / "sync_client.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


async def test_the_sync_client_trades_lists_and_follows(url: str, somebody: Person) -> None:
    def session() -> None:
        with goblin.Client(url, api_key=token_of(somebody), retries=AT_ONCE) as client:
            bought = client.buy("BTCUSDT", Decimal("0.12345678901234567891"))
            assert bought.quantity == Decimal("0.12345678901234567891")
            closed = client.close_order("BTCUSDT")
            assert (closed.id, closed.is_active) == (bought.id, False)
            assert client.orders(active=True).all() == ()
            assert [order.id for order in client.orders()] == [bought.id]
            events = client.events()
            assert [next(events).type for _ in range(3)] == [
                "account_opened", "order_opened", "order_closed",
            ]  # fmt: skip
            events.close()

    await asyncio.to_thread(session)  # the server runs in this thread's loop


@dataclass
class Recorded:
    """Which routes were asked, and with which parameters."""

    app: Any
    asked: dict[str, set[str]] = field(default_factory=dict)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        query = {name for name, _ in parse_qsl(scope["query_string"].decode())}
        self.asked.setdefault(route_of(scope["method"], scope["path"]), set()).update(query)
        await self.app(scope, receive, send)


def route_of(method: str, path: str) -> str:
    """Fixed parts are stronger than parameters."""
    fitting = [
        template
        for template in OPERATIONS
        if method.lower() in OPERATIONS[template]
        and re.fullmatch(re.sub(r"\{\w+\}", ".+", template), path)
    ]
    return f"{method} {min(fitting, key=lambda found: (found.count('{'), -len(found)))}"


def query_names(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        described = parameter
        if "$ref" in parameter:
            described = SWAGGER["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
        if described["in"] == "query":
            yield described["name"]


@pytest_asyncio.fixture
async def recorded(clone: Any) -> AsyncIterator[tuple[str, Recorded]]:
    """An empty goblin beside a market that moves."""
    async with replay_exchange() as exchange:
        exchange.clock.set_speed(20)
        settings = settings_for(await clone(), exchange.base_url, market_streams="on")
        async with run_installation(settings) as running:
            recorded = Recorded(running.app)
            async with served(cast("FastAPI", recorded)) as url:
                yield url, recorded


async def account_tour(client: goblin.AsyncClient) -> None:
    user = await client.register("ada@example.com", "correct horse", "Ada")
    session = await client.login("ada@example.com", "correct horse")
    assert session.user == user
    assert (await client.refresh()).access_token != session.access_token
    expires = datetime.now(UTC) + timedelta(days=1)
    made = await client.create_api_key("bot", scopes=["read"], expires_at=expires)
    assert [key.id async for key in client.api_keys()] == [made.id]
    await client.delete_api_key(made.id)
    assert await client.api_keys().all() == ()
    assert (await client.deposit("1000000")).balance == 1_000_000
    assert (await client.withdraw(Decimal("0.5"))).balance == Decimal("999999.5")
    assert (await client.reset(1_000_000)).balance == 1_000_000
    now = datetime.now(UTC)
    assert (await client.me(as_of=now)).balance == 1_000_000
    assert await client.ledger_accounts(epoch=1, as_of=now).all()
    assert (await client.audit()).agrees


async def market_tour(client: goblin.AsyncClient) -> None:
    begin = datetime.now(UTC)
    assert (await client.price("BTCUSDT", category="spot")).price > 0
    assert (await client.ticker("BTCUSDT", category="spot")).price > 0
    book = await client.order_book("BTCUSDT", category="spot", depth=5)
    assert book.bids[0][0] < book.asks[0][0], "it was waited for"
    assert (await client.public_trades("BTCUSDT", category="spot", limit=3)).trades
    where: dict[str, Any] = {"venue": "bybit", "category": "spot"}
    (instrument,) = await client.instruments(symbol="BTCUSDT", **where).all()
    assert instrument.tick_size > 0
    last = await client.candles("BTCUSDT", "1m", limit=1500, **where).all()
    assert len(last) == 1500
    begin, end = last[0].open_time, last[-1].open_time
    pages = client.candles("BTCUSDT", "1m", begin=begin, end=end, **where)
    assert await pages.all() == last[:-1], "1,499 of them in two pages"
    stored = await client.export_candles("BTCUSDT", "1m", begin=begin, end=end, **where)
    assert len(stored) == 1499
    values = await client.indicators(
        "BTCUSDT", "1m", ["sma:2", "rsi:14"], begin=begin, end=end, limit=3, **where
    ).all()
    assert values[0].values["sma:2"] > 0
    async with aclosing(
        client.market_stream("spot/BTCUSDT/ticker", "spot/BTCUSDT/candles/1m")
    ) as updates:
        heard: dict[str, Any] = {}
        while len(heard) < 2:
            update = await anext(updates)
            heard[update.topic] = update.data
    assert Decimal(heard["spot/BTCUSDT/ticker"]["price"]) > 0
    assert heard["spot/BTCUSDT/candles/1m"]["candles"]
    assert (await client.health()).database == "connected"


async def trading_tour(client: goblin.AsyncClient) -> None:
    preview = await client.preview("BTCUSDT", "0.5")
    assert preview.balance_after == 1_000_000 - preview.cost
    order = await client.buy("BTCUSDT", "0.5", client_order_id="my-first")
    assert (await client.order(order.id)).explain[0].price == order.buy_price
    assert await client.order_by_client_id("my-first") == await client.order(order.id)
    now = datetime.now(UTC)
    assert await client.orders(active=True, symbol="BTCUSDT", epoch=2, as_of=now).all() == (order,)
    entries = client.ledger_entries(kind="cash", asset="USD", order_id=order.id, epoch=2, limit=9)
    assert [entry.amount async for entry in entries] == [-order.cost]
    await client.close_order("BTCUSDT")
    begin = now - timedelta(days=1)
    found = await client.statistics(
        symbol="BTCUSDT", epoch=2, begin=begin, end=datetime.now(UTC), interval="4h"
    )
    assert (found.trades.count, found.marks.interval) == (1, "4h")
    await client.export("orders", symbol="BTCUSDT", epoch=2, begin=begin, end=datetime.now(UTC))
    assert (await client.export("orders", active=True)).empty
    paid = await client.export("ledger", asset="USD", kind="cash", order_id=order.id)
    assert list(paid["cause"]) == ["order_opened", "order_closed"]
    for table in ("strategies", "trade-strategies"):
        assert (await client.export(table, include_deleted=False)).empty


async def notes_tour(client: goblin.AsyncClient) -> None:
    await client.watch("btc/usdt")
    assert [entry.symbol async for entry in client.watchlist()] == ["BTC/USDT"]
    await client.unwatch("BTC/USDT")
    data = {"rsi": Decimal("71.40000000000000000001"), "note": None, "deep": [{"x": 10**50}]}
    entry = await client.log("BTCUSDT", "hold", data)
    assert entry.data == data
    assert await client.logs(symbol="btc").all() == (entry,)
    assert await client.log_symbols() == ("BTCUSDT",)
    strategy = await client.create_strategy("R.S.I.", slug="rsi")
    strategy = await client.update_strategy(strategy.id, name="RSI", slug="rsi-14")
    assert await client.strategies(include_deleted=False).all() == (strategy,)
    one = await client.create_trade_strategy("BTCUSDT", strategy.id, interval="1h")
    one = await client.update_trade_strategy(one.id, interval="4h")
    assert (one.interval, one.strategy_id) == ("4h", strategy.id)
    await client.delete_trade_strategy(one.id)
    await client.delete_strategy(strategy.id)
    assert await client.trade_strategies(include_deleted=False).all() == ()
    assert [s.deleted_at is None async for s in client.strategies(include_deleted=True)] == [False]


async def last_tour(client: goblin.AsyncClient, other: goblin.AsyncClient) -> None:
    """What ends with being logged out."""
    bob = await client.register("bob@example.com", "correct horse", "Bob")
    assert (await client.disable_user(bob.id)).disabled_at is not None
    assert (await client.enable_user(bob.id)).disabled_at is None
    assert [user.name async for user in client.users()] == ["Bob", "Ada"]
    assert (await client.audit_installation()).agrees
    history = await client.event_history().all()
    async with aclosing(client.events()) as events:
        assert [(await anext(events)).number for _ in history] == [e.number for e in history]
    await client.change_password("correct horse", "battery staple")
    with pytest.raises(goblin.Unauthenticated, match="make one: client = goblin"):
        await client.me()
    await other.login("ada@example.com", "battery staple")
    await other.logout()


async def test_every_route_and_every_filter_is_offered_and_works(
    recorded: tuple[str, Recorded],
) -> None:
    url, record = recorded
    async with (
        goblin.AsyncClient(url, retries=AT_ONCE) as client,
        goblin.AsyncClient(url, retries=AT_ONCE) as other,
    ):
        await account_tour(client)
        await market_tour(client)
        await trading_tour(client)
        await notes_tour(client)
        await last_tour(client, other)
    promised = {
        f"{method.upper()} {path}": set(query_names(operation))
        for path, methods in OPERATIONS.items()
        for method, operation in methods.items()
    }
    assert set(promised) - set(record.asked) == NOT_OFFERED
    forgotten = {
        f"{route}?{name}"
        for route, asked in record.asked.items()
        for name in promised[route] - asked - NOT_ASKED_FOR
    }
    assert forgotten == set()
