"""Logging in, staying logged in, logging out, and a new password."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from app.core.security import (
    TokenKey,
    create_access_token,
    hash_secret,
    new_refresh_token,
)
from app.db.connection import Connection
from app.db.dao import api_keys, callers, sessions, users
from app.db.dao.users import Credentials
from app.db.database import Database
from app.domain.access import (
    SCOPES_OF,
    InvalidRefreshToken,
    RefreshTokenReused,
    Role,
    Scope,
    SessionId,
    UserDisabled,
)
from app.domain.users import User, WrongCredentials, WrongPassword
from app.services.attempts import check_password
from app.services.passwords import PasswordHasher


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedTokens:
    """What somebody who logged in is given; both are shown once and kept nowhere."""

    access_token: str
    refresh_token: str
    expires_in: timedelta
    scopes: frozenset[Scope]

    def __repr__(self) -> str:
        return "IssuedTokens(...)"


async def begin_session(db: Database, login: Credentials, *, key: TokenKey) -> IssuedTokens:
    """Open a session, in a transaction of its own. Raises WrongCredentials."""
    return await db.run_in_transaction(partial(open_session, login=login, key=key))


async def open_session(conn: Connection, login: Credentials, *, key: TokenKey) -> IssuedTokens:
    """A session for credentials that were just checked.

    Raises WrongCredentials when the password was changed, or the user disabled, meanwhile.
    """
    session_id = await sessions.insert_session(
        conn,
        user_id=login.user.id,
        password_hash=login.password_hash,
        lifetime=_session_lifetime(key),
    )
    if session_id is None:
        raise WrongCredentials
    return await _issue(conn, login.user, login.role, session_id, key)


async def refresh(db: Database, *, refresh_token: str, key: TokenKey) -> IssuedTokens:
    """Exchange a refresh token for new tokens of the same session.

    A token that was exchanged before ends the session: of its two holders one is a thief, and
    nobody can say which. Raises InvalidRefreshToken, RefreshTokenReused or UserDisabled.
    """
    token_hash = hash_secret(refresh_token)

    async def work(conn: Connection) -> IssuedTokens | None:
        session_id = await sessions.use_refresh_token(conn, token_hash=token_hash)
        if session_id is None:
            known = await sessions.get_refresh_token(conn, token_hash=token_hash)
            if known is None or not known.is_used:
                raise InvalidRefreshToken
            await sessions.revoke_session(conn, session_id=known.session_id)
            return None  # an error would roll the end of the session back
        user_id = await sessions.extend_session(
            conn, session_id=session_id, lifetime=_session_lifetime(key)
        )
        if user_id is None:
            raise InvalidRefreshToken
        found_users = await callers.get_users_with_sessions(
            conn, user_ids=[user_id], session_ids=[session_id]
        )
        found = found_users[user_id, session_id]  # a session has a user
        if found.standing.is_disabled:
            raise UserDisabled
        return await _issue(conn, found.user, found.standing.role, session_id, key)

    issued = await db.run_in_transaction(work)
    if issued is None:
        raise RefreshTokenReused
    return issued


async def end_session(db: Database, *, session_id: SessionId) -> None:
    """Log out: from now on no process accepts the session's tokens."""
    async with db.connection() as conn:
        await sessions.revoke_session(conn, session_id=session_id)


async def change_password(
    db: Database,
    hasher: PasswordHasher,
    *,
    user: User,
    old_password: str,
    new_password: str,
    address: str,
) -> None:
    """Set another password and revoke every session and API key of the user.

    The keys too: who changes a password because somebody else had it cannot know which keys
    that somebody made. A wrong old password counts as a failed login. Raises WrongPassword,
    TooManyLogins (nothing is checked), PasswordsBusy.
    """
    checked = await check_password(
        db, hasher, email=user.email, password=old_password, address=address
    )
    if checked is None:
        raise WrongPassword
    found, _ = checked
    new_hash = await hasher.hash(new_password)

    async def work(conn: Connection) -> bool:
        is_changed = await users.update_password_hash(
            conn, user_id=user.id, old_hash=found.password_hash, new_hash=new_hash
        )
        if is_changed:
            await sessions.revoke_all_sessions(conn, user_id=user.id)
            await api_keys.delete_all_api_keys(conn, user_id=user.id)
        return is_changed

    if not await db.run_in_transaction(work):  # a login renewed the hash, or it is another password
        await change_password(
            db,
            hasher,
            user=user,
            old_password=old_password,
            new_password=new_password,
            address=address,
        )


async def _issue(
    conn: Connection, user: User, role: Role, session_id: SessionId, key: TokenKey
) -> IssuedTokens:
    refresh_token = new_refresh_token()
    await sessions.insert_refresh_token(
        conn,
        session_id=session_id,
        token_hash=hash_secret(refresh_token),
        lifetime=key.refresh_lifetime,
    )
    return IssuedTokens(
        access_token=create_access_token(
            user, session_id=session_id, key=key, now=datetime.now(UTC)
        ),
        refresh_token=refresh_token,
        expires_in=key.lifetime,
        scopes=SCOPES_OF[role],
    )


def _session_lifetime(key: TokenKey) -> timedelta:
    """A session outlives both kinds of token that it has given out."""
    return max(key.lifetime, key.refresh_lifetime)
