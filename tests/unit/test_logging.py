import asyncio
import io
import json
import logging
from typing import Literal

import pytest
from app.core.logging import REQUEST_LOGGER, configure_logging
from tests.unit import test_guarded_sockets as sockets
from tests.unit import test_whole_answers as answers
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def request_line() -> None:
    fields = {
        "method": "POST",
        "route": "/order",
        "status": 201,
        "milliseconds": 3.2,
        "request_id": "abc",
        "user_id": 7,
    }
    logging.getLogger(REQUEST_LOGGER).info("request", extra=fields)


def test_a_request_is_one_json_object_on_one_line() -> None:
    stream = io.StringIO()
    configure_logging(level="INFO", style="auto", stream=stream)
    request_line()
    line = json.loads(stream.getvalue())
    assert line["method"] == "POST"
    assert line["route"] == "/order"
    assert line["status"] == 201
    assert line["milliseconds"] == 3.2
    assert line["request_id"] == "abc"
    assert line["user_id"] == 7
    assert line["at"].endswith("+00:00")


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    configure_logging(level="INFO", style="auto", stream=stream)
    request_line()
    assert "POST /order 201 3.2 ms user 7 [abc]" in stream.getvalue()
    logging.getLogger("app").warning("upstream failure", extra={"venue": "Bybit"})
    assert "upstream failure venue=Bybit" in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_nothing_that_is_logged_can_forge_a_line_or_colour_a_terminal(
    style: Literal["json", "text"],
) -> None:
    stream = io.StringIO()
    configure_logging(level="INFO", style=style, stream=stream)
    logging.getLogger("app").warning("x\nforged \x1b[31m \u2028 line")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\u2028" not in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_an_exception_is_logged_with_its_traceback(style: Literal["json", "text"]) -> None:
    stream = io.StringIO()
    configure_logging(level="INFO", style=style, stream=stream)
    try:
        raise ValueError("the reason")
    except ValueError:
        logging.getLogger("app").exception("it broke")
    assert "ValueError: the reason" in stream.getvalue()


def test_an_exception_with_hostile_words_cannot_forge_a_line_either() -> None:
    stream = io.StringIO()
    configure_logging(level="INFO", style="text", stream=stream)
    try:
        raise ValueError("x\n12:00:00 info    forged \x1b[31m \u2028 \r line")
    except ValueError:
        logging.getLogger("app").exception("it broke")
    written = stream.getvalue()
    first, *below = written.splitlines()
    assert "it broke" in first
    assert all(line.startswith("    ") for line in below)
    assert all(character.isprintable() or character == "\n" for character in written)


def test_less_severe_lines_than_asked_for_are_not_written() -> None:
    stream = io.StringIO()
    configure_logging(level="WARNING", style="text", stream=stream)
    request_line()
    assert stream.getvalue() == ""


async def test_no_websocket_client_writes_what_it_proves_itself_with_at_debug_either() -> None:
    stream = io.StringIO()
    configure_logging(level="DEBUG", style="json", stream=stream)
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://ada:hidden-in-base64@127.0.0.1:{port}", proxy=None):
                pass
    assert b"Authorization: Basic" in heads[0]
    assert "Basic" not in stream.getvalue()


async def test_what_any_stranger_may_send_writes_nothing_into_the_log() -> None:
    stream = io.StringIO()
    configure_logging(level="INFO", style="text", stream=stream)
    wire = answers.Wire()
    connection = answers.connection_on(wire, answers.answer_without_a_body)
    connection.data_received(b"nonsense\r\n\r\n")
    connection.connection_lost(None)
    assert wire.writes[0].startswith(b"HTTP/1.1 400 ")
    socket_wire = sockets.Wire()
    socket, may_read = await sockets.opened(socket_wire)
    socket.data_received(b"\x81\x81" + sockets.MASK + b"\xff")
    assert socket_wire.is_cut, "text that is no UTF-8"
    await sockets.closed(socket, may_read)
    assert stream.getvalue() == ""
