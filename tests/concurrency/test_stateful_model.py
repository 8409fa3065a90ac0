"""Random lives of an account, each step compared with a model of it.

Another seed each time, but for what gates a change; the one of a failure is printed with it:
    MODEL_SEED=123 pytest tests/concurrency/test_stateful_model.py
MODEL_SHRINK=1 looks for a shorter life that fails too, for up to five minutes.
The long form: MODEL_RUNS=5000 MODEL_STEPS=100, and a larger --timeout.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.clients.bybit import BybitClient
from app.clients.venue_http import venue_http_client
from app.replay import ReplayExchange
from app.services.market_data import MarketData
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from tests.concurrency.account_model import Account, Change, by_age, spelled, without_owner
from tests.concurrency.conftest import Pair
from tests.concurrency.direct import DirectClient
from tests.conftest import new_person

SEED_OF_THE_GATE = 20261121
SEED = int(
    os.environ.get("MODEL_SEED")
    or (SEED_OF_THE_GATE if os.environ.get("CI") else secrets.randbelow(2**32))
)
RUNS = int(os.environ.get("MODEL_RUNS") or 200)
STEPS = int(os.environ.get("MODEL_STEPS") or 50)
PHASES = [Phase.generate] + [Phase.shrink] * bool(os.environ.get("MODEL_SHRINK"))
PARTS = 2  # so that two workers share the runs
SYMBOLS = ("BTCUSDT", "SOLUSDT", "DOGEUSDT")


@dataclass
class Market:
    """The venue's clock, and prices as the two processes see them."""

    exchange: ReplayExchange
    seconds: float = 0.0
    prices: dict[str, Decimal] = field(default_factory=dict)

    def move(self, milliseconds: int) -> None:
        self.exchange.clock.advance(milliseconds)
        self.seconds += 10
        self.prices.clear()


@pytest_asyncio.fixture(scope="module")
async def market(pair: Pair, exchange: ReplayExchange) -> AsyncIterator[Market]:
    """Prices are asked for again when the market has moved, and only then."""
    moving = Market(exchange)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(venue_http_client(exchange.base_url))
        for running in (pair.first, pair.second):
            shared = MarketData(
                BybitClient(http, timeout_seconds=60),
                price_age_seconds_max=1,
                monotonic=lambda: moving.seconds,
            )
            stack.push_async_callback(shared.aclose)
            running.app.state.resources = replace(running.app.state.resources, market=shared)
        yield moving


@dataclass(frozen=True)
class Move:
    milliseconds: int


@dataclass(frozen=True)
class Again:
    """An earlier request with its own key."""

    which: int


@dataclass(frozen=True)
class LookBack:
    """What was answered at an earlier moment, asked for by its time."""

    which: int


@dataclass(frozen=True)
class AtOnce:
    one: Change
    other: Change
    is_one_key: bool


Step = Change | Move | Again | LookBack | AtOnce

cash = st.decimals("0.00000000000000000001", "9999999999.99999999999999999999", places=20)
small = st.decimals("0.00000000000000000001", "20", places=20)
symbols = st.sampled_from(SYMBOLS)
client_order_ids = st.none() | st.sampled_from(["bot-1", "bot-2", "bot-3"])
changes = st.one_of(
    st.builds(Change, kind=st.just("deposit"), symbol=symbols, amount=small | cash),
    st.builds(Change, kind=st.just("withdraw"), symbol=symbols, amount=small | cash),
    st.builds(
        Change,
        kind=st.just("buy"),
        symbol=symbols,
        amount=small | cash,
        client_order_id=client_order_ids,
    ),
    st.builds(Change, kind=st.just("buy"), symbol=symbols, amount=small),
    st.builds(Change, kind=st.just("sell"), symbol=symbols, amount=small),
    st.builds(Change, kind=st.just("sell"), symbol=symbols, amount=small),
)
resets = st.builds(Change, kind=st.just("reset"), symbol=symbols, amount=small | cash)
numbers = st.integers(0, 1000)
steps = st.one_of(
    changes,
    changes,
    changes,
    st.builds(Move, milliseconds=st.integers(1, 86_400_000)),
    st.builds(Again, which=numbers),
    st.builds(LookBack, which=numbers),
    st.builds(AtOnce, one=changes, other=changes | resets, is_one_key=st.just(False)),
    changes.map(lambda change: AtOnce(one=change, other=change, is_one_key=True)),
    st.integers(0, 9).flatmap(lambda n: resets if n == 0 else changes),
)


