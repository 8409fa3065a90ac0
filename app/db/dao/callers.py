"""Who a request comes from: each of the two questions is asked once for every request."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from app.db.connection import Connection, Row
from app.domain.access import ApiKeyId, Role, Scope, SessionId
from app.domain.users import User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUser:
    """A user, and whether their account and the session asked about are in force."""

    user: User
    role: Role
    is_disabled: bool
    is_session_live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """An API key and its owner."""

    user: User
    role: Role
    is_disabled: bool
    key_id: ApiKeyId
    scopes: Collection[Scope]
    is_expired: bool
    last_used_at: datetime | None


def _user(row: Row) -> User:
    return User(
        id=UserId(row["id"]),
        email=row["email"],
        name=row["name"],
        balance=row["balance"],
        created_at=row["created_at"],
        epoch=row["epoch"],
    )


async def get_user_with_session(
    conn: Connection, *, user_id: UserId, session_id: SessionId
) -> FoundUser | None:
    """The user, and whether this session is theirs and goes on."""
    row = await conn.fetchrow(
        """
        SELECT users.id, users.email, users.name, users.balance, users.created_at, users.epoch,
            users.role, users.disabled_at IS NOT NULL AS is_disabled,
            sessions.id IS NOT NULL AS is_session_live
        FROM users
        LEFT JOIN sessions
            ON sessions.id = $2 AND sessions.user_id = users.id AND sessions.revoked_at IS NULL
        WHERE users.id = $1
        """,
        user_id,
        session_id,
    )
    if row is None:
        return None
    return FoundUser(
        user=_user(row),
        role=Role(row["role"]),
        is_disabled=row["is_disabled"],
        is_session_live=row["is_session_live"],
    )


async def get_user_with_key(conn: Connection, *, key_hash: bytes) -> FoundKey | None:
    """The key with this hash, and whose it is."""
    row = await conn.fetchrow(
        """
        SELECT users.id, users.email, users.name, users.balance, users.created_at, users.epoch,
            users.role, users.disabled_at IS NOT NULL AS is_disabled,
            api_keys.id AS key_id, api_keys.scopes, api_keys.last_used_at,
            coalesce(api_keys.expires_at <= now(), false) AS is_expired
        FROM api_keys
        JOIN users ON users.id = api_keys.user_id
        WHERE api_keys.key_hash = $1
        """,
        key_hash,
    )
    if row is None:
        return None
    return FoundKey(
        user=_user(row),
        role=Role(row["role"]),
        is_disabled=row["is_disabled"],
        key_id=ApiKeyId(row["key_id"]),
        scopes=[Scope(scope) for scope in row["scopes"]],
        is_expired=row["is_expired"],
        last_used_at=row["last_used_at"],
    )
