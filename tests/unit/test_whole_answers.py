"""Head and body of an answer leave together, and neither ever waits for what does not come."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from app.http.connection import ConnectionLimits, GuardedConnection
from app.http.whole_answers import WholeAnswers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire:
    """A transport that remembers each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def writelines(self, parts: Sequence[bytes]) -> None:
        self.writes.append(b"".join(parts))

    def close(self) -> None:
        self.writes.append(b"(closed)")

    def is_closing(self) -> bool:
        return b"(closed)" in self.writes

    def write_eof(self) -> None:
        self.writes.append(b"(end)")

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        assert name in ("socket", "sockname", "peername", "sslcontext")


def answers_on(wire: Wire) -> WholeAnswers:
    loop = asyncio.get_running_loop()
    return WholeAnswers(cast("asyncio.Transport", wire), loop, close=wire.close)


async def test_a_head_and_its_body_are_one_write_and_what_follows_is_not_held() -> None:
    wire = Wire()
    answers = answers_on(wire)
    for data in (HEAD, b"{}", b"more"):
        answers.write(data)
    assert wire.writes == [HEAD + b"{}", b"more"]
    await asyncio.sleep(0)
    assert wire.writes == [HEAD + b"{}", b"more"]


async def test_the_head_of_a_stream_leaves_though_nothing_follows() -> None:
    wire = Wire()
    answers_on(wire).write(HEAD)
    assert wire.writes == []
    await asyncio.sleep(0)
    assert wire.writes == [HEAD]


async def test_a_head_without_a_body_leaves_before_the_connection_closes() -> None:
    wire = Wire()
    answers = answers_on(wire)
    answers.write(HEAD)
    answers.close()
    assert wire.writes == [HEAD, b"(closed)"]
    assert answers.is_closing()


async def test_a_head_whose_client_has_gone_is_forgotten() -> None:
    wire = Wire()
    answers_on(wire).write(HEAD)
    wire.close()
    await asyncio.sleep(0)
    assert wire.writes == [b"(closed)"], "uvloop's transport raises"


class Clock:
    """The running loop, whose timers go off when the test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = 0.0
        self._waiting: list[tuple[asyncio.TimerHandle, Callable[[], object]]] = []

    def call_later(self, delay: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self._now + delay, callback, (), self._loop)
        self._waiting.append((handle, callback))
        return handle

    def pass_by(self, seconds: float) -> None:
        """Have it later."""
        self._now += seconds
        due = [timer for timer in self._waiting if timer[0].when() <= self._now]
        self._waiting = [timer for timer in self._waiting if timer not in due]
        for handle, callback in due:
            if not handle.cancelled():
                callback()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


def connection_on(wire: Wire, app: ASGIApp, clock: Clock | None = None) -> GuardedConnection:
    loop = cast("asyncio.AbstractEventLoop", clock) if clock else asyncio.get_running_loop()
    config = Config(app, log_config=None, timeout_keep_alive=60)
    connection = GuardedConnection(config, ServerState(), {}, loop, limits=ConnectionLimits())
    connection.connection_made(cast("asyncio.Transport", wire))
    return connection


async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_a_refused_client_is_not_asked_for_its_body_behind_the_refusal() -> None:
    wire = Wire()
    connection = connection_on(wire, read_all)
    connection.data_received(
        b"POST / HTTP/1.1\r\nHost: goblin\r\nExpect: 100-continue\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nno length\r\n"
    )
    await asyncio.gather(*connection.tasks)
    await asyncio.sleep(0)  # a head leaves when the loop comes round
    connection.connection_lost(None)
    starts = [written.partition(b"\r\n")[0] for written in wire.writes]
    assert starts == [b"HTTP/1.1 400 Bad Request", b"(end)", b"(closed)"]


async def answer_without_a_body(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_the_time_of_a_body_that_is_sent_behind_its_answer_is_not_the_next_requests() -> None:
    wire, clock = Wire(), Clock()
    seconds = ConnectionLimits().request_seconds
    connection = connection_on(wire, answer_without_a_body, clock)
    head = b"POST / HTTP/1.1\r\nHost: goblin\r\nContent-Length: 4\r\n\r\n"
    connection.data_received(head)
    await asyncio.gather(*connection.tasks)
    clock.pass_by(seconds - 1)
    connection.data_received(b"body")
    clock.pass_by(seconds - 1)
    assert b"(closed)" not in wire.writes, "as long as after any other answer"
    connection.data_received(head[:9])
    clock.pass_by(0.5)
    connection.data_received(head[9:])
    await asyncio.gather(*connection.tasks)
    connection.connection_lost(None)
    starts = [written.partition(b"\r\n")[0] for written in wire.writes]
    assert starts == 2 * [b"HTTP/1.1 204 No Content"] + [b"(closed)"]


async def test_an_answer_without_a_body_leaves_before_a_refusal_of_what_follows() -> None:
    wire = Wire()
    connection = connection_on(wire, answer_without_a_body)
    connection.data_received(b"HEAD / HTTP/1.1\r\nHost: goblin\r\n\r\n")
    await asyncio.sleep(0)  # what is received just now comes before what the loop was asked to do
    connection.data_received(b"nonsense\r\n\r\n")
    connection.connection_lost(None)
    starts = [written.partition(b"\r\n")[0] for written in wire.writes]
    assert starts == [
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 400 Bad Request",
        b"(end)",
        b"(closed)",
    ]
