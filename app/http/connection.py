"""Connections that do not wait for ever, which uvicorn's own do, and a bound on what they hold.

Every connection is, at any moment, in one of three states, and each has an end: a request is
arriving (`request_seconds`), a whole one is being answered (the application's business, and
`unread_seconds` for a client that does not take the answer), or the next one is awaited
(uvicorn's keep-alive). A WebSocket leaves this class with its handshake; see event_stream.py.

Built on uvicorn's httptools protocol, the stricter of its parsers and the one that is pinned.
`uvicorn app.main:app` runs without any of this.
"""

import asyncio
import logging
import re
import secrets
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NoReturn, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import MAX_LINE_LENGTH

from app.http.refusals import (
    HANDSHAKE_TOO_LARGE,
    MALFORMED,
    TOO_MANY_CONNECTIONS,
    UNKNOWN_METHOD,
    Refusal,
)
from app.http.whole_answers import WholeAnswers

METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ ")
"""How a request line begins; RFC 9110, section 5.6.2."""

LINGER_SECONDS: Final = 2.0
"""How long a refused client is still listened to. Closing with bytes unread would reset the
connection, and the answer with it."""

REFUSED_AT_ONCE_MAX: Final = 128
"""Most connections beyond the limit that are answered; any more are dropped without a word."""

PARSED_AT_ONCE_BYTES: Final = 8192
"""Most that the parser is given at a time. It does not say where in that a request begins, so
that this much may be gathered beyond the limits."""

HEADER_LINE_BYTES: Final = 4
"""What a header takes beside its name and its value."""

REQUEST_LINE_BYTES: Final = len(b"GET  HTTP/1.1\r\n")
"""What the first line of a handshake takes beside its URL."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one process puts up with from all its clients."""

    request_seconds: float = 12.0
    """How long a request may take to arrive: its first byte (for the first request of a
    connection: the connection) to its last."""
    unread_seconds: float = 30.0
    """How long more of an answer than fits into the buffers may wait to be taken."""
    connections: int = 5000
    waiting: int = 32
    """Requests that came in behind the one that is being answered: small ones to send, and a
    hundred times as large to keep."""
    headers: int = 100
    head_bytes: int = 32_768
    """Of all headers together, names and values."""
    url_bytes: int = 8192


