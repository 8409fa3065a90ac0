"""The table `idempotency_keys`: the first answers to requests that carried a key."""

from datetime import timedelta

from app.db.connection import Connection
from app.domain.answers import Answer, KeyedRequest, StoredAnswer
from app.domain.users import UserId


async def get_key(conn: Connection, *, user_id: UserId, key: str) -> StoredAnswer | None:
    """The first answer of a key."""
    row = await conn.fetchrow(
        "SELECT fingerprint, status, body FROM idempotency_keys WHERE user_id = $1 AND key = $2",
        user_id,
        key,
    )
    if row is None:
        return None
    answer = Answer(status=row["status"], body=row["body"], is_replayed=True)
    return StoredAnswer(fingerprint=row["fingerprint"], answer=answer)


async def insert_key(conn: Connection, *, keyed: KeyedRequest, answer: Answer) -> None:
    """Keep the first answer, in the transaction of its effect, under the user's lock."""
    await conn.execute(
        """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body)
        VALUES ($1, $2, $3, $4, $5)
        """,
        keyed.user_id,
        keyed.key,
        keyed.fingerprint,
        answer.status,
        answer.body,
    )


async def delete_old_keys(conn: Connection, *, age_min: timedelta, limit: int) -> int:
    """How many of the keys older than `age_min` were deleted, at most `limit`."""
    count: int = await conn.fetchval(
        """
        WITH old AS (
            SELECT user_id, key FROM idempotency_keys
            WHERE created_at < now() - $1::interval
            ORDER BY created_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ),
        deleted AS (
            DELETE FROM idempotency_keys
            USING old
            WHERE idempotency_keys.user_id = old.user_id AND idempotency_keys.key = old.key
            RETURNING 1
        )
        SELECT count(*) FROM deleted
        """,
        age_min,
        limit,
    )
    return count