@dataclass
class Life:
    """One account: the model of it, and the two clients that change it."""

    market: Market
    clients: tuple[DirectClient, DirectClient]
    model: Account
    asked: list[tuple[Change, str, httpx.Response]] = field(default_factory=list)
    seen: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    async def take(self, step: Step) -> None:
        match step:
            case Change():
                await self.change(step)
            case Move():
                self.market.move(step.milliseconds)
            case Again():
                await self.again(step.which)
            case LookBack():
                await self.look_back(step.which)
            case AtOnce():
                await self.at_once(step)
                return
        await self.compare([self.model])

    async def change(self, change: Change) -> None:
        key = f"key-{len(self.asked)}"
        await self.learn_price(change.symbol)
        answer = await self.send(0, change, key)
        after = self.model.after(change, answer, self.market.prices)
        assert after is not None, f"{self.model} {change}: {answer.text}"
        self.model = after
        self.asked.append((change, key, answer))

    async def again(self, which: int) -> None:
        if not self.asked:
            return
        change, key, first = self.asked[which % len(self.asked)]
        assert_is_replay(await self.send(1, change, key), first)

    async def at_once(self, step: AtOnce) -> None:
        for change in (step.one, step.other):
            await self.learn_price(change.symbol)
        keys = [f"key-{len(self.asked)}", f"key-{len(self.asked) + (not step.is_one_key)}"]
        one, other = await asyncio.gather(
            self.send(0, step.one, keys[0]), self.send(1, step.other, keys[1])
        )
        if step.is_one_key:
            first, replay = (other, one) if "idempotent-replayed" in one.headers else (one, other)
            assert_is_replay(replay, first)
            pairs = [[(step.one, first)]]
            self.asked.append((step.one, keys[0], first))
        else:
            pairs = [[(step.one, one), (step.other, other)], [(step.other, other), (step.one, one)]]
            self.asked.append((step.one, keys[0], one))
            self.asked.append((step.other, keys[1], other))
        outcomes = [after for order in pairs if (after := self.in_turn(order)) is not None]
        assert outcomes, f"{self.model} {step}: {one.text} {other.text}"
        await self.compare(outcomes)

    def in_turn(self, order: Sequence[tuple[Change, httpx.Response]]) -> Account | None:
        """The model after these answers to these changes, one after the other."""
        model: Account | None = self.model
        for change, answer in order:
            if model is not None:
                model = model.after(change, answer, self.market.prices)
        return model

    async def learn_price(self, symbol: str) -> None:
        if symbol not in self.market.prices:
            answer = await self.clients[0].request("GET", f"/market/price?symbol={symbol}")
            self.market.prices[symbol] = Decimal(answer.json()["data"]["price"])

    async def send(self, client: int, change: Change, key: str) -> httpx.Response:
        headers = {"idempotency-key": key}
        return await self.clients[client].request(**change.request(), headers=headers)

    async def read(self, url: str) -> bytes:
        answer = await self.clients[len(self.seen) % 2].request("GET", url)
        assert answer.status_code == 200, answer.text
        return answer.content

    async def compare(self, possible: Sequence[Account]) -> None:
        """The API shows the model; answers alone may not tell which of two came first."""
        me, orders = await self.read("/users/me"), await self.read("/order")
        shown = [model for model in possible if is_shown(model, me, orders)]
        assert shown, f"{possible} {me.decode()} {orders.decode()}"
        self.model = shown[0]
        self.seen.append((datetime.now(UTC).isoformat(), me, orders))

    async def look_back(self, which: int) -> None:
        if not self.seen:
            return
        instant, me, orders = self.seen[which % len(self.seen)]
        as_of = instant.replace("+00:00", "Z")
        assert await self.read(f"/users/me?as_of={as_of}") == me
        assert await self.read(f"/order?as_of={as_of}") == orders


def is_shown(model: Account, me: bytes, orders: bytes) -> bool:
    user, listed = json.loads(me)["data"], json.loads(orders)["data"]
    expected = [position.shown() for position in (*by_age(model.active), *by_age(model.closed))]
    return (
        user["balance"] == spelled(model.balance)
        and [without_owner(order) for order in listed["orders"]] == expected
        and listed["unique_symbols"] == sorted({position["symbol"] for position in expected})
    )


def assert_is_replay(again: httpx.Response, first: httpx.Response) -> None:
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
async def test_every_life_of_an_account_is_as_the_contract_says(
    pair: Pair, market: Market, watcher: asyncpg.Connection, part: int
) -> None:
    print(f"\nmodel: MODEL_SEED={SEED}, {RUNS // PARTS} runs of {STEPS} steps")  # noqa: T201 - shown where it fails
    loop = asyncio.get_running_loop()

    @seed(SEED + part)
    @settings(
        max_examples=RUNS // PARTS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        phases=PHASES,
    )
    @given(taken=st.lists(steps, min_size=STEPS, max_size=STEPS))
    def live(taken: list[Step]) -> None:
        note(f"MODEL_SEED={SEED}")
        asyncio.run_coroutine_threadsafe(one_life(pair, market, watcher, taken), loop).result()

    await asyncio.to_thread(live)


async def one_life(
    pair: Pair, market: Market, watcher: asyncpg.Connection, taken: Sequence[Step]
) -> None:
    person = await new_person(pair.first, balance="100000")
    token = person.client.headers["Authorization"]
    await person.client.aclose()
    life = Life(
        market=market,
        clients=(DirectClient(pair.first.app, token), DirectClient(pair.second.app, token)),
        model=Account(balance=Decimal(100_000)),
    )
    await life.compare([life.model])
    for step in taken:
        await life.take(step)
    for which in range(0, len(life.seen), 7):
        await life.look_back(which)
    told, epoch = await watcher.fetchrow(
        "SELECT event_number, epoch FROM users WHERE id = $1", person.user.id
    )
    assert (told, epoch) == (life.model.events, life.model.epoch)
