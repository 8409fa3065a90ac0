"""Counting attempts before they are made, so that not even simultaneous ones exceed a limit."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from app.db.dao import attempts, users
from app.db.dao.attempts import Tally
from app.db.dao.users import Credentials
from app.db.database import Database
from app.domain.attempts import LOGINS, Limit, origin_of, registrations
from app.domain.errors import TooManyRequests
from app.services.passwords import PasswordHasher

_log: Final = logging.getLogger(__name__)


async def check_password(
    db: Database, hasher: PasswordHasher, *, email: str, password: str, address: str
) -> tuple[Credentials, str | None] | None:
    """Whose password it is, and a new hash if the stored one is outdated; None if it is wrong.

    When it is its turn to be checked, the attempt is counted as a failure; a right password
    takes that back, and clears what the account has against it at this address. No connection
    is held while it is checked. Raises TooManyLogins or PasswordsBusy, and nothing is checked.
    """
    origin = origin_of(address)
    of_origin = Tally(purpose=LOGINS.purpose, origin=origin, email=None)
    of_account = Tally(purpose=LOGINS.purpose, origin=origin, email=email)
    await _require_room(db, LOGINS, of_origin, of_account)
    async with hasher.turn():
        counted_at = await _count(db, LOGINS, of_origin, of_account)
        async with db.connection() as conn:
            found = await users.get_credentials(conn, email=email)
        stored = None if found is None else found.password_hash
        is_right, renewed = await hasher.verify(password, stored)
    if found is None or not is_right:
        return None
    async with db.connection() as conn:
        await attempts.remove_attempt(conn, tally=of_origin, at=counted_at)
        await attempts.delete_attempts(conn, tally=of_account)
    return found, renewed


async def count_registration(db: Database, *, address: str, per_hour_max: int) -> None:
    """Count a registration, whatever becomes of it. Raises TooManyRegistrations."""
    limit = registrations(per_hour_max)
    tally = Tally(purpose=limit.purpose, origin=origin_of(address), email=None)
    await _require_room(db, limit, tally)
    await _count(db, limit, tally)


async def _require_room(db: Database, limit: Limit, *tallies: Tally) -> None:
    """Refuse who has to wait anyway, at once and without locking anything."""
    async with db.connection() as conn:
        tries = await attempts.get_tries(conn, tallies=tallies, window=limit.window)
    with _logged(tallies):
        limit.require_room(tries)


async def _count(db: Database, limit: Limit, *tallies: Tally) -> datetime:
    """When the attempt was counted; one too many raises the refusal and is not counted.

    Tallies are locked in the order given, which is the same for everybody: the origin's first.
    """
    async with db.transaction() as conn:
        tries = await attempts.insert_attempt(conn, tallies=tallies, window=limit.window)
        with _logged(tallies):
            limit.require_room(tries)
    return tries[0].at


@contextmanager
def _logged(tallies: Sequence[Tally]) -> Iterator[None]:
    try:
        yield
    except TooManyRequests as refusal:
        _log.warning("attempt refused", extra={"code": refusal.code, "origin": tallies[0].origin})
        raise
