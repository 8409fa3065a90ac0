"""The table `api_keys`."""

from collections.abc import Sequence
from datetime import datetime

from app.db.connection import Connection, Row
from app.domain.access import ApiKeyId, Scope
from app.domain.api_keys import ApiKey
from app.domain.users import UserId


def _api_key(row: Row) -> ApiKey:
    return ApiKey(
        id=ApiKeyId(row["id"]),
        name=row["name"],
        prefix=row["prefix"],
        scopes=[Scope(scope) for scope in row["scopes"]],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )


async def insert_api_key(
    conn: Connection,
    *,
    user_id: UserId,
    name: str,
    key_hash: bytes,
    prefix: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
) -> ApiKey:
    """The new key of a user that this transaction has locked."""
    row = await conn.fetchrow(
        """
        INSERT INTO api_keys (user_id, name, key_hash, prefix, scopes, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        RETURNING id, name, prefix, scopes, created_at, expires_at, last_used_at
        """,
        user_id,
        name,
        key_hash,
        prefix,
        scopes,
        expires_at,
    )
    return _api_key(row)


async def count_api_keys(conn: Connection, *, user_id: UserId) -> int:
    """How many keys the user has, expired ones included."""
    count: int = await conn.fetchval("SELECT count(*) FROM api_keys WHERE user_id = $1", user_id)
    return count


async def get_api_keys(conn: Connection, *, user_id: UserId) -> list[ApiKey]:
    """All keys of the user, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at
        FROM api_keys
        WHERE user_id = $1
        ORDER BY id DESC
        """,
        user_id,
    )
    return [_api_key(row) for row in rows]


async def delete_api_key(conn: Connection, *, user_id: UserId, key_id: int) -> bool:
    """Whether the user had this key; it works no more."""
    tag = await conn.execute("DELETE FROM api_keys WHERE id = $1 AND user_id = $2", key_id, user_id)
    return tag == "DELETE 1"


async def delete_all_api_keys(conn: Connection, *, user_id: UserId) -> None:
    """Take every key of a user whose row this transaction has changed."""
    await conn.execute("DELETE FROM api_keys WHERE user_id = $1", user_id)


async def get_dead_api_keys(conn: Connection, *, key_ids: Sequence[ApiKeyId]) -> list[ApiKeyId]:
    """Which of these were deleted, have expired, or belong to a disabled user."""
    rows = await conn.fetch(
        """
        SELECT asked.id
        FROM unnest($1::bigint[]) AS asked (id)
        LEFT JOIN api_keys
            ON api_keys.id = asked.id
            AND (api_keys.expires_at IS NULL OR api_keys.expires_at > now())
        LEFT JOIN users ON users.id = api_keys.user_id AND users.disabled_at IS NULL
        WHERE users.id IS NULL
        """,
        key_ids,
    )
    return [ApiKeyId(row["id"]) for row in rows]


async def update_last_used(
    conn: Connection, *, key_ids: Sequence[ApiKeyId], used_at: Sequence[datetime]
) -> None:
    """Write down when keys were used; a key that was written down within a minute stays so."""
    await conn.execute(
        """
        UPDATE api_keys SET last_used_at = used.at
        FROM unnest($1::bigint[], $2::timestamptz[]) AS used (id, at)
        WHERE api_keys.id = used.id
            AND (api_keys.last_used_at IS NULL
                OR api_keys.last_used_at <= used.at - interval '1 minute')
        """,
        key_ids,
        used_at,
    )
