"""The tables `sessions` and `refresh_tokens`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.db.connection import Connection
from app.domain.access import SessionId
from app.domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRefreshToken:
    """Which session a refresh token is of, and whether it was exchanged already."""

    session_id: SessionId
    is_used: bool


async def insert_session(
    conn: Connection, *, user_id: UserId, password_hash: str, lifetime: timedelta
) -> SessionId | None:
    """A session for who knew the password; None if it changed or the user was disabled since.

    The lock on the user makes this wait for such a change, and the change for this.
    """
    session_id = await conn.fetchval(
        """
        INSERT INTO sessions (user_id, expires_at)
        SELECT id, now() + $3::interval
        FROM (
            SELECT id FROM users
            WHERE id = $1 AND password = $2 AND disabled_at IS NULL
            FOR SHARE
        ) AS entitled
        RETURNING id
        """,
        user_id,
        password_hash,
        lifetime,
    )
    return None if session_id is None else SessionId(session_id)


async def insert_refresh_token(
    conn: Connection, *, session_id: SessionId, token_hash: bytes, lifetime: timedelta
) -> None:
    """What the session can be renewed with next."""
    await conn.execute(
        """
        INSERT INTO refresh_tokens (session_id, token_hash, expires_at)
        VALUES ($1, $2, now() + $3::interval)
        """,
        session_id,
        token_hash,
        lifetime,
    )


async def use_refresh_token(conn: Connection, *, token_hash: bytes) -> SessionId | None:
    """Take the token out of use; None if it was used before, is too old or never existed.

    Of several at once one finds it unused; the others wait for its transaction.
    """
    session_id = await conn.fetchval(
        """
        UPDATE refresh_tokens SET used_at = now()
        WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()
        RETURNING session_id
        """,
        token_hash,
    )
    return None if session_id is None else SessionId(session_id)


async def get_refresh_token(conn: Connection, *, token_hash: bytes) -> KnownRefreshToken | None:
    """What is known of a token."""
    row = await conn.fetchrow(
        """
        SELECT session_id, used_at IS NOT NULL AS is_used
        FROM refresh_tokens
        WHERE token_hash = $1
        """,
        token_hash,
    )
    if row is None:
        return None
    return KnownRefreshToken(session_id=SessionId(row["session_id"]), is_used=row["is_used"])


async def extend_session(
    conn: Connection, *, session_id: SessionId, lifetime: timedelta
) -> UserId | None:
    """Let the session last from now on; whose it is, or None if it was ended."""
    user_id = await conn.fetchval(
        """
        UPDATE sessions SET expires_at = now() + $2::interval
        WHERE id = $1 AND revoked_at IS NULL
        RETURNING user_id
        """,
        session_id,
        lifetime,
    )
    return None if user_id is None else UserId(user_id)


async def revoke_session(conn: Connection, *, session_id: SessionId) -> bool:
    """End the session; whether it went on until now."""
    tag = await conn.execute(
        "UPDATE sessions SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL", session_id
    )
    return tag == "UPDATE 1"


async def revoke_all_sessions(conn: Connection, *, user_id: UserId) -> None:
    """End every session of a user whose row this transaction has changed."""
    await conn.execute(
        "UPDATE sessions SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL", user_id
    )


async def get_ended_sessions(
    conn: Connection, *, session_ids: Sequence[SessionId]
) -> list[SessionId]:
    """Which of these do not go on, or belong to a disabled user."""
    rows = await conn.fetch(
        """
        SELECT asked.id
        FROM unnest($1::bigint[]) AS asked (id)
        LEFT JOIN sessions ON sessions.id = asked.id AND sessions.revoked_at IS NULL
        LEFT JOIN users ON users.id = sessions.user_id AND users.disabled_at IS NULL
        WHERE users.id IS NULL
        """,
        session_ids,
    )
    return [SessionId(row["id"]) for row in rows]


async def delete_old_sessions(conn: Connection, *, limit: int) -> int:
    """How many sessions that are over were deleted with their tokens, at most `limit`."""
    count: int = await conn.fetchval(
        """
        WITH old AS (
            SELECT id FROM sessions
            WHERE expires_at < now()
            ORDER BY expires_at
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        ),
        deleted AS (
            DELETE FROM sessions USING old WHERE sessions.id = old.id RETURNING 1
        )
        SELECT count(*) FROM deleted
        """,
        limit,
    )
    return count
