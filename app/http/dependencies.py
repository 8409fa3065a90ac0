"""What routes ask for: the process's resources, the caller, a page."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, WithJsonSchema
from starlette.requests import HTTPConnection

from app.core.security import InvalidToken, InvalidTokenPayload, NotAuthenticated, TokenExpired
from app.domain.access import (
    ApiKeyExpired,
    Caller,
    ConflictingCredentials,
    Credential,
    InvalidApiKey,
    Scope,
    ScopeRequired,
    TokenRevoked,
    UserDisabled,
)
from app.domain.api_keys import API_KEY_PREFIX
from app.domain.errors import NotFound
from app.domain.ids import ID_MAX
from app.domain.instants import in_utc, iso_instant
from app.domain.users import User, UserGone, UserId
from app.resources import Resources

ID_DIGITS_MAX: Final = 4000
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DIGITS: Final = re.compile(r"-?[0-9]+", re.ASCII)

UNAUTHENTICATED: Final = (
    NotAuthenticated, TokenExpired, InvalidToken, InvalidTokenPayload, UserGone, UserDisabled,
    TokenRevoked, InvalidApiKey, ApiKeyExpired, ConflictingCredentials, ScopeRequired,
)  # fmt: skip
"""What every route that asks for the caller can answer."""

SECURITY_SCHEMES: Final[Mapping[str, Mapping[str, object]]] = {
    "OAuth2PasswordBearer": {
        "type": "oauth2",
        "description": "The `access_token` of POST /auth/login; or log in here with the e-mail as "
        "username. Leave client_id and client_secret empty.",
        "flows": {"password": {"scopes": {}, "tokenUrl": "/auth/token"}},
    },
    "HTTPBearer": {
        "type": "http",
        "description": "The same header: an `access_token`, or an API key (`gob_...`).",
        "scheme": "bearer",
    },
    "APIKeyHeader": {
        "type": "apiKey",
        "description": "A key of POST /auth/api-keys, for clients that cannot set Authorization.",
        "in": "header",
        "name": "X-API-Key",
    },
}
"""The ways to prove who one is. A class of FastAPI's for each of them would cost every request
as much as it takes to check the token."""


async def get_resources(request: Request) -> Resources:
    """The resources that the application opened at its start.

    A coroutine though it waits for nothing: FastAPI sends plain functions to a thread.
    """
    resources: Resources = request.app.state.resources
    return resources


ResourcesOf = Annotated[Resources, Depends(get_resources)]


def sent_secret(request: HTTPConnection) -> str | None:
    """What the caller sent to prove who they are. Raises ConflictingCredentials."""
    authorization = _only(request.headers.getlist("Authorization"))
    scheme, _, credentials = authorization.partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    api_key = _only(request.headers.getlist("X-API-Key"))
    if not api_key:
        return bearer or None
    if bearer and bearer != api_key:
        raise ConflictingCredentials
    if not api_key.startswith(API_KEY_PREFIX):
        raise InvalidApiKey
    return api_key


def _only(values: Sequence[str]) -> str:
    """What a header says, however often it was sent; two that differ are for nobody to choose."""
    if len(set(values)) > 1:
        raise ConflictingCredentials
    return values[0] if values else ""


async def authenticate(resources: Resources, secret: str | None) -> Caller:
    """The caller that the token or API key speaks for. Raises a kind of Unauthenticated."""
    return await resources.authenticator.authenticate(secret)


async def get_caller(request: Request) -> Caller:
    """Who asks; also in `request.state.caller`. Raises a kind of Unauthenticated.

    Most routes ask for CurrentUser or one of its neighbours, which say what is needed as well.
    """
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    caller = await authenticate(request.app.state.resources, sent_secret(request))
    request.state.caller = caller
    note_caller(request, caller.user.id, caller.credential)
    return caller


def note_caller(request: Request, user_id: UserId, credential: Credential) -> None:
    """Say who asks to whoever logs and counts the request."""
    request.state.user_id = user_id
    request.state.credential = credential


async def get_current_user(request: Request) -> User:
    """The user, if the caller may read what is read or trade where something is changed."""
    caller = await get_caller(request)
    caller.require(Scope.READ if request.method in SAFE_METHODS else Scope.TRADE)
    return caller.user


async def get_reading_user(request: Request) -> User:
    """The user, for a request that changes nothing whatever its method."""
    caller = await get_caller(request)
    caller.require(Scope.READ)
    return caller.user


async def get_administrator(request: Request) -> User:
    """The user, if the caller may administer the installation."""
    caller = await get_caller(request)
    caller.require(Scope.ADMIN)
    return caller.user


async def get_session_caller(request: Request) -> Caller:
    """The caller, if they logged in; whatever guards the account itself takes no API key."""
    caller = await get_caller(request)
    caller.session_id()
    return caller


CurrentCaller = Annotated[Caller, Depends(get_caller)]
CurrentSession = Annotated[Caller, Depends(get_session_caller)]
CurrentUser = Annotated[User, Depends(get_current_user)]
ReadingUser = Annotated[User, Depends(get_reading_user)]
Administrator = Annotated[User, Depends(get_administrator)]

AUTHENTICATING: Final = frozenset(
    (get_caller, get_current_user, get_reading_user, get_administrator, get_session_caller)
)
"""The dependencies that answer 401. None rests on another, which would cost every request."""


def _path_id(text: object) -> object:
    """Digits of any length become an int; Python refuses to parse more than 4,300 itself.

    It would also take 1_000, spaces and other scripts' digits.
    """
    if isinstance(text, str):
        if _DIGITS.fullmatch(text) is None:
            raise ValueError("expected a whole number in digits 0-9")
        if len(text) > ID_DIGITS_MAX:
            return ID_MAX + 1
    return text


PathId = Annotated[
    int,
    BeforeValidator(_path_id),
    WithJsonSchema(
        {"type": "integer", "format": "int64", "minimum": 1, "maximum": ID_MAX, "examples": [1]}
    ),
]
"""An id in a path, of whatever size; see `id_or_raise`."""


def id_or_raise(number: int, not_found: Callable[[int], NotFound]) -> int:
    """The id, if a row could have it; a row that cannot exist was not found."""
    if not 1 <= number <= ID_MAX:
        raise not_found(number)
    return number


def _in_the_past(instant: datetime | None) -> datetime | None:
    if instant is not None and instant > datetime.now(UTC):
        raise ValueError("lies in the future")
    return instant


AsOf = Annotated[
    AwareDatetime | None,
    BeforeValidator(iso_instant),
    AfterValidator(in_utc),
    AfterValidator(_in_the_past),
    Query(
        description="Answer as it was at this instant: ISO 8601 with a zone, not in the future.",
        examples=["2025-12-31T23:59:59Z"],
    ),
]
"""The instant that a read is asked about; None is now."""
