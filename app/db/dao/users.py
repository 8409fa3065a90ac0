"""The table `users`."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.db.connection import Connection, Row
from app.domain.access import Role
from app.domain.users import LockedUser, User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user and the hash to check a password against."""

    user: User
    password_hash: str
    is_disabled: bool = False
    role: Role = Role.USER


def _user(row: Row) -> User:
    return User(
        id=UserId(row["id"]),
        email=row["email"],
        name=row["name"],
        balance=row["balance"],
        created_at=row["created_at"],
        epoch=row["epoch"],
    )


def _locked(rows: Sequence[Row]) -> dict[UserId, LockedUser]:
    return {
        UserId(row["id"]): LockedUser(
            user=_user(row),
            event_number=row["event_number"],
            is_ledger_stopped=row["is_ledger_stopped"],
        )
        for row in rows
    }


async def insert_user(
    conn: Connection, *, email: str, password_hash: str, name: str
) -> User | None:
    """The new user; None when the address is taken, also by a concurrent request."""
    row = await conn.fetchrow(
        """
        INSERT INTO users (email, password, name)
        VALUES ($1, $2, $3)
        ON CONFLICT (lower(email)) DO NOTHING
        RETURNING id, email, name, balance, created_at, epoch
        """,
        email,
        password_hash,
        name,
    )
    return None if row is None else _user(row)


async def get_credentials(conn: Connection, *, email: str) -> Credentials | None:
    """The user with this address, in whatever case, and the password's hash."""
    row = await conn.fetchrow(
        """
        SELECT id, email, name, balance, created_at, epoch, password, role,
            disabled_at IS NOT NULL AS is_disabled
        FROM users
        WHERE lower(email) = lower($1)
        """,
        email,
    )
    if row is None:
        return None
    return Credentials(
        user=_user(row),
        password_hash=row["password"],
        is_disabled=row["is_disabled"],
        role=Role(row["role"]),
    )


async def update_password_hash(
    conn: Connection, *, user_id: UserId, old_hash: str, new_hash: str
) -> bool:
    """Replace a hash unless it changed meanwhile; whether it was replaced."""
    tag = await conn.execute(
        "UPDATE users SET password = $3, updated_at = now() WHERE id = $1 AND password = $2",
        user_id,
        old_hash,
        new_hash,
    )
    return tag == "UPDATE 1"


async def lock_users(conn: Connection, *, user_ids: Sequence[UserId]) -> dict[UserId, LockedUser]:
    """The users, locked in ascending id until the transaction ends; missing ones are left out.

    The ledger alarm is read along, so that stopping order entry costs no statement.
    """
    rows = await conn.fetch(
        """
        SELECT id, email, name, balance, created_at, epoch, event_number,
            EXISTS (SELECT FROM ledger_alarms WHERE cleared_at IS NULL) AS is_ledger_stopped
        FROM users
        WHERE id = ANY($1::bigint[])
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        sorted(set(user_ids)),
    )
    return _locked(rows)


async def lock_free_users(
    conn: Connection, *, user_ids: Sequence[UserId]
) -> dict[UserId, LockedUser]:
    """`lock_users` that waits for nobody: users that another transaction holds are left out."""
    rows = await conn.fetch(
        """
        SELECT id, email, name, balance, created_at, epoch, event_number,
            EXISTS (SELECT FROM ledger_alarms WHERE cleared_at IS NULL) AS is_ledger_stopped
        FROM users
        WHERE id = ANY($1::bigint[])
        ORDER BY id
        FOR NO KEY UPDATE SKIP LOCKED
        """,
        sorted(set(user_ids)),
    )
    return _locked(rows)


async def update_epoch(conn: Connection, *, user_id: UserId, epoch: int) -> None:
    """Begin the next life of the account of a user that this transaction has locked."""
    await conn.execute("UPDATE users SET epoch = $2 WHERE id = $1", user_id, epoch)
