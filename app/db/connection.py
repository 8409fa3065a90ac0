"""The connection that DAO functions are handed."""

from collections.abc import AsyncIterable, Sequence
from typing import Any, Final, LiteralString, Protocol, TypeAlias

Row: TypeAlias = Any
"""One asyncpg.Record; a DAO turns it into a domain value at once."""

ROWS_AT_ONCE: Final = 200
"""Of a page that is read by a cursor: to take in a thousand rows at a time would stop everybody
else for several milliseconds."""


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

    def cursor(
        self, query: LiteralString, *args: object, prefetch: int | None = None
    ) -> AsyncIterable[Row]:
        """Return every row, `prefetch` at a time; only inside a transaction."""
        ...
