"""The exchange on a loopback port.

It runs uvicorn's HTTP protocol on a socket of our own instead of uvicorn.Server: that starts
and stops at once, leaves the process's signal handlers alone, and lets a fault cut a connection.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from starlette.requests import Request
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.replay.answers import kline, server_time, tickers
from app.replay.book import orderbook, recent_trades
from app.replay.clock import ReplayClock, iso_time
from app.replay.control import Control, RequestLog, answer_control
from app.replay.errors import CannotListen, NotLoopback, UnreadableRecording
from app.replay.faults import CLOUDFRONT, HTML, JSON, Answer, Faults
from app.replay.generated import generated_market
from app.replay.listing import instruments_info
from app.replay.market import Market
from app.replay.socket import CUT, CuttableSocket, serve_socket
from app.replay.wire import ROUTE_NOT_FOUND, SERVER_ERROR, Rejected, encoded, envelope

LOGGER: Final = logging.getLogger(__name__)
PIECE_BYTES: Final = 65_536
ENDPOINTS: Final = {
    "/v5/market/time": server_time,
    "/v5/market/kline": kline,
    "/v5/market/tickers": tickers,
    "/v5/market/orderbook": orderbook,
    "/v5/market/recent-trade": recent_trades,
    "/v5/market/instruments-info": instruments_info,
}

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayExchange:
    """A running exchange.

    `base_url` is what BYBIT_BASE_URL is set to, `stream_url` what BYBIT_STREAM_URL is.
    """

    base_url: str
    stream_url: str
    market: Market
    clock: ReplayClock
    faults: Faults
    requests: RequestLog

    @property
    def description(self) -> str:
        """For people: how much is traded, and what time it is there."""
        symbols = {instrument.symbol for instrument in self.market.instruments.values()}
        return (
            f"{len(symbols)} symbols, clock at {iso_time(self.clock.now_ms())}, "
            f"speed {self.clock.speed:g}"
        )


@asynccontextmanager
async def replay_exchange(
    market: Market | None = None,
    *,
    clock: ReplayClock | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    may_leave_loopback: bool = False,
) -> AsyncIterator[ReplayExchange]:
    """Serve a market (a generated one by default) in this event loop until the block is left.

    Without a clock of the caller's, time stands still at the market's start (speed 0). Port 0
    takes a free one. Raises NotLoopback for another host unless `may_leave_loopback`, and
    CannotListen.
    """
    if not (may_leave_loopback or _is_loopback(host)):
        raise NotLoopback(host)
    market = market or generated_market()
    clock = clock or ReplayClock(market.start_ms, last_ms=market.last_ms, speed=0)
    control = Control(market=market, clock=clock)
    app = ReplayApp(control)
    config = Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=120,  # longer than a client of ours keeps an idle connection
        ws=CuttableSocket,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: CuttableProtocol(config, state, {}), host, port)
    except (OSError, OverflowError) as error:
        raise CannotListen(host, port, str(error)) from None
    try:
        bound_host, bound_port, *_ = server.sockets[0].getsockname()
        url_host = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield ReplayExchange(
            base_url=f"http://{url_host}:{bound_port}",
            stream_url=f"ws://{url_host}:{bound_port}",
            market=market,
            clock=clock,
            faults=control.faults,
            requests=control.requests,
        )
    finally:
        for _ in range(5):  # asyncio forgets the socket of who is let in while it closes
            await asyncio.sleep(0)
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        while state.tasks:  # each sees that its connection is gone
            await asyncio.wait(state.tasks)
        await server.wait_closed()


class CuttableProtocol(HttpToolsProtocol):
    """HTTP whose application can cut the connection."""

    def on_message_begin(self) -> None:
        """Hand the application the connection's end."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"cut": self.transport.abort}}


class ReplayApp:
    """The ASGI application: /v5 as the venue answers, /control for the operator."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one WebSocket."""
        if scope["type"] == "websocket":
            await serve_socket(self._control, scope, receive, send)
            return
        assert scope["type"] == "http", "lifespan is switched off"
        request = Request(scope, receive)
        if request.url.path.startswith("/control"):
            status, document = await answer_control(self._control, request)
            answer = Answer(document=document, status=status, headers=JSON, body=encoded(document))
        else:
            answer = self._venue_answer(request)
        delays = self._control.faults.delays
        await _deliver(answer, delays=delays, scope=scope, receive=receive, send=send)

    def _venue_answer(self, request: Request) -> Answer:
        path, symbol = request.url.path, request.query_params.get("symbol")
        control = self._control
        control.requests.record(path, symbol)
        true = _true_answer(control.market, control.clock.now_ms(), request)
        return control.faults.apply(true, path=path, symbol=symbol)


def _true_answer(market: Market, now_ms: int, request: Request) -> Answer:
    endpoint = ENDPOINTS.get(request.url.path)
    if endpoint is None or request.method != "GET":
        document = envelope({}, code=ROUTE_NOT_FOUND, message="Route not found.", time_ms=now_ms)
        return Answer(document=document, status=404, headers=JSON, body=encoded(document))
    try:
        document = envelope(endpoint(market, now_ms, request.query_params), time_ms=now_ms)
    except Rejected as error:
        document = envelope(error.result, code=error.code, message=error.message, time_ms=now_ms)
    except UnreadableRecording as error:  # its rows are read when they are first asked for
        LOGGER.error("%s", error)  # noqa: TRY400  the text says all
        document = envelope({}, code=SERVER_ERROR, message="Server error.", time_ms=now_ms)
        return Answer(document=document, status=500, headers=JSON, body=encoded(document))
    if request.headers.get("content-length", "0") != "0":  # the venue refuses a GET with a body
        return Answer(document=document, status=403, headers=HTML, body=CLOUDFRONT)
    return Answer(document=document, headers=JSON, body=encoded(document))


async def _deliver(
    answer: Answer,
    *,
    delays: set[asyncio.Timeout],
    scope: Message,
    receive: Receive,
    send: Send,
) -> None:
    """Send an answer the way it wants to be sent, or as much as the client stays for."""
    if answer.wait_seconds is None and await _left(receive, None):
        return
    if answer.wait_seconds and await _left(receive, answer.wait_seconds, delays):
        return
    cut = scope["extensions"][CUT]["cut"]
    if answer.drop_after == -1:
        cut()
        await _left(receive, None)
        return
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if isinstance(answer.body, bytes):
        headers["content-length"] = str(len(answer.body))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    for piece in _pieces(answer):
        if answer.byte_seconds and await _left(receive, answer.byte_seconds):
            return
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if answer.drop_after is not None:
        cut()
        await _left(receive, None)
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _pieces(answer: Answer) -> Iterator[bytes]:
    if not isinstance(answer.body, bytes):
        return answer.body()
    body = answer.body[: answer.drop_after]
    size = 1 if answer.byte_seconds else PIECE_BYTES
    return (body[at : at + size] for at in range(0, len(body), size))


async def _left(
    receive: Receive, seconds: float | None, waits: set[asyncio.Timeout] | None = None
) -> bool:
    """Wait for so long, or for ever; whether the client left meanwhile.

    For as long as it lasts the wait is one of `waits`, and can be cut short there.
    """
    shown = set() if waits is None else waits
    wait = asyncio.timeout(seconds)
    try:
        async with wait:
            shown.add(wait)
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    finally:
        shown.discard(wait)
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
