"""Several processes and one stream: who follows the venue, who is told, and what a loser can do."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial

import asyncpg
import pytest
from app.clients.bybit import BybitClient
from app.clients.bybit_socket import StreamTimes
from app.clients.bybit_stream import BybitStream
from app.clients.venue_http import venue_http_client
from app.db.address import DatabaseAddress
from app.db.database import ACQUIRE_SECONDS_MAX, open_database
from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, LiveValue, Ticker, Topic
from app.jobs.stream_market import CHANNEL, RelayTimes, Streaming, follow, ingest
from app.jobs.supervisor import supervised
from app.replay import ReplayExchange, replay_exchange
from app.services.board import Board
from app.services.demand import Demand
from app.services.relay import Listener, spell_wishes
from tests.conftest import CloneDatabase, new_person, run_installation, settings_for

SAFETY_SECONDS = 30
SPOT = Category.SPOT
TICKER = Topic(SPOT, Symbol("BTCUSDT"), Channel.TICKER)
BOOK = Topic(SPOT, Symbol("ETHUSDT"), Channel.BOOK)
QUICK = RelayTimes(
    lease=1.0,
    renew=0.2,
    retry=0.2,
    tell_wishes=0.3,
    keep_wishes=2.0,
    wishes_pause=0.05,
    look_up=0.3,
    store=0.05,
    fill_retry=0.2,
)


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SAFETY_SECONDS):
        while not is_so():  # noqa: ASYNC110 - the truth lies in several places
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    address: DatabaseAddress,
    exchange: ReplayExchange,
    name: str,
    *,
    times: StreamTimes | None = None,
    relay: RelayTimes = QUICK,
    demand: Demand | None = None,
) -> AsyncIterator[Streaming]:
    """What one process has and does."""
    board = Board(venue="Bybit", monotonic=time.monotonic)
    async with (
        open_database(address, pool_size=2) as db,
        venue_http_client(exchange.base_url) as http,
    ):
        streaming = Streaming(
            address=address,
            db=db,
            board=board,
            demand=demand or Demand(monotonic=time.monotonic),
            open_stream=lambda hear: BybitStream(exchange.stream_url, hear=hear, times=times),
            source=BybitClient(http, timeout_seconds=10),
            monotonic=time.monotonic,
            holder=name,
            listener=Listener(board, holder=name, monotonic=time.monotonic),
            times=relay,
        )
        jobs = {"ingest": partial(ingest, streaming), "follow": partial(follow, streaming)}
        async with supervised(jobs):
            yield streaming


@asynccontextmanager
async def two_running(
    address: DatabaseAddress, exchange: ReplayExchange, relay: RelayTimes = QUICK
) -> AsyncIterator[tuple[Streaming, Streaming]]:
    """The first of them streams, for as long as nobody ends its lease."""
    relay = replace(relay, lease=60)
    async with running(address, exchange, "here", relay=relay) as here:
        await eventually(lambda: here.term is not None)
        async with running(address, exchange, "there", relay=relay) as there:
            yield here, there


@pytest.fixture
async def exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as exchange:
        exchange.clock.set_speed(60)
        yield exchange


def price(streaming: Streaming, topic: Topic = TICKER) -> Decimal | None:
    posted = streaming.board.get(topic)
    return posted.value.last_price if posted and isinstance(posted.value, Ticker) else None


def posted_value(streaming: Streaming, topic: Topic) -> LiveValue | None:
    posted = streaming.board.get(topic)
    return None if posted is None else posted.value


def candle(minute: int, *, is_closed: bool) -> LiveCandle:
    one, open_ms = Decimal(1), minute * 60_000
    return LiveCandle(
        interval="1", open_ms=open_ms, end_ms=open_ms + 59_999, open=one, high=one, low=one,
        close=one, volume=one, turnover=one, is_closed=is_closed, venue_time_ms=open_ms + 60_000,
    )  # fmt: skip


async def test_exactly_one_process_follows_the_venue_and_the_other_is_told(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    async with two_running(address, exchange) as (here, there):
        with there.demand.hold([TICKER, BOOK]):
            await eventually(lambda: price(there) is not None and BOOK in there.board.topics)
            assert there.term is None
            assert exchange.requests.count("/v5/public/spot") == 1
            posted = there.board.get(BOOK)
            assert posted is not None
            assert isinstance(posted.value, Book)
            assert len(posted.value.bids) == 50
            first = price(there)
            await eventually(lambda: price(there) != first)
            assert there.board.fresh_ticker(SPOT, TICKER.symbol, age_seconds_max=20)
        await eventually(lambda: not here.others.wanted())


async def test_what_nobody_wants_is_not_told(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    async with two_running(address, exchange) as (here, there):
        with here.demand.hold([TICKER]), there.demand.hold([BOOK]):
            await eventually(lambda: price(here) is not None and BOOK in there.board.topics)
            await asyncio.sleep(0.2)
            assert price(there) is None


@pytest.mark.parametrize("comes_back_last", ["here", "there"])
async def test_a_listener_that_lost_its_connection_reads_everything_again(
    clone: CloneDatabase, exchange: ReplayExchange, comes_back_last: str
) -> None:
    exchange.clock.set_speed(0)  # nothing changes, so nothing is told but what is asked for
    address = await clone()
    admin = await asyncpg.connect(**address.connect_arguments())

    async def listening() -> list[int]:
        oldest_first = await admin.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'goblin events' ORDER BY backend_start"
        )
        return [row["pid"] for row in oldest_first]

    async def end(*pids: int) -> None:
        await admin.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)

    # What expired and is wished again is told again, too: that must not help here.
    relay = replace(QUICK, keep_wishes=60)
    async with two_running(address, exchange, relay) as (here, there):
        with here.demand.hold([TICKER]), there.demand.hold([TICKER]):
            await eventually(lambda: price(there) is not None)
            # Who loses a connection for the second time waits longer until they come back.
            before = await listening()
            last = comes_back_last == "there"
            await end(before[last])
            async with asyncio.timeout(SAFETY_SECONDS):
                now = before
                while before[last] in now or len(now) < 2:
                    await asyncio.sleep(0.02)
                    now = await listening()
            there.board._posted.clear()  # noqa: SLF001 - as if it had missed what was told
            await end(*await listening())
            await eventually(lambda: price(there) is not None)
    await admin.close()


async def test_what_nobody_has_followed_for_long_is_not_told_as_what_is_known(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    left = replace(TICKER, symbol=Symbol("NOSUCHUSDT"))  # the venue says nothing newer
    async with two_running(address, exchange) as (here, there):
        with here.demand.hold([TICKER]):
            await eventually(lambda: price(here) is not None)
            posted = here.board.get(TICKER)
            assert posted is not None
            here.board.hear(left, posted.value, received_at=time.monotonic() - 3600)
            with there.demand.hold([TICKER, left]):
                await eventually(lambda: price(there) is not None)
                assert left not in there.board.topics


async def test_a_closed_candle_is_told_though_another_process_has_all_of_it_told_again(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    """It closes while the texts before it are being sent, and the other speaks up meanwhile."""
    topic = Topic(SPOT, Symbol("NOSUCHUSDT"), Channel.CANDLE, "1")  # only we say anything of it
    closed, forming = candle(0, is_closed=True), candle(1, is_closed=False)
    address = await clone()
    admin, third = [await asyncpg.connect(**address.connect_arguments()) for _ in range(2)]
    async with two_running(address, exchange, replace(QUICK, renew=60)) as (here, there):
        with there.demand.hold([TICKER, topic]), there.board.follow([topic]) as following:
            await eventually(lambda: price(there) is not None)
            async with admin.transaction():
                await admin.execute("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")
                here.board.hear(topic, candle(0, is_closed=False), received_at=time.monotonic())
                await until(
                    third,
                    "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database() AND query LIKE '%count(pg_notify%' "
                    "AND pid <> pg_backend_pid()",
                )
                here.board.hear(topic, closed, received_at=time.monotonic())
                here.board.hear(topic, forming, received_at=time.monotonic())
                (text,) = spell_wishes("third", [topic], unknown=[topic])
                await third.execute("SELECT pg_notify($1, $2)", CHANNEL, text)
                await eventually(lambda: topic in here.unknown)
            await eventually(lambda: posted_value(there, topic) == forming)
            news = following.take_now()[topic].news
            assert isinstance(news, tuple)
            assert closed in news
    await admin.close()
    await third.close()


async def test_a_database_that_went_back_to_an_earlier_term_is_heard_again(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    """A backup was restored, or a server took over that had not heard of the last terms."""
    address = await clone()
    admin = await asyncpg.connect(**address.connect_arguments())
    async with two_running(address, exchange) as (_, there):
        with there.demand.hold([TICKER]):
            await eventually(lambda: price(there) is not None)
            there.listener.term = 1000
            first = price(there)
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'goblin events'"
            )
            await eventually(lambda: price(there) != first)
    await admin.close()


async def test_the_next_process_takes_over_and_a_lost_lease_cannot_write(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    async with two_running(address, exchange) as (here, there):
        with there.demand.hold([TICKER]):
            await eventually(lambda: price(there) is not None)
            admin = await asyncpg.connect(**address.connect_arguments())
            await admin.execute("UPDATE leases SET expires_at = now() - interval '1 second'")
            await admin.close()
            await eventually(lambda: there.term is not None or here.term not in (None, 1))
            await eventually(lambda: (here.term is None) != (there.term is None))
            first = price(there)
            await eventually(lambda: price(there) != first)


async def test_orders_and_watchlists_are_followed_without_anybody_asking(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    settings = settings_for(address, exchange.base_url)
    async with run_installation(settings) as installation:
        person = await new_person(installation, balance="1000000")
        async with person.client:
            await person.client.post("/watchlist", json={"symbol": "SOLUSDT"})
            await person.client.post("/order", json={"symbol": "ETHUSDT", "quantity": "1"})
        async with running(address, exchange, "here") as streaming:
            wanted = {Topic(SPOT, Symbol(s), Channel.TICKER) for s in ("SOLUSDT", "ETHUSDT")}
            await eventually(lambda: wanted <= set(streaming.board.topics))


async def test_a_watchlist_is_followed_on_while_no_connection_is_free_to_look_it_up(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    await conn.execute(
        """
        WITH ada AS (
            INSERT INTO users (email, password, name) VALUES ('ada@example.com', '', 'Ada')
            RETURNING id
        )
        INSERT INTO watchlists (user_id, symbol) SELECT id, 'BTCUSDT' FROM ada
        """
    )
    await conn.close()
    now = 0.0
    demand, relay = Demand(monotonic=lambda: now), replace(QUICK, look_up=0.5)
    async with running(address, exchange, "here", relay=relay, demand=demand) as here:
        await eventually(lambda: TICKER in here.board.topics)
        async with here.db.connection(), here.db.connection():
            await eventually(lambda: here.db.pool_use.waiting > 0)
            await eventually(lambda: here.db.pool_use.waiting == 0)
            now += relay.look_up + ACQUIRE_SECONDS_MAX  # as long as it takes where nothing is late
            assert TICKER in here.demand.wanted()


async def test_an_order_fills_at_the_streams_price_and_says_so(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    """The whole product: the first order asks, and from then on the stream knows."""
    address = await clone()
    settings = settings_for(
        address, exchange.base_url, market_streams="on", price_max_age_seconds=5
    )
    async with run_installation(settings) as installation:
        person = await new_person(installation, balance="1000000000")
        async with person.client as client:
            board = installation.resources.board
            await client.get("/market/price?symbol=BTCUSDT")
            await eventually(lambda: TICKER in board.topics)
            source, fill = "", {}
            async with asyncio.timeout(SAFETY_SECONDS):
                while source != "Bybit:stream":
                    bought = await client.post(
                        "/order", json={"symbol": "BTCUSDT", "quantity": "1"}
                    )
                    assert bought.status_code == 201, bought.text
                    order_id = bought.json()["data"]["id"]
                    detail = await client.get(f"/order/{order_id}")
                    fill, *_ = detail.json()["data"]["explain"]
                    source = fill["source"]
                    assert source in ("Bybit", "Bybit:stream")
                    await client.delete("/order/BTCUSDT")
            assert fill["price_age_ms"] < 5000


async def until(conn: asyncpg.Connection, question: str) -> None:
    async with asyncio.timeout(SAFETY_SECONDS):
        while not await conn.fetchval(question):  # noqa: ASYNC110 - the database knows
            await asyncio.sleep(0.05)
