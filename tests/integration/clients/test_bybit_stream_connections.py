"""The stream client when connections are cut, silent, refused or drowned."""

import asyncio
import logging
from dataclasses import replace

import pytest
from app.clients import bybit_socket
from app.clients.bybit_socket import StreamTimes
from app.clients.bybit_stream import BybitStream, stream_url_of
from app.domain.instruments import Symbol
from app.domain.live import Channel, Topic
from app.replay import replay_exchange
from bench.victims import kept_port
from tests.integration.clients.followed import (
    BOOK,
    ETH,
    IMPATIENT,
    LINEAR,
    QUICK,
    SPOT,
    TICKER,
    World,
    following,
)

SOCKET_LOGGER = bybit_socket.__name__
"""Whatever else of the process is at work may log as well."""


async def test_more_characters_than_a_connection_may_have_take_several_connections(
    world: World,
) -> None:
    symbols = [key[1] for key in world.exchange.market.instruments if key[0] is SPOT]
    topics = [
        Topic(SPOT, Symbol(symbol), channel)
        for symbol in symbols
        for channel in (Channel.TICKER, Channel.TRADES, Channel.BOOK)
    ]
    async with following(world, *topics):
        await world.until(lambda: all(world.heard.count(topic) for topic in topics))
        assert world.stream.socket_count == 2


@pytest.mark.parametrize("kind", ["stream_malformed", "stream_garbage", "stream_big"])
async def test_a_frame_that_cannot_be_read_costs_the_connection_and_no_truth(
    world: World, kind: str
) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add(kind, times=1)
        await world.until(lambda: world.stream.counts.losses == 1)
        await world.is_right_again()


async def test_a_flood_is_survived_in_bounded_memory(world: World) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(BOOK, 2)
        world.exchange.faults.add("stream_flood", times=1, value="3000")
        await world.until(lambda: world.stream.counts.frames > 3000)
        await world.is_right_again()


@pytest.mark.parametrize("code", ["1000", "1001", "1011", "1013"])
async def test_a_closed_connection_is_opened_again(world: World, code: str) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add("stream_close", times=1, value=code)
        await world.until(lambda: world.stream.counts.losses == 1)
        await world.is_right_again()


async def test_a_cut_connection_is_opened_again(world: World) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add("stream_cut", times=3)
        await world.until(lambda: world.stream.counts.losses == 3)
        await world.is_right_again()


@pytest.mark.parametrize("kind", ["stream_silence", "stream_half_open"])
async def test_a_connection_on_which_nothing_comes_is_given_up(world: World, kind: str) -> None:
    world = World(world.exchange, IMPATIENT)
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add(kind, times=1)
        await world.until(lambda: world.stream.counts.losses >= 1)
        await world.is_right_again()


async def test_a_quiet_market_is_no_silence_because_pings_are_answered() -> None:
    async def be_quiet(kind: str | None) -> int:
        async with replay_exchange() as exchange:
            world = World(exchange, replace(QUICK, silence=2.5))
            if kind is not None:
                exchange.faults.add(kind)
            async with following(world, TICKER):
                await world.until_told(TICKER)
                await asyncio.sleep(3)  # the exchange's clock stands still
                return world.stream.counts.losses

    losses = await asyncio.gather(be_quiet(None), be_quiet("stream_option_pong"))
    assert set(losses) == {0}


async def test_a_venue_that_never_answers_a_ping_and_says_nothing_is_given_up(
    world: World,
) -> None:
    world = World(world.exchange, IMPATIENT)
    world.exchange.faults.add("stream_no_pong")
    async with following(world, TICKER):
        await world.until_told(TICKER)
        await world.until(lambda: world.stream.counts.losses > 0, step_ms=0)
        world.exchange.faults.clear()
        await world.is_right_again()


async def test_a_refused_handshake_is_tried_again_after_a_longer_pause(world: World) -> None:
    world.exchange.faults.add("stream_refuse_connection", times=2, value="403")
    async with following(world, TICKER):
        await world.is_right_again()
    assert world.stream.counts.losses == 2
    assert sum(pause >= QUICK.forbidden for pause in world.pauses) == 2


async def test_a_handshake_refused_with_a_status_of_the_edge_s_own_is_tried_again(
    world: World,
) -> None:
    """Cloudflare answers 520 to 530 for an origin that it cannot reach; no standard has them."""
    world.exchange.faults.add("stream_refuse_connection", times=1, value="520")
    async with following(world, TICKER):
        await world.is_right_again()
    assert world.stream.counts.losses == 1


async def test_pauses_grow_with_jitter_and_never_pass_the_maximum(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="app.clients"):
        world.exchange.faults.add("stream_refuse_connection", times=6, value="503")
        async with following(world, TICKER):
            await world.is_right_again()
    pauses = [pause for pause in world.pauses if pause < QUICK.forbidden][:6]
    assert pauses[:3] == pytest.approx([0.015, 0.03, 0.06])
    assert max(pauses) == pytest.approx(QUICK.reconnect_max * 0.75)
    told = [record.getMessage() for record in caplog.records if record.name == SOCKET_LOGGER]
    assert told == [
        "the venue's stream is away; prices are asked for until it is back",
        "the venue's stream is back",
    ]


def test_with_the_default_times_a_connection_comes_back_within_five_seconds() -> None:
    times = StreamTimes()
    assert times.reconnect_max <= 5
    assert times.ping == 20
    assert times.silence > times.ping


async def test_an_unreachable_venue_is_mentioned_once_and_hangs_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with kept_port() as port, caplog.at_level(logging.DEBUG, logger="app.clients"):
        stream = BybitStream(
            f"ws://127.0.0.1:{port}", hear=world.heard, times=QUICK, sleep=asyncio.sleep
        )
        stream.want({TICKER, Topic(LINEAR, ETH, Channel.TICKER)})
        running = asyncio.create_task(stream.run())
        await world.until(lambda: stream.counts.losses >= 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [record.name for record in caplog.records].count(SOCKET_LOGGER) == 1


@pytest.mark.parametrize(
    ("base_url", "stream_url"),
    [
        ("https://api.bybit.com", "wss://stream.bybit.com"),
        ("https://api-testnet.bybit.com", "wss://stream-testnet.bybit.com"),
        ("https://api-demo.bybit.com", "wss://stream.bybit.com"),
        ("http://127.0.0.1:8123", "ws://127.0.0.1:8123"),
        ("http://localhost:8123", "ws://localhost:8123"),
        ("https://bybit.example.com", None),
    ],
)
def test_the_stream_has_the_prices_of_the_rest_address_or_there_is_none(
    base_url: str, stream_url: str | None
) -> None:
    assert stream_url_of(base_url) == stream_url
