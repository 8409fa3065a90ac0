"""What routes ask for: the process's resources, the caller, a page."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Query, Request
from fastapi.security import OAuth2PasswordBearer
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, WithJsonSchema

from app.core.security import (
    InvalidToken,
    InvalidTokenPayload,
    NotAuthenticated,
    TokenExpired,
    read_access_token,
)
from app.db.dao import users
from app.domain.errors import NotFound
from app.domain.users import User, UserGone
from app.resources import Resources

ID_MAX: Final = 2**63 - 1
ID_DIGITS_MAX: Final = 4000

UNAUTHENTICATED: Final = (
    NotAuthenticated, TokenExpired, InvalidToken, InvalidTokenPayload, UserGone
)  # fmt: skip
"""What every route that asks for the current user can answer."""

_bearer = OAuth2PasswordBearer(
    tokenUrl="/auth/token",
    auto_error=False,
    description="The `access_token` of POST /auth/login; or log in here with the e-mail as "
    "username. Leave client_id and client_secret empty.",
)


async def get_resources(request: Request) -> Resources:
    """The resources that the application opened at its start.

    A coroutine though it waits for nothing: FastAPI sends plain functions to a thread.
    """
    resources: Resources = request.app.state.resources
    return resources


ResourcesOf = Annotated[Resources, Depends(get_resources)]


BearerToken = Annotated[str | None, Depends(_bearer)]


async def authenticate(resources: Resources, token: str | None) -> User:
    """The user that the token speaks for. Raises a kind of Unauthenticated."""
    if not token:
        raise NotAuthenticated
    claims = read_access_token(token, key=resources.token_key)
    if not 1 <= claims.user_id <= ID_MAX:
        raise UserGone
    async with resources.db.connection() as conn:
        user = await users.get_user(conn, user_id=claims.user_id)
    if user is None or user.email.lower() != claims.email.lower():
        raise UserGone
    return user


async def get_current_user(request: Request, resources: ResourcesOf, token: BearerToken) -> User:
    """The user that the bearer token speaks for. Raises a kind of Unauthenticated."""
    user = await authenticate(resources, token)
    request.state.user_id = user.id
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


def _path_id(text: object) -> object:
    """Digits of any length become an int; Python refuses to parse more than 4,300 itself."""
    if isinstance(text, str) and len(text) > ID_DIGITS_MAX and text.isascii() and text.isdigit():
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
    AfterValidator(_in_the_past),
    Query(
        description="Answer as it was at this instant: ISO 8601 with a zone, not in the future.",
        examples=["2025-12-31T23:59:59Z"],
    ),
]
"""The instant that a read is asked about; None is now."""
