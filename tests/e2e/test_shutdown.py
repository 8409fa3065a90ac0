"""How the real command stops while requests are running."""

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal

import httpx
from tests.e2e.running import ANSWER_SECONDS_MAX, STOP_SECONDS_MAX, Clone, Running, serving

ACCOUNT = {"email": "new@example.com", "password": "correct horse battery", "name": "New"}
ORDER = {"symbol": "BTCUSDT", "quantity": "0.01"}
FUNDS = Decimal(10_000)
FOR_EVER = {"BYBIT_TIMEOUT_SECONDS": "100"}
PATIENT = {"SHUTDOWN_SECONDS": "100", **FOR_EVER}


def begin_trading(server: Running) -> str:
    with server.client() as client:
        client.post("/auth/register", json=ACCOUNT).raise_for_status()
        token = client.post("/auth/login", json=ACCOUNT).json()["data"]["access_token"]
    assert isinstance(token, str)
    with server.client(token) as client:
        client.post("/users/me/deposit", json={"amount": str(FUNDS)}).raise_for_status()
    return token


def hold_the_venue(server: Running) -> None:
    """Let no price be told until `let_the_venue_go`."""
    fault = {"kind": "delay", "seconds": 3600, "path": "/v5/market/tickers"}
    control(server, "POST", "faults", fault)


def let_the_venue_go(server: Running) -> None:
    control(server, "DELETE", "faults")


def control(server: Running, method: str, what: str, wish: object = None) -> str:
    url = f"{server.replay_url}/control/{what}"
    answer = httpx.request(method, url, json=wish, timeout=ANSWER_SECONDS_MAX, trust_env=False)
    assert answer.is_success, answer.text
    return answer.text


def order_in_flight(
    server: Running, token: str, pool: ThreadPoolExecutor
) -> Future[httpx.Response]:
    """An order that waits for its price by the time this returns."""

    def place() -> httpx.Response:
        with server.client(token) as client:
            return client.post("/order", json=ORDER)

    placing = pool.submit(place)
    wait_until(lambda: asked_for_a_price(server))
    return placing


def asked_for_a_price(server: Running) -> bool:
    return "/v5/market/tickers" in control(server, "GET", "requests")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_refused(server: Running) -> bool:
    """Asked in a millisecond: an httpx client takes a busy machine so long that all is over."""
    url = httpx.URL(server.url)
    try:
        with socket.create_connection((url.host, url.port or 0), timeout=20) as asking:
            asking.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return not asking.recv(1)
    except OSError:
        return True


def test_sigterm_takes_no_new_work_finishes_what_runs_ends_the_streams_and_exits_with_0(
    clone: Clone,
) -> None:
    with (
        serving(clone, "--port", "0", "--replay", **PATIENT) as server,
        ThreadPoolExecutor() as pool,
        server.client() as stranger,
    ):
        token = begin_trading(server)
        stranger.get("/")  # a connection that is kept open and idle
        streamed, has_begun = [], threading.Event()

        def stream() -> None:
            with server.client(token) as client, client.stream("GET", "/events/stream") as answer:
                for line in answer.iter_lines():
                    streamed.append(line)
                    has_begun.set()

        streaming = pool.submit(stream)
        assert has_begun.wait(STOP_SECONDS_MAX)
        hold_the_venue(server)
        placing = order_in_flight(server, token, pool)
        server.process.terminate()
        wait_until(lambda: is_refused(server))
        assert not placing.done(), "new work was refused while the old went on"
        let_the_venue_go(server)
        answer = placing.result(STOP_SECONDS_MAX)
        assert answer.status_code == 201
        streaming.result(STOP_SECONDS_MAX)  # it ended as HTTP wants it, not by a broken connection
        assert server.process.wait(STOP_SECONDS_MAX) == 0
    assert clone.output[-1].endswith("goblin has stopped\n")
    assert clone.database_processes() == []


def test_what_does_not_finish_in_time_is_cut_with_nothing_half_done_and_the_exit_is_still_0(
    clone: Clone,
) -> None:
    with (
        serving(clone, "--port", "0", "--replay", SHUTDOWN_SECONDS="1", **FOR_EVER) as server,
        ThreadPoolExecutor() as pool,
    ):
        token = begin_trading(server)
        hold_the_venue(server)
        placing = order_in_flight(server, token, pool)
        assert server.terminate() == 0
        answer = placing.result(STOP_SECONDS_MAX)
        assert answer.status_code == 503
        assert answer.json()["message"] == "goblin is shutting down"
        assert answer.headers["retry-after"] == "1"
    assert clone.database_processes() == []
    log = clone.output[-1]
    (line,) = [json.loads(line) for line in log.splitlines() if '"status": 503' in line]
    assert (line["method"], line["route"]) == ("POST", "/order")
    assert "Traceback" not in log

    with (
        serving(clone, "--port", "0", "--replay", SHUTDOWN_SECONDS="600", **FOR_EVER) as server,
        server.client(token) as client,
        ThreadPoolExecutor() as pool,
    ):
        assert client.get("/order").json()["data"]["orders"] == []
        assert Decimal(client.get("/users/me").json()["data"]["balance"]) == FUNDS
        assert client.get("/ledger/audit").json()["data"]["agrees"] is True

        # The second signal does not wait for the ten minutes that the first one granted.
        hold_the_venue(server)
        placing = order_in_flight(server, token, pool)
        server.process.terminate()
        wait_until(lambda: is_refused(server))
        assert server.process.poll() is None
        assert server.terminate() == 0
        assert placing.result(STOP_SECONDS_MAX).status_code == 503
    assert clone.database_processes() == []
