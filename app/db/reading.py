"""Reading one query's result on a connection of its own: by COPY into Arrow, or as Records."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from app.db.address import DatabaseAddress
from app.db.arrow import read_block, table_of_records
from app.db.copying import Copy, columns_of
from app.db.instants import decoding

STREAMED_RECORDS: Final = 10_000
"""Rows of a streamed table that cannot come by COPY."""


class TooManyRows(ValueError):
    """The result is larger than the caller expected; nothing of it is given."""

    def __init__(self, rows_max: int) -> None:
        super().__init__(
            f"the result has more than {rows_max:,} rows: narrow the query, raise rows_max "
            "(None lifts the limit), or read it piece by piece with stream_query"
        )


class QueryTooSlow(TimeoutError):
    """The statement ran longer than it may; PostgreSQL stopped it."""

    def __init__(self, seconds_max: float) -> None:
        super().__init__(
            f"the query ran longer than {seconds_max:g} seconds: narrow it, or raise "
            "timeout_seconds (None lifts the limit)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A connection that can change nothing, and how long a statement of it may take."""

    connection: Any
    seconds_max: float | None

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """A read-only transaction, for one statement. Raises QueryTooSlow."""
        with self._in_time():
            async with self.connection.transaction(readonly=True):
                await self.connection.execute(
                    "SELECT set_config('statement_timeout', $1, true)",
                    str(0 if self.seconds_max is None else max(round(self.seconds_max * 1000), 1)),
                )
                yield

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            yield
        except asyncpg.QueryCanceledError:
            if self.seconds_max is None:
                raise
            raise QueryTooSlow(self.seconds_max) from None

    async def fetch(
        self, statement: Any, args: Sequence[object], *, rows_max: int | None
    ) -> Sequence[Any]:
        """The prepared statement's Records. Raises TooManyRows, QueryTooSlow, InstantOutOfReach."""
        columns = columns_of(statement)
        async with self.snapshot():
            if rows_max is None:
                with decoding(columns):
                    records: Sequence[Any] = await statement.fetch(*args)
                return records
            cursor = await statement.cursor(*args)
            with decoding(columns):
                records = await cursor.fetch(rows_max + 1)
        if len(records) > rows_max:
            raise TooManyRows(rows_max)
        return records

    async def fetched_tables(
        self, statement: Any, args: Sequence[object], pa: Any, schema: Any
    ) -> AsyncGenerator[Any, None]:
        """The same as Arrow tables, piece by piece. Raises ValueNotArrow too."""
        columns = columns_of(statement)
        async with self.snapshot():
            cursor = await statement.cursor(*args)
            while True:
                with decoding(columns):
                    records = await cursor.fetch(STREAMED_RECORDS)
                if not records:
                    return
                yield table_of_records(pa, records, schema)

    async def copied_tables(self, copy: Copy, pa: Any, schema: Any) -> AsyncGenerator[Any, None]:
        """The copied result as Arrow tables, piece by piece.

        Raises ValueNotArrow, InstantOutOfReach, QueryTooSlow.
        """
        blocks = copy.blocks(self.connection, seconds_max=self.seconds_max)
        with self._in_time():
            async with aclosing(blocks):
                async for block in blocks:
                    yield await asyncio.to_thread(read_block, pa, block, schema)

    async def copied_table(self, copy: Copy, pa: Any, schema: Any, *, rows_max: int | None) -> Any:
        """The whole of it. Raises TooManyRows as well."""
        tables = [schema.empty_table()]
        rows = 0
        async with aclosing(self.copied_tables(copy, pa, schema)) as pieces:
            async for piece in pieces:
                tables.append(piece)
                rows += len(piece)
                if rows_max is not None and rows > rows_max:
                    raise TooManyRows(rows_max)
        return pa.concat_tables(tables)


@asynccontextmanager
async def open_reading(
    address: DatabaseAddress, *, seconds_max: float | None
) -> AsyncIterator[Reading]:
    """A connection of its own, closed afterwards whatever state it is in. Raises ValueError."""
    if seconds_max is not None and not seconds_max > 0:  # 0 is no limit at all to PostgreSQL
        raise ValueError(f"timeout_seconds is more than 0, or None for no limit, not {seconds_max}")
    connection = await asyncpg.connect(
        **address.connect_arguments(),
        server_settings={"timezone": "UTC", "standard_conforming_strings": "on"},
    )
    try:
        yield Reading(connection=connection, seconds_max=seconds_max)
        await connection.close()
    finally:
        connection.terminate()
