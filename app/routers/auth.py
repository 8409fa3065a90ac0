"""Registering, logging in and out, and who am I."""

from typing import Annotated

from fastapi import Form, Request

from app.core.constants import EVERYTHING_REVOKED, LOGGED_OUT
from app.db.errors import DatabaseBusy, DatabaseUnavailable
from app.domain.access import (
    InvalidRefreshToken,
    RefreshTokenReused,
    SessionRequired,
    UserDisabled,
)
from app.domain.attempts import TooManyLogins, TooManyRegistrations
from app.domain.registration import RegistrationClosed
from app.domain.users import EmailTaken, WrongCredentials, WrongPassword
from app.http.dependencies import CurrentSession, CurrentUser, ResourcesOf
from app.http.proxies import ClientAddress
from app.http.routing import Router
from app.schemas.access import PasswordChange, Refresh, Session, Token
from app.schemas.common import Empty, StandardResponse
from app.schemas.users import Login, Registration, TokenForm, UserOut
from app.services import accounts, sessions
from app.services.passwords import PasswordsBusy

router = Router(prefix="/auth", tag="auth")

_GUARDED = (TooManyLogins, PasswordsBusy)
_LOGIN = (WrongCredentials, UserDisabled, *_GUARDED, DatabaseBusy, DatabaseUnavailable)


@router.endpoint(
    "POST",
    "/register",
    summary="Register",
    status_code=201,
    errors=(
        EmailTaken, RegistrationClosed, TooManyRegistrations, PasswordsBusy, DatabaseBusy,
        DatabaseUnavailable,
    ),
)  # fmt: skip
async def register(
    body: Registration, request: Request, resources: ResourcesOf, address: ClientAddress
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
        registration=resources.registration,
        address=address,
        per_hour_max=resources.registrations_per_hour,
    )
    return StandardResponse(data=UserOut.of(user))


@router.endpoint("POST", "/login", summary="Log in", errors=_LOGIN)
async def log_in(
    body: Login, resources: ResourcesOf, address: ClientAddress
) -> StandardResponse[Session]:
    """Exchange e-mail and password for a bearer token, and what it can be renewed with."""
    login = await accounts.log_in(
        resources.db, resources.passwords, email=body.email, password=body.password, address=address
    )
    issued = await sessions.begin_session(resources.db, login, key=resources.token_key)
    return StandardResponse(data=Session(**dict(Token.of(issued)), user=UserOut.of(login.user)))


@router.endpoint("POST", "/token", summary="Log in as OAuth2 does", errors=_LOGIN)
async def issue_token(
    form: Annotated[TokenForm, Form()], resources: ResourcesOf, address: ClientAddress
) -> Token:
    """The OAuth2 password flow, as the Authorize button of /docs uses it: a bare answer."""
    login = await accounts.log_in(
        resources.db,
        resources.passwords,
        email=form.username,
        password=form.password,
        address=address,
    )
    issued = await sessions.begin_session(resources.db, login, key=resources.token_key)
    return Token.of(issued)


@router.endpoint(
    "POST",
    "/refresh",
    summary="Stay logged in",
    errors=(
        InvalidRefreshToken, RefreshTokenReused, UserDisabled, DatabaseBusy, DatabaseUnavailable,
    ),
)  # fmt: skip
async def refresh_token(body: Refresh, resources: ResourcesOf) -> StandardResponse[Token]:
    """Exchange a refresh token for new tokens of the same session.

    Each is good for one exchange. One that comes a second time has two holders, so it ends
    the session for both; keep the newest, and send one refresh at a time.
    """
    issued = await sessions.refresh(
        resources.db, refresh_token=body.refresh_token, key=resources.token_key
    )
    return StandardResponse(data=Token.of(issued))


@router.endpoint(
    "POST",
    "/logout",
    summary="Log out",
    example={"message": LOGGED_OUT},
    errors=(SessionRequired,),
)
async def log_out(caller: CurrentSession, resources: ResourcesOf) -> StandardResponse[Empty]:
    """End the session at once: its tokens, its refresh token and its event streams."""
    await sessions.end_session(resources.db, session_id=caller.session_id())
    return StandardResponse(message=LOGGED_OUT, data=Empty())


@router.endpoint(
    "POST",
    "/password",
    summary="Change the password",
    example={"message": EVERYTHING_REVOKED},
    errors=(WrongPassword, SessionRequired, *_GUARDED, DatabaseBusy),
)
async def change_password(
    body: PasswordChange, caller: CurrentSession, resources: ResourcesOf, address: ClientAddress
) -> StandardResponse[Empty]:
    """Set another password; every session (this one too) and every API key is revoked."""
    await sessions.change_password(
        resources.db,
        resources.passwords,
        user=caller.user,
        old_password=body.old_password,
        new_password=body.new_password,
        address=address,
    )
    return StandardResponse(message=EVERYTHING_REVOKED, data=Empty())


@router.endpoint("GET", "/profile", summary="Who am I")
async def get_profile(user: CurrentUser) -> StandardResponse[UserOut]:
    """The account that the token speaks for."""
    return StandardResponse(data=UserOut.of(user))
