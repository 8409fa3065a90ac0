"""What happens around every request: an id, a clock, one log line, and a last resort."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.constants import INTERNAL_ERROR, STOPPING
from app.core.logging import REQUEST_LOGGER, log_request
from app.domain.errors import Unavailable
from app.http.errors import error_response, plain_error_body
from app.http.headers import security_headers

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
"""What a caller may send as X-Request-ID; anything else is replaced."""

_TOO_LARGE: Final = "a request body may have at most 1,000,000 bytes"
_ONE_HOST: Final = "a request has exactly one Host header"
_log = logging.getLogger(REQUEST_LOGGER)


BODY_BYTES_MAX: Final = 1_000_000


class BodyLimit:
    """Refuses a body that is too large: by its declared length unread, else while reading.

    The framework's own limit answers in plain text, outside the envelope.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _first(b"content-length", scope)
        if not declared and not _first(b"transfer-encoding", scope):
            await self._app(scope, receive, send)  # there is no body
            return
        if declared.isdigit() and int(declared[:20]) > BODY_BYTES_MAX:
            response = error_response(
                Request(scope), status=413, code="request_too_large", message=_TOO_LARGE
            )
            await response(scope, receive, send)
            return
        read_bytes = 0

        async def receive_limited() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > BODY_BYTES_MAX:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, receive_limited, send)


class RequestContext:
    """Accepts or makes the request id, times and logs the request, answers bugs with 500.

    Every answer passes here, so this is also where the security headers are added.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                elapsed_seconds = time.perf_counter() - started
                own = message.get("headers", [])
                message["headers"] = [
                    *own,
                    *security_headers(own, scheme=scope["scheme"]),
                    (b"x-request-id", request_id.encode()),
                    (b"x-process-time", f"{elapsed_seconds:.6f}".encode()),
                ]
            await send(message)

        app = self._app if _names_one_host(scope) else _refuse_host
        try:
            await app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            if status is None:  # the server stops and has waited long enough
                await error_response(
                    Request(scope), status=503, code=Unavailable.code, message=STOPPING,
                    headers={"Retry-After": "1"},
                )(scope, receive, send_with_headers)  # fmt: skip
            log_request(_line(scope, started, status, request_id))
            raise
        except Exception:
            _log.exception("unexpected error", extra=_line(scope, started, 500, request_id))
            if status is not None:  # the answer has begun; cutting it off is all that is left
                raise
            response = error_response(
                Request(scope), status=500, code="internal_error", message=INTERNAL_ERROR
            )
            await response(scope, receive, send_with_headers)
        else:
            log_request(_line(scope, started, status, request_id))


def _names_one_host(scope: Scope) -> bool:
    """The server does not look; two proxies could understand another request differently."""
    count = 0
    for name, _ in scope["headers"]:
        if name == b"host":
            count += 1
    return count == 1 or (count == 0 and scope["http_version"] == "1.0")


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(Request(scope), status=400, code="bad_request", message=_ONE_HOST)
    await response(scope, receive, send)


def _first(wanted: bytes, scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""


def _request_id(scope: Scope) -> str:
    sent = _first(b"x-request-id", scope).decode("latin-1")
    return sent if REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def _line(scope: Scope, started: float, status: int | None, request_id: str) -> dict[str, object]:
    route = scope.get("route")
    return {
        "method": scope["method"],
        "route": getattr(route, "path", "(no route)"),
        "status": status,
        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
        "request_id": request_id,
        "user_id": scope.get("state", {}).get("user_id"),
    }


async def answer_unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    """404 for a path that no route has; the framework refuses a WebSocket without a word."""
    if scope["type"] != "websocket":
        raise HTTPException(404)
    message = f"not found: WebSocket {scope['path']} does not exist, try /ws/events or /ws/market"
    await refuse_socket(scope, receive, send, status=404, code="not_found", message=message)


async def refuse_socket(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Answer a WebSocket that does not open like any other request; else close it."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4000 + status, "reason": message})
        return
    response = Response(
        plain_error_body(code=code, message=message, request_id=secrets.token_hex(8)),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )
    response.raw_headers += security_headers((), scheme=scope["scheme"].replace("ws", "http"))
    await response(scope, receive, send)
