"""The table `attempts`: who tried a password, or to register, and when.

An account is written down as the SHA-256 of its e-mail in lower case, as PostgreSQL spells it
when it looks the user up; without an e-mail the row is the origin's as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db.connection import Connection
from app.domain.attempts import Purpose, Tries


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One row: attempts from an origin, all of them or those about one e-mail."""

    purpose: Purpose
    origin: str
    email: str | None


async def get_tries(
    conn: Connection,
    *,
    tallies: Sequence[Tally],
    window: timedelta,
) -> list[Tries]:
    """What one more attempt would come to, for each row that there is."""
    rows = await conn.fetch(
        """
        WITH this AS MATERIALIZED (SELECT clock_timestamp() AS at)
        SELECT account <> '' AS is_of_account, recent.count + 1 AS count, recent.first_at, this.at
        FROM this,
            unnest($1::text[], $2::text[], $3::text[]) AS tally (purpose, origin, email)
            JOIN attempts
                ON attempts.purpose = tally.purpose
                AND attempts.origin = tally.origin
                AND account = coalesce(sha256(convert_to(lower(email), 'UTF8')), ''),
            LATERAL (
                SELECT count(*)::int AS count, coalesce(min(t), this.at) AS first_at
                FROM unnest(tried_at) AS t
                WHERE t > this.at - $4::interval AND t < this.at + $4::interval
            ) AS recent
        """,
        [tally.purpose for tally in tallies],
        [tally.origin for tally in tallies],
        [tally.email for tally in tallies],
        window,
    )
    return [Tries(**row) for row in rows]


async def insert_attempt(
    conn: Connection,
    *,
    tallies: Sequence[Tally],
    window: timedelta,
) -> list[Tries]:
    """Count one attempt now, in every row; concurrent ones wait for each other, row by row."""
    rows = await conn.fetch(
        """
        WITH this AS MATERIALIZED (SELECT clock_timestamp() AS at)
        INSERT INTO attempts (purpose, origin, account, tried_at)
        SELECT purpose, origin, coalesce(sha256(convert_to(lower(email), 'UTF8')), ''), ARRAY[at]
        FROM this, unnest($1::text[], $2::text[], $3::text[]) AS tally (purpose, origin, email)
        ON CONFLICT (purpose, origin, account) DO UPDATE
        SET tried_at = (
            SELECT array_agg(t ORDER BY t)
            FROM this, unnest(attempts.tried_at || at) AS t
            WHERE t > at - $4::interval AND t < at + $4::interval -- a clock was put back
        )
        RETURNING account <> '' AS is_of_account, cardinality(tried_at) AS count,
            tried_at[1] AS first_at, (SELECT at FROM this) AS at
        """,
        [tally.purpose for tally in tallies],
        [tally.origin for tally in tallies],
        [tally.email for tally in tallies],
        window,
    )
    return [Tries(**row) for row in rows]


async def remove_attempt(conn: Connection, *, tally: Tally, at: datetime) -> None:
    """Take back one attempt of one row."""
    await conn.execute(
        """
        UPDATE attempts
        SET tried_at = array_remove(tried_at, $4)
        WHERE purpose = $1 AND origin = $2
            AND account = coalesce(sha256(convert_to(lower($3), 'UTF8')), '')
        """,
        tally.purpose,
        tally.origin,
        tally.email,
        at,
    )


async def delete_attempts(conn: Connection, *, tally: Tally) -> None:
    """Forget what one row counts."""
    await conn.execute(
        """
        DELETE FROM attempts
        WHERE purpose = $1 AND origin = $2
            AND account = coalesce(sha256(convert_to(lower($3), 'UTF8')), '')
        """,
        tally.purpose,
        tally.origin,
        tally.email,
    )


async def delete_old_attempts(conn: Connection, *, age_min: timedelta) -> int:
    """How many rows were deleted, whose attempts are all older than `age_min`.

    A row that somebody counts in just now is left alone, and so nobody waits for anybody.
    """
    count: int = await conn.fetchval(
        """
        WITH old AS (
            SELECT purpose, origin, account FROM attempts
            WHERE coalesce(tried_at[cardinality(tried_at)], '-infinity') < now() - $1::interval
            FOR UPDATE SKIP LOCKED
        ),
        deleted AS (
            DELETE FROM attempts
            USING old
            WHERE (attempts.purpose, attempts.origin, attempts.account)
                = (old.purpose, old.origin, old.account)
            RETURNING 1
        )
        SELECT count(*) FROM deleted
        """,
        age_min,
    )
    return count
