"""What the database's failures mean to a caller.

Constraints that a service expects are handled where they are expected, by their names. What
arrives here is trouble: the database is away, or a value got past validation.
"""

from typing import Final

import asyncpg

from app.domain.errors import Conflict, GoblinError, Invalid, Unavailable


class DatabaseUnavailable(Unavailable):
    """The database cannot be asked now; asking again later is safe."""

    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("API or database dependency is unavailable")


class DatabaseBusy(Conflict):
    """Concurrent transactions stood in each other's way; nothing was changed."""

    code = "concurrent_update"

    def __init__(self) -> None:
        super().__init__("another request changed the same data at the same time, try again")


class RowLocked(DatabaseBusy):
    """Another transaction held the same row for too long; asking again at once would not help."""


class ValueNotStorable(Invalid):
    """PostgreSQL cannot hold this value: a NUL, a lone surrogate, a number out of range."""

    code = "value_not_storable"

    def __init__(self) -> None:
        super().__init__("a value in the request cannot be stored")


# Class 08 connection, 28 login refused, 53 resources, 57 operator intervention, 58 system,
# F0 and XX a damaged server; 25006 a read-only standby, 25P03 and 25P04 a transaction that it
# ended for its age, 3D000 no such database, 40003 a commit of unknown outcome, 55000 a
# database that lets nobody in.
_AWAY_CLASSES: Final = ("08", "28", "53", "57", "58", "F0", "XX")
_AWAY_STATES: Final = frozenset({"25006", "25P03", "25P04", "3D000", "40003", "55000"})
# Serialization failure and deadlock: rolled back, and likely to succeed at once.
_BUSY_STATES: Final = frozenset({"40001", "40P01"})
_LOCKED_STATE: Final = "55P03"
# Class 22 data exception, 54001 a value nested too deeply.
_DATA_CLASSES: Final = ("22", "54")

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError included
)
"""Everything that asyncpg raises for the world's reasons; InterfaceError is no PostgresError."""


def translate(error: BaseException) -> GoblinError | None:
    """The error a caller can act on, or None for what only a bug explains."""
    if isinstance(error, asyncpg.DataError):  # also raised client-side, without a state
        return ValueNotStorable()
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return DatabaseUnavailable()  # a migration changed a table under it; prepared anew next
    if isinstance(error, asyncpg.PostgresError):
        return _translate_state(error.sqlstate or "")
    if isinstance(error, DRIVER_ERRORS):
        return DatabaseUnavailable()
    return None


def _translate_state(state: str) -> GoblinError | None:
    if state in _BUSY_STATES:
        return DatabaseBusy()
    if state == _LOCKED_STATE:
        return RowLocked()
    if state in _AWAY_STATES or state.startswith(_AWAY_CLASSES):
        return DatabaseUnavailable()
    if state.startswith(_DATA_CLASSES):
        return ValueNotStorable()
    return None
