"""What administrators do with users."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.db.connection import Connection
from app.db.dao import administration, sessions
from app.db.dao.administration import ListedUser
from app.db.database import Database
from app.domain.access import Role
from app.domain.registration import LastAdministrator, UserNotFound
from app.domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """Some users, newest first, and where the next older page begins."""

    users: Sequence[ListedUser]
    next_before_id: int | None


async def list_users(db: Database, *, before_id: int | None, limit: int) -> UserPage:
    """A page of all users, newest first."""
    async with db.connection() as conn:
        found = await administration.list_users(conn, before_id=before_id, limit=limit + 1)
    page = found[:limit]
    return UserPage(users=page, next_before_id=page[-1].id if len(found) > limit else None)


async def disable_user(db: Database, *, user_id: int) -> ListedUser:
    """Shut a user out: every session ends, API keys sleep, logging in is refused.

    Raises UserNotFound or LastAdministrator, also when two administrators disable each other.
    """

    async def work(conn: Connection) -> ListedUser:
        locked = await administration.lock_user_and_administrators(conn, user_id=UserId(user_id))
        targets = [user for user in locked if user.id == user_id]
        if not targets:
            raise UserNotFound(user_id)
        if targets == list(locked) and targets[0].role is Role.ADMINISTRATOR:
            raise LastAdministrator
        await sessions.revoke_all_sessions(conn, user_id=UserId(user_id))
        return await _set_disabled(conn, user_id, is_disabled=True)

    return await db.run_in_transaction(work)


async def enable_user(db: Database, *, user_id: int) -> ListedUser:
    """Let a user in again; they log in anew, and their API keys work again.

    Raises UserNotFound.
    """
    async with db.connection() as conn:
        return await _set_disabled(conn, user_id, is_disabled=False)


async def _set_disabled(conn: Connection, user_id: int, *, is_disabled: bool) -> ListedUser:
    user = await administration.update_disabled(
        conn, user_id=UserId(user_id), is_disabled=is_disabled
    )
    if user is None:
        raise UserNotFound(user_id)
    return user