class GuardedConnection(HttpToolsProtocol):
    """One connection of a client, from its first byte until the request is handed over."""

    _answers: WholeAnswers

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._is_arriving = False
        self._is_over = False
        self._is_lingering = False
        self._refusal = MALFORMED
        self._worked_on: RequestResponseCycle | None = None
        self._is_head_complete = False
        self._head_lines = 0
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._received = b""
        self._arrival: asyncio.TimerHandle | None = None
        self._delivery: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, unless there are too many who are waited for."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._answers = WholeAnswers(self.transport, self.loop, close=self._close)
        excess = len(self.connections) - self._limits.connections
        if excess > REFUSED_AT_ONCE_MAX:
            self.transport.abort()
        elif excess > 0:
            self._refuse(TOO_MANY_CONNECTIONS)
        else:
            self._await_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock, and have whoever answers know that nobody listens any more."""
        self._stop_arrival()
        self._stop_delivery()
        if self._worked_on is not None:  # uvicorn tells the last that arrived, which may wait
            self._worked_on.disconnected = True
            self._worked_on.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and keep the time until the request is there as a whole."""
        for start in range(0, len(data), PARSED_AT_ONCE_BYTES):
            if self._is_over:
                return
            self._received = data[start : start + PARSED_AT_ONCE_BYTES]
            self._unparsed_bytes += len(self._received)
            super().data_received(self._received)
            self._look_at_the_clock()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; the WebSocket keeps its own time."""
        self._is_over = True
        self._stop_arrival()
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(protocol, WebSocketsSansIOProtocol):
            protocol.close_timeout = LINGER_SECONDS  # for a client that does not say goodbye

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        super().on_message_begin()
        self._is_arriving = True
        self._is_head_complete = False
        self._head_lines = self._head_bytes = self._unparsed_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Bound the URL."""
        super().on_url(url)
        if len(self.url) > self._limits.url_bytes:
            message = f"a URL may have at most {self._limits.url_bytes:,} bytes"
            self._reject(
                Refusal(
                    status=HTTPStatus.REQUEST_URI_TOO_LONG, code="url_too_long", message=message
                )
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the headers, and the trailers along with them, which are for nobody."""
        if not self._is_head_complete:
            super().on_header(name, value)
        self._head_lines += 1
        self._head_bytes += len(name) + len(value) + HEADER_LINE_BYTES
        if self._head_lines > self._limits.headers or self._head_bytes > self._limits.head_bytes:
            self._reject(self._head_too_large())

    def on_headers_complete(self) -> None:
        """Refuse what two servers could read as two different requests."""
        self._is_head_complete = True
        self._unparsed_bytes = 0
        if self.parser.get_method() == b"CONNECT":
            self._reject(UNKNOWN_METHOD)
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            self._reject(MALFORMED)
        if self._is_wish_ignored():
            return
        if len(self.pipeline) >= self._limits.waiting:
            self._reject(MALFORMED)  # the client hears of it by the last answer, which says close
        if self.parser.should_upgrade():
            self._check_handshake(names)
        super().on_headers_complete()
        cycle = self._unanswered()
        if cycle is not None:  # and no WebSocket
            cycle.transport = cast("asyncio.Transport", self._answers)

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived."""
        if self._is_wish_ignored():
            return
        self._is_arriving = False
        super().on_message_complete()
        if self._is_answered_early():
            self.cycle.more_body = False  # uvicorn does not look: what comes next is another's
            self._stop_arrival()  # and has all of its time

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._worked_on = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Hold nothing of an answer that has no body: what comes next is not to overtake it."""
        self._answers.flush()
        if not self._is_lingering:
            super().on_response_complete()

    def _is_wish_ignored(self) -> bool:
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Called by uvicorn where a client would rather speak another protocol, as HTTP/2.

        It is served as if it had not said so (RFC 9110, section 7.8). The parser has left the
        request behind its head, so that is read once more, without the wish.
        """
        upgrade = sys.exception()
        assert isinstance(upgrade, httptools.HttpParserUpgrade)
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [method + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        rest = self._received[upgrade.args[0] :]
        self._received = b"\r\n".join([*lines, b"", rest])
        super().data_received(self._received)

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn while it handles the parser's error."""
        del msg
        is_method = METHOD.match(self._received) is not None  # or it is TLS, or noise
        if is_method and isinstance(sys.exception(), httptools.HttpParserInvalidMethodError):
            self._refusal = UNKNOWN_METHOD
        self._refuse(self._refusal)

    def pause_writing(self) -> None:
        """The client takes less than it is sent: wait, but not for ever."""
        super().pause_writing()
        if self._delivery is None:
            self._delivery = self.loop.call_later(self._limits.unread_seconds, self._cut_unread)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._stop_delivery()
        super().resume_writing()

    def _check_handshake(self, names: list[bytes]) -> None:
        if b"content-length" in names or b"transfer-encoding" in names:
            self._reject(MALFORMED)  # the parser would take the body for what follows
        if self._unanswered():
            self._reject(MALFORMED)  # the WebSocket would open before the earlier answer
        longest = max(len(name) + len(value) + HEADER_LINE_BYTES for name, value in self.headers)
        if max(longest, len(self.url) + REQUEST_LINE_BYTES) > MAX_LINE_LENGTH:
            self._reject(HANDSHAKE_TOO_LARGE)  # who reads it next would drop it without a word

    def _look_at_the_clock(self) -> None:
        if self._is_over or self.transport.is_closing():
            return
        if self._unparsed_bytes > self._limits.head_bytes + self._limits.url_bytes:
            # The parser gathers whatever has no end yet, be it a header, a trailer or a line.
            self._refuse(self._head_too_large())
        elif self._is_arriving or self._unanswered() is None:
            self._await_arrival()
        else:
            self._stop_arrival()

    def _unanswered(self) -> RequestResponseCycle | None:
        """The last request that was handed over, unless it has its whole answer."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return None if cycle is None or cycle.response_complete else cycle

    def _is_answered_early(self) -> bool:
        """Whether the request that still arrives has been answered without its body."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and cycle.response_complete and cycle.more_body

    def _await_arrival(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(
                self._limits.request_seconds, self._end_of_patience
            )

    def _stop_arrival(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _stop_delivery(self) -> None:
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None

    def _end_of_patience(self) -> None:
        self._arrival = None
        if self.transport.is_closing():
            return
        if self._is_lingering:
            self.transport.abort()
        elif self.flow.read_paused:  # it is we who do not read
            self._await_arrival()
        elif self._is_arriving:
            self._refuse(
                Refusal(
                    status=HTTPStatus.REQUEST_TIMEOUT,
                    code="request_timeout",
                    message=f"a request has {self._limits.request_seconds:g} seconds to arrive",
                )
            )
        else:
            self.transport.close()

    def _cut_unread(self) -> None:
        self._delivery = None
        _log.debug("a client that did not read was cut off")
        self.transport.abort()

    def _head_too_large(self) -> Refusal:
        return Refusal(
            status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            code="headers_too_large",
            message=f"a request may have at most {self._limits.headers} headers of together at "
            f"most {self._limits.head_bytes:,} bytes",
        )

    def _reject(self, refusal: Refusal) -> NoReturn:
        """Stop the parser from inside one of its callbacks; uvicorn asks for the answer then."""
        self._refusal = refusal
        raise ValueError(refusal.code)

    def _refuse(self, refusal: Refusal) -> None:
        self._is_over = True
        self._stop_arrival()
        self._unset_keepalive_if_required()
        self._answers.flush()
        if self.pipeline and self.pipeline[0][0] is self.cycle and self.cycle.more_body:
            self.pipeline.popleft()  # nobody works on it, and the one before has its answer to get
            before = self.pipeline[0][0] if self.pipeline else self._worked_on
            self.cycle = cast("RequestResponseCycle", before)
        if self._is_answered_early():
            self._linger()  # a second answer would be taken for the next request's
            return
        cycle = self._unanswered()
        if cycle is not None:
            if not cycle.more_body:  # an earlier request, which arrived and gets its own answer
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # whatever it still says would follow our answer
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            if cycle.response_started:
                self._linger()
                return
        request_id = secrets.token_hex(8)
        # Not louder: who is refused could fill the disk by it.
        _log.debug("refused", extra={"code": refusal.code, "request_id": request_id})
        self.transport.write(
            refusal.answer(
                request_id, scheme=self.scheme or "http", headers=self.server_state.default_headers
            )
        )
        self._linger()

    def _close(self) -> None:
        """Close after the last answer, which a client that still sends is to get as well."""
        if self._is_arriving and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Say that nothing more comes, and read on for as long as the request may take."""
        self._is_over = self._is_lingering = True
        self.transport.write_eof()
        self.flow.resume_reading()
        if self._arrival is None:
            self._arrival = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
