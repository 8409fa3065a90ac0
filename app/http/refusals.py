"""What a client is told whose request never becomes one, so that no route answers it."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from websockets.http11 import MAX_LINE_LENGTH

from app.http.errors import plain_error_body
from app.http.headers import Header, security_headers

METHODS: Final = "DELETE, GET, HEAD, PATCH, POST, PUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A last answer, after which the connection is closed."""

    status: HTTPStatus
    code: str
    message: str
    headers: tuple[Header, ...] = ()

    def answer(self, request_id: str, *, scheme: str, headers: Iterable[Header]) -> bytes:
        """The whole answer; `headers` are those that the server adds to every answer."""
        body = plain_error_body(
            code=self.code, message=self.message, request_id=request_id
        ).encode()
        sent = (
            *headers,
            *self.headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            *security_headers((), scheme=scheme),
            (b"connection", b"close"),
        )
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}".encode()]
        lines += [name + b": " + value for name, value in sent]
        return b"\r\n".join([*lines, b"", body])


MALFORMED: Final = Refusal(
    status=HTTPStatus.BAD_REQUEST,
    code="malformed_request",
    message="this is not well-formed HTTP/1.1: expected one Host, at most one length, and lines "
    "that end with CR LF",
)
UNKNOWN_METHOD: Final = Refusal(
    status=HTTPStatus.METHOD_NOT_ALLOWED,
    code="method_not_allowed",
    message=f"this method is not known here, try {METHODS}",
    headers=((b"allow", METHODS.encode()),),
)
HANDSHAKE_TOO_LARGE: Final = Refusal(
    status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    code="headers_too_large",
    message=f"a line of a WebSocket's handshake may have at most {MAX_LINE_LENGTH:,} bytes",
)
TOO_MANY_CONNECTIONS: Final = Refusal(
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    code="too_many_connections",
    message="this server has as many connections as it can serve: ask again later",
    headers=((b"retry-after", b"1"),),
)
