"""Which web pages may call: those of the allow-list, and over a WebSocket our own as well."""

from collections.abc import Collection
from typing import Final

from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.headers import security_headers
from app.http.middleware import refuse_socket

_METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-API-Key, X-Request-ID"
)
_READABLE: Final = (
    b"Content-Disposition, Idempotent-Replayed, RateLimit, RateLimit-Limit, RateLimit-Policy, "
    b"RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Process-Time, X-Request-ID"
)
_PREFLIGHT_SECONDS: Final = 600
_NOT_LISTED: Final = "the origin of this page is not in CORS_ORIGINS"


class Origins:
    """Lets the pages of listed origins read answers, and keeps other pages off WebSockets.

    Origins are compared as a whole. A page that is not listed gets the same answer as a
    program does, which its browser keeps from it. No credentials are allowed: nothing here
    is a cookie, and a token is sent by whoever knows it. A WebSocket needs no permission of
    the browser's, so there a foreign page is refused; a program sends no Origin.
    """

    def __init__(self, app: ASGIApp, *, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket, and say which page may read the answer."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and not self._allowed):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if scope["type"] == "websocket":
            if origin is None or origin in self._allowed or _is_own(origin, headers):
                await self._app(scope, receive, send)
            else:
                await refuse_socket(
                    scope, receive, send,
                    status=403, code="origin_not_allowed", message=_NOT_LISTED,
                )  # fmt: skip
            return
        if origin not in self._allowed:
            await self._app(scope, receive, send)
            return
        permission = [
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-expose-headers", _READABLE),
            (b"vary", b"Origin"),
        ]

        async def send_with_permission(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *permission]
            await send(message)

        app = self._app
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            app = _answer_preflight
        await app(scope, receive, send_with_permission)


async def _answer_preflight(scope: Scope, receive: Receive, send: Send) -> None:
    response = Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
        },
    )
    response.raw_headers += security_headers((), scheme=scope["scheme"])
    await response(scope, receive, send)


def _is_own(origin: str, headers: Headers) -> bool:
    """Whether the page came from here: the same host and port that the socket was asked of."""
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and bool(host) and host == headers.get("host")
