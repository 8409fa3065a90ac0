"""The table `leases`. The database's clock decides; nobody else's is asked."""

from collections.abc import Sequence

from app.db.connection import Connection


async def take_lease(conn: Connection, *, name: str, holder: str, seconds: float) -> int | None:
    """The term that begins now, None while somebody holds the lease."""
    term: int | None = await conn.fetchval(
        """
        INSERT INTO leases AS held (name, term, holder, expires_at)
        VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
        ON CONFLICT (name) DO UPDATE
        SET term = held.term + 1, holder = excluded.holder,
            expires_at = clock_timestamp() + make_interval(secs => $3)
        WHERE held.expires_at <= clock_timestamp()
        RETURNING held.term
        """,
        name,
        holder,
        seconds,
    )
    return term


async def renew_lease(conn: Connection, *, name: str, term: int, seconds: float) -> bool:
    """Hold on for so long from now; False when the term is over."""
    renewed: bool | None = await conn.fetchval(
        """
        UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $3)
        WHERE name = $1 AND term = $2 AND expires_at > clock_timestamp()
        RETURNING true
        """,
        name,
        term,
        seconds,
    )
    return renewed is not None


async def end_lease(conn: Connection, *, name: str, term: int) -> None:
    """Let the next one have it at once."""
    await conn.execute(
        "UPDATE leases SET expires_at = clock_timestamp() WHERE name = $1 AND term = $2",
        name,
        term,
    )


async def lock_lease(conn: Connection, *, name: str, term: int) -> bool:
    """Whether the term goes on, and it then does until this transaction ends.

    Whoever writes something that only the holder may write asks this first, in the same
    transaction: the next term waits for it.
    """
    held: bool | None = await conn.fetchval(
        """
        SELECT true FROM leases
        WHERE name = $1 AND term = $2 AND expires_at > clock_timestamp()
        FOR SHARE
        """,
        name,
        term,
    )
    return held is not None


async def notify_in_term(
    conn: Connection, *, channel: str, texts: Sequence[str], name: str, term: int
) -> int:
    """Tell the texts (each under 8,000 bytes) if the term goes on; how many were told."""
    told: int = await conn.fetchval(
        """
        SELECT count(pg_notify($1, text))
        FROM unnest($2::text[]) AS text
        WHERE EXISTS (
            SELECT 1 FROM leases
            WHERE name = $3 AND term = $4 AND expires_at > clock_timestamp()
        )
        """,
        channel,
        texts,
        name,
        term,
    )
    return told
