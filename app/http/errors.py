"""Every error of every route, from one place.

One table says which kind of error has which status; three handlers turn GoblinError,
validation errors and the framework's own HTTP errors into the envelope. What nobody
expected is answered by the middleware, with a 500 that says nothing.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.domain.errors import (
    Conflict,
    Forbidden,
    GoblinError,
    Invalid,
    NotAcceptable,
    NotFound,
    Refused,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UpstreamInvalid,
    UpstreamUnavailable,
)

STATUS_OF: Final[Mapping[type[GoblinError], HTTPStatus]] = {
    Refused: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    Conflict: HTTPStatus.CONFLICT,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    UpstreamInvalid: HTTPStatus.BAD_GATEWAY,
    UpstreamUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
CODE_OF_STATUS: Final[Mapping[int, str]] = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}

CODES_OF_ANY_REQUEST: Final[Mapping[str, tuple[HTTPStatus, str]]] = {
    "bad_request": (
        HTTPStatus.BAD_REQUEST,
        "The body of a form cannot be read, or the Host header is missing or there twice.",
    ),
    "not_found": (HTTPStatus.NOT_FOUND, "No route has this path."),
    "method_not_allowed": (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "The path exists and has no such method; `Allow` names those it has.",
    ),
    "request_too_large": (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body has more than 1,000,000 bytes.",
    ),
    "unsupported_media_type": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body is of another Content-Type than the route reads, or compressed.",
    ),
    "origin_not_allowed": (
        HTTPStatus.FORBIDDEN,
        "A page of an origin that is not in CORS_ORIGINS wanted to open a WebSocket.",
    ),
    "rate_limited": (
        HTTPStatus.TOO_MANY_REQUESTS,
        "The credential, or without a good one the address, asks too often (RateLimit-Policy).",
    ),
    "malformed_request": (
        HTTPStatus.BAD_REQUEST,
        "This is not well-formed HTTP, or could be read as two different requests.",
    ),
    "request_timeout": (
        HTTPStatus.REQUEST_TIMEOUT,
        "The request did not arrive as a whole within 12 seconds.",
    ),
    "url_too_long": (HTTPStatus.REQUEST_URI_TOO_LONG, "The URL has more than 8,192 bytes."),
    "headers_too_large": (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "There are more than 100 headers or 32,768 bytes of them (WebSocket: 8,192 in one line).",
    ),
    "too_many_connections": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This process has CONNECTIONS_MAX connections.",
    ),
    "service_unavailable": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "goblin is shutting down: what it had not answered can be sent again with its key.",
    ),
    "internal_error": (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A bug of goblin. The log has the details under the request id.",
    ),
}
"""What no error class stands for: the framework's refusals and the last resort."""


class ErrorMeta(BaseModel):
    """What a program needs of an error: the stable code, and the id to ask the owner about."""

    code: str = Field(examples=["insufficient_balance"])
    request_id: str = Field(examples=["3f2a9c1be07d4a55"])


class ErrorResponse(BaseModel):
    """`detail` repeats `message` for clients that read FastAPI's default key."""

    status: Literal["error"] = "error"
    message: str
    detail: str
    meta: ErrorMeta


class Problem(BaseModel):
    """One thing that is wrong with a request; the submitted value is never repeated."""

    loc: list[str | int] = Field(examples=[["body", "quantity"]])
    msg: str = Field(examples=["expected more than 0"])
    type: str = Field(examples=["value_error"])


class ValidationErrorResponse(BaseModel):
    """The same envelope, where `detail` lists what is wrong."""

    status: Literal["error"] = "error"
    message: str
    detail: list[Problem] = Field(min_length=1)
    meta: ErrorMeta


def status_of(error: type[GoblinError]) -> HTTPStatus:
    """The HTTP status of an error class, by the kind it descends from."""
    return next(STATUS_OF[kind] for kind in error.__mro__ if kind in STATUS_OF)


def error_response(
    request: Request,
    *,
    status: int,
    code: str,
    message: str,
    detail: Sequence[Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The envelope of an error, in ASCII so that any text of a caller can be named in it."""
    return Response(
        _envelope(
            code=code,
            message=message,
            detail=message if detail is None else detail,
            request_id=request.state.request_id,
        ),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


def _envelope(*, code: str, message: str, detail: object, request_id: str) -> str:
    return json.dumps(
        {
            "status": "error",
            "message": message,
            "detail": detail,
            "meta": {"code": code, "request_id": request_id},
        },
        separators=(",", ":"),
    )


def plain_error_body(*, code: str, message: str, request_id: str) -> str:
    """The envelope of an error without a class, as JSON text."""
    return _envelope(code=code, message=message, detail=message, request_id=request_id)


def goblin_error_body(error: GoblinError, request_id: str) -> str:
    """The envelope of one of goblin's errors, as JSON text."""
    detail: object = error.message
    if isinstance(error, Invalid):
        detail = [{"loc": list(error.where), "msg": error.message, "type": error.code}]
    return _envelope(code=error.code, message=error.message, detail=detail, request_id=request_id)


async def _goblin_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GoblinError)
    status = status_of(type(error))
    headers = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Unavailable | UpstreamUnavailable | TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Response(
        goblin_error_body(error, request.state.request_id),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    detail = [
        {
            "loc": list(problem["loc"]),
            "msg": _problem_text(problem),
            "type": problem["type"],
        }
        for problem in error.errors()
    ]
    first = detail[0]
    place = ".".join(str(part) for part in first["loc"])
    return error_response(
        request,
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        code=Invalid.code,
        message=f"{place}: {first['msg']}",
        detail=detail,
    )


def _problem_text(problem: Mapping[str, Any]) -> str:
    text: str = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "json_invalid":  # the framework keeps the reason to itself
        text += f": {problem['ctx']['error']}"
    return text


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    message = f"{status.phrase.lower()}: {request.method} {request.url.path}"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
        message += f", try {headers['Allow']}"
    elif status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
        message = error.detail
    elif status is HTTPStatus.NOT_FOUND:
        message += " does not exist"
        if request.app.openapi_url is not None:
            message += ", see /docs"
    return error_response(
        request,
        status=status,
        code=CODE_OF_STATUS.get(status, "http_error"),
        message=message,
        headers=headers,
    )


def _allowed_methods(request: Request) -> list[str]:
    """The methods of every route with this path; the framework names those of one route."""
    allowed: set[str] = set()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            allowed |= {"GET", "HEAD"} if method == "GET" else {method}
    return sorted(allowed)


_HANDLERS: Final[Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = {
    GoblinError: _goblin_error,
    RequestValidationError: _validation_error,
    HTTPException: _http_error,
}
EXPECTED_ERRORS: Final = tuple(_HANDLERS)
"""What is answered with the envelope, wherever it is raised."""


async def answer_error(request: Request, error: Exception) -> Response:
    """The answer to one of EXPECTED_ERRORS."""
    handler = next(handler for kind, handler in _HANDLERS.items() if isinstance(error, kind))
    return await handler(request, error)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every expected error with the envelope."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
