"""Who requests come from, asked for all that wait for the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.db.arrays import number_array
from app.db.connection import Connection, Row
from app.domain.access import ApiKeyId, Role, Scope, SessionId, Standing
from app.domain.users import User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUser:
    """A user, and how they and the session asked about stand."""

    user: User
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """An API key, its owner, and how they stand."""

    user: User
    key_id: ApiKeyId
    standing: Standing
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


async def get_users_with_sessions(
    conn: Connection, *, user_ids: Sequence[UserId], session_ids: Sequence[SessionId]
) -> dict[tuple[UserId, SessionId], FoundUser]:
    """By user and session: the user, and whether the session is theirs and goes on."""
    rows = await conn.fetch(
        """
        SELECT users.id, users.email, users.name, users.balance, users.created_at, users.epoch,
            users.role, users.disabled_at IS NOT NULL AS is_disabled,
            coalesce(sessions.user_id = users.id, false) AS is_session_live, asked.session_id
        FROM unnest($1::text::bigint[], $2::text::bigint[]) AS asked (user_id, session_id)
        JOIN users ON users.id = asked.user_id
        LEFT JOIN sessions
            ON sessions.id = asked.session_id AND sessions.revoked_at IS NULL
        """,
        number_array(user_ids),
        number_array(session_ids),
    )
    return {
        (UserId(row["id"]), SessionId(row["session_id"])): FoundUser(
            user=_user(row),
            standing=Standing(
                email=row["email"],
                role=Role(row["role"]),
                is_disabled=row["is_disabled"],
                is_session_live=row["is_session_live"],
            ),
        )
        for row in rows
    }


async def get_users_with_keys(
    conn: Connection, *, key_hashes: Sequence[bytes]
) -> dict[bytes, FoundKey]:
    """By hash: the keys that exist, and whose they are."""
    rows = await conn.fetch(
        """
        SELECT users.id, users.email, users.name, users.balance, users.created_at, users.epoch,
            users.role, users.disabled_at IS NOT NULL AS is_disabled,
            api_keys.id AS key_id, api_keys.scopes, api_keys.last_used_at, api_keys.key_hash,
            coalesce(api_keys.expires_at <= now(), false) AS is_expired
        FROM api_keys
        JOIN users ON users.id = api_keys.user_id
        WHERE api_keys.key_hash = ANY($1::bytea[])
        """,
        key_hashes,
    )
    return {
        row["key_hash"]: FoundKey(
            user=_user(row),
            key_id=ApiKeyId(row["key_id"]),
            standing=Standing(
                email=row["email"],
                role=Role(row["role"]),
                is_disabled=row["is_disabled"],
                is_key_expired=row["is_expired"],
                scopes=frozenset(map(Scope, row["scopes"])),
            ),
            last_used_at=row["last_used_at"],
        )
        for row in rows
    }
