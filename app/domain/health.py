"""What an order needs, and how it is."""

from dataclasses import dataclass

from app.domain.errors import GoblinError, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """What a database that answers says about itself."""

    is_writable: bool
    is_migrated: bool
    """Whether the newest migration that this process knows is applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the things that goblin consists of. `obstacle` is why it keeps orders out."""

    state: str
    age_seconds: float
    """How long ago goblin found this out."""
    obstacle: GoblinError | None = None


class DatabaseReadOnly(Unavailable):
    """The database answers and lets nobody write: a standby, or switched to read-only."""

    code = "database_read_only"

    def __init__(self) -> None:
        super().__init__("the database is read-only: nothing is booked until it can be written")


class SchemaNotCurrent(Unavailable):
    """The database lacks a migration that this process needs, after a restore for example."""

    code = "schema_not_current"

    def __init__(self) -> None:
        super().__init__("the database lacks a migration: run python -m app migrate")
