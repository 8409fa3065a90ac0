"""The operator's side of the replay exchange, and its socket."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from app.replay import (
    ReplayError,
    ReplayExchange,
    generated_market,
    recorded_market,
    replay,
    replay_exchange,
)
from app.replay.errors import CannotListen, NotLoopback
from tests.integration.asking import price

MINUTE_MS = 60_000


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as running:
        yield running


@pytest_asyncio.fixture
async def client(exchange: ReplayExchange) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client:
        yield client


async def test_the_clock_is_set_stepped_and_sped_up_over_http(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    set_to = await client.post("/control/clock", json={"set": "2025-06-01T00:00Z"})
    assert set_to.json()["now_ms"] == 1_748_736_000_000
    stepped = await client.post("/control/clock", json={"advance_ms": 59_999})
    assert stepped.json()["now"] == "2025-06-01T00:00:59.999Z"
    assert (await client.get("/v5/market/time")).json()["time"] == 1_748_736_059_999
    await client.post("/control/clock", json={"set": 0, "speed": 10_000})
    await asyncio.sleep(0.02)
    assert exchange.clock.now_ms() >= 200_000


async def test_faults_are_added_listed_and_cleared_over_http(client: httpx.AsyncClient) -> None:
    wish = {"kind": "price", "value": "-1", "symbol": "BTCUSDT", "times": 3}
    assert (await client.post("/control/faults", json=wish)).status_code == 200
    assert (await price(client)).json()["result"]["list"][0]["lastPrice"] == "-1"
    assert (await price(client, "ETHUSDT")).json()["result"]["list"][0]["lastPrice"] != "-1"
    (active,) = (await client.get("/control/faults")).json()["faults"]
    assert active == wish | {"times": 2, "path": None, "seconds": None}
    assert (await client.delete("/control/faults")).json() == {"faults": []}


async def test_requests_are_counted_by_path_and_symbol(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    await asyncio.gather(*(price(client) for _ in range(3)), price(client, "ETHUSDT"))
    await client.get("/v5/market/time")
    assert exchange.requests.count() == 5
    assert exchange.requests.count("/v5/market/tickers") == 4
    assert exchange.requests.count("/v5/market/tickers", symbol="BTCUSDT") == 3
    counted = (await client.get("/control/requests")).json()
    assert counted["total"] == 5
    assert {"path": "/v5/market/time", "symbol": None, "count": 1} in counted["requests"]
    await client.delete("/control/requests")
    assert exchange.requests.count() == 0


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("clock", "{}", "nothing is none of set, advance_ms, speed"),
        ("clock", '{"time": 1}', "time is none of"),
        ("clock", '{"set": "soon"}', "neither milliseconds"),
        ("clock", '{"set": -1}', "1970"),
        ("clock", '{"advance_ms": 1.5}', "advance_ms is a whole number"),
        ("clock", '{"advance_ms": true}', "advance_ms is a whole number"),
        ("clock", '{"advance_ms": -5}', "use set to go back"),
        ("clock", '{"speed": NaN}', "speed is a number from 0"),
        ("clock", '{"speed": "fast"}', "speed is a number"),
        ("clock", "[1]", "a JSON object"),
        ("clock", "what", "Expecting value"),
        ("clock", "[" * 60_000, "recursion"),
        ("clock", " " * 70_000, "larger than"),
        ("faults", '{"symbol": "BTCUSDT"}', "kind '' is none of"),
        ("faults", '{"kind": "explode"}', "is none of delay"),
        ("faults", '{"kind": "delay", "seconds": "1"}', "seconds is a number"),
        ("faults", '{"kind": "delay", "value": 1}', "value is a string"),
        ("faults", '{"kind": "delay", "for": 1}', "for is none of kind"),
    ],
)
async def test_a_wrong_control_call_says_what_would_be_right(
    client: httpx.AsyncClient, path: str, body: str, complaint: str
) -> None:
    response = await client.post(f"/control/{path}", content=body)
    assert response.status_code == 400
    assert complaint in response.json()["error"]


@pytest.mark.parametrize("wrong", [{"speed": 10_001}, {"advance_ms": -5}, {"advance_ms": 10**18}])
async def test_a_clock_call_that_is_wrong_in_one_thing_does_none(
    exchange: ReplayExchange, client: httpx.AsyncClient, wrong: dict[str, int]
) -> None:
    exchange.clock.set_speed(0)
    before = exchange.clock.now_ms()
    response = await client.post("/control/clock", json={"set": 0, **wrong})
    assert response.status_code == 400
    assert exchange.clock.now_ms() == before


async def test_control_tells_what_is_traded_what_is_made_up_and_what_can_go_wrong(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    overview = (await client.get("/control")).json()
    assert "POST /control/faults" in overview["calls"]
    assert "hang" in overview["faults"]
    assert "derived" in overview["derived"]
    file = tmp_path / "bybit_linear_BTCUSDT_1.csv"
    file.write_text("ts,open,high,low,close,volume\n0,1,1,1,1,1\n")
    async with (
        replay_exchange(recorded_market(file)) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as other,
    ):
        rows = (await other.get("/control")).json()["instruments"]
    assert [(row["category"], row["source"]) for row in rows] == [
        ("spot", "bybit_linear_BTCUSDT_1.csv"),
        ("linear", "bybit_linear_BTCUSDT_1.csv"),
    ]
    assert (await client.get("/control/nothing")).status_code == 404


async def test_a_recording_is_replayed_from_where_one_says_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "bybit_linear_BTCUSDT_1.csv"
    file.write_text("ts,open,high,low,close,volume\n0,1,1,1,1,1\n60000,1,2,1,2,1\n")
    async with replay(file, start="1970-01-01T00:01:59.999Z", speed=0) as running:
        assert running.clock.now_ms() == 119_999
        assert running.description == "1 symbols, clock at 1970-01-01T00:01:59.999Z, speed 0"
    for start in ("1970-01-01T00:02Z", "2025-06-01"):
        with pytest.raises(ReplayError, match=r"1970-01-01T00:00:00.000Z to .*00:01:59.999Z"):
            async with replay(file, start=start):
                pass


async def test_it_listens_on_loopback_only_unless_told() -> None:
    with pytest.raises(NotLoopback, match=r"0\.0\.0\.0"):
        async with replay_exchange(host="0.0.0.0"):  # noqa: S104  it is refused
            pass


async def test_a_taken_port_is_named(exchange: ReplayExchange) -> None:
    port = httpx.URL(exchange.base_url).port
    assert port is not None
    with pytest.raises(CannotListen, match=f"port {port}"):
        async with replay_exchange(port=port):
            pass


async def test_exchanges_run_side_by_side_and_know_nothing_of_each_other(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    async with (
        replay_exchange(generated_market(seed=2)) as other,
        httpx.AsyncClient(base_url=other.base_url, timeout=60) as second,
    ):
        other.faults.add("status_500")
        other.clock.advance(MINUTE_MS)
        assert (await price(second)).status_code == 500
        assert (await price(client)).status_code == 200
        assert exchange.requests.count() == 1
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(base_url=other.base_url, timeout=60) as late:
            await late.get("/v5/market/time")


async def test_who_comes_while_it_stops_leaves_no_socket_behind() -> None:
    for turns in range(5):
        async with replay_exchange() as stopping:
            url = httpx.URL(stopping.base_url)
            client = socket.create_connection((url.host, url.port or 0))
            for _ in range(turns):
                await asyncio.sleep(0)
        client.close()
    gc.collect()  # a forgotten socket warns when it is collected, and warnings are errors
