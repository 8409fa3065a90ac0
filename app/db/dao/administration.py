"""What administrators see and do, and how the first of them comes to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.db.connection import Connection, Row
from app.domain.access import Role
from app.domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedUser:
    """A user as an administrator sees them: no money, no secrets."""

    id: UserId
    email: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None


def _listed_user(row: Row) -> ListedUser:
    return ListedUser(
        id=UserId(row["id"]),
        email=row["email"],
        name=row["name"],
        role=Role(row["role"]),
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
    )


async def has_first_user(conn: Connection) -> bool:
    """Whether somebody was the first to register."""
    is_taken: bool = await conn.fetchval(
        "SELECT count(*) > 0 FROM installation WHERE first_user_at IS NOT NULL"
    )
    return is_taken


async def claim_first_place(conn: Connection) -> bool:
    """Whether this transaction registers the first user; another that asks waits for its end."""
    tag = await conn.execute(
        "UPDATE installation SET first_user_at = now() WHERE first_user_at IS NULL"
    )
    return tag == "UPDATE 1"


async def update_role(conn: Connection, *, user_id: UserId, role: Role) -> None:
    """Make the user an administrator, or an ordinary user."""
    await conn.execute("UPDATE users SET role = $2 WHERE id = $1", user_id, role)


async def list_users(conn: Connection, *, before_id: int | None, limit: int) -> list[ListedUser]:
    """Newest first, from before an id on."""
    rows = await conn.fetch(
        """
        SELECT id, email, name, role, created_at, disabled_at
        FROM users
        WHERE $1::bigint IS NULL OR id < $1
        ORDER BY id DESC
        LIMIT $2
        """,
        before_id,
        limit,
    )
    return [_listed_user(row) for row in rows]


async def lock_user_and_administrators(
    conn: Connection, *, user_id: UserId
) -> Sequence[ListedUser]:
    """The user, if there is one, and every active administrator, locked in ascending id."""
    rows = await conn.fetch(
        """
        SELECT id, email, name, role, created_at, disabled_at
        FROM users
        WHERE id = $1 OR (role = 'administrator' AND disabled_at IS NULL)
        ORDER BY id
        FOR NO KEY UPDATE
        """,
        user_id,
    )
    return [_listed_user(row) for row in rows]


async def update_disabled(
    conn: Connection, *, user_id: UserId, is_disabled: bool
) -> ListedUser | None:
    """Disable or enable the user; disabling again keeps the first instant."""
    row = await conn.fetchrow(
        """
        UPDATE users
        SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, now()) END
        WHERE id = $1
        RETURNING id, email, name, role, created_at, disabled_at
        """,
        user_id,
        is_disabled,
    )
    return None if row is None else _listed_user(row)
