"""The connection that DAO functions are handed."""

from collections.abc import Sequence
from typing import Any, LiteralString, Protocol, TypeAlias

Row: TypeAlias = Any
"""One asyncpg.Record; a DAO turns it into a domain value at once."""


class Connection(Protocol):
    """The part of an asyncpg connection that DAOs use.

    Queries are literals: what varies is bound as a parameter, never built into the text.
    """

    async def execute(self, query: LiteralString, *args: object) -> str:
        """Run a statement and return its command tag."""
        ...

    async def fetch(self, query: LiteralString, *args: object) -> Sequence[Row]:
        """Return every row."""
        ...

    async def fetchrow(self, query: LiteralString, *args: object) -> Row | None:
        """Return the first row, or None."""
        ...

    async def fetchval(self, query: LiteralString, *args: object) -> Any:
        """Return the first column of the first row, or None."""
        ...
