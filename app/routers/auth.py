"""Registering, logging in, and who am I."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Form, Request

from app.core.security import create_access_token
from app.db.errors import DatabaseUnavailable
from app.domain.users import EmailTaken, User, WrongCredentials
from app.http.dependencies import CurrentUser, ResourcesOf
from app.http.routing import Router
from app.resources import Resources
from app.schemas.common import StandardResponse
from app.schemas.users import Login, Registration, Session, Token, TokenForm, UserOut
from app.services import accounts

router = Router(prefix="/auth", tag="auth")


@router.endpoint(
    "POST",
    "/register",
    summary="Register",
    status_code=201,
    errors=(EmailTaken, DatabaseUnavailable),
)
async def register(
    body: Registration, request: Request, resources: ResourcesOf
) -> StandardResponse[UserOut]:
    """Open a paper account."""
    user = await accounts.register(
        resources.db,
        resources.passwords,
        email=body.email,
        password=body.password,
        name=body.name,
        starting_balance=resources.starting_balance,
        request_id=request.state.request_id,
    )
    return StandardResponse(data=UserOut.of(user))


@router.endpoint("POST", "/login", summary="Log in", errors=(WrongCredentials, DatabaseUnavailable))
async def log_in(body: Login, resources: ResourcesOf) -> StandardResponse[Session]:
    """Exchange e-mail and password for a bearer token."""
    user = await accounts.log_in(
        resources.db, resources.passwords, email=body.email, password=body.password
    )
    return StandardResponse(
        data=Session(access_token=_token(user, resources), user=UserOut.of(user))
    )


@router.endpoint(
    "POST",
    "/token",
    summary="Log in as OAuth2 does",
    errors=(WrongCredentials, DatabaseUnavailable),
)
async def issue_token(form: Annotated[TokenForm, Form()], resources: ResourcesOf) -> Token:
    """The OAuth2 password flow, as the Authorize button of /docs uses it: a bare answer."""
    user = await accounts.log_in(
        resources.db, resources.passwords, email=form.username, password=form.password
    )
    return Token(access_token=_token(user, resources))


@router.endpoint("GET", "/profile", summary="Who am I")
async def get_profile(user: CurrentUser) -> StandardResponse[UserOut]:
    """The account that the token speaks for."""
    return StandardResponse(data=UserOut.of(user))


def _token(user: User, resources: Resources) -> str:
    return create_access_token(user, key=resources.token_key, now=datetime.now(UTC))
