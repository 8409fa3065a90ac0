"""Query results as DataFrames and Arrow, for notebooks; the server need not run.

NUMERIC becomes float64 (or exact: Decimal objects in pandas, decimal128(38,20) elsewhere),
timestamptz becomes datetime64[ns, UTC] (Arrow: microseconds in UTC), NULL becomes NaN or NaT,
also when the whole column is NULL, and an empty result keeps its columns. Whole numbers beside
NULL become float64 in pandas, or Python's ints if asked for exactly or if one of them would be
rounded. Rows come by COPY where pyarrow can read every type of theirs, else as Records; the
values are the same.
pandas, polars and pyarrow are imported only when they are asked for.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import asyncpg

from app.core.config import REPLAY_ENDING, Settings, load_settings
from app.db.address import DatabaseAddress
from app.db.arrow import (
    ValueNotArrow,
    copied_schema,
    fetched_schema,
    import_pyarrow,
    table_of_records,
)
from app.db.copying import Column, columns_of, plan_copy
from app.db.embedded import embedded_postgres
from app.db.instants import INSTANTS, InstantOutOfReach, spelled
from app.db.reading import open_reading

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

PANDAS_MISSING: Final = (
    "pandas is required for DataFrame conversion. Install it with: pip install pandas"
)
POLARS_MISSING: Final = (
    "polars is required for engine='polars'. Install it with: pip install polars pyarrow"
)
ROWS_MAX: Final = 10_000_000
"""Most rows of one DataFrame, unless the caller says otherwise."""

FLOAT_WHOLE_MAX: Final = 2**53
"""Up to here float64 holds every whole number."""

QUERY_SECONDS_MAX: Final = 300.0
STREAM_SECONDS_MAX: Final = 3600.0

Engine = Literal["pandas", "polars", "arrow"]
_WHOLE: Final = frozenset({"int2", "int4", "int8"})
_EXACT: Final = _WHOLE | {"numeric"}
_NUMBERS: Final = _EXACT | {"float4", "float8"}


def _pandas() -> Any:
    try:
        import pandas as pd  # noqa: PLC0415 - an extra that only researchers need
    except ImportError:
        raise ImportError(PANDAS_MISSING) from None
    return pd


def _polars() -> Any:
    try:
        import polars as pl  # noqa: PLC0415 - another extra
    except ImportError:
        raise ImportError(POLARS_MISSING) from None
    return pl


def _pyarrow_if_there_is() -> Any | None:
    try:
        return import_pyarrow()
    except ImportError:  # pandas does without it; Records carry everything
        return None


def records_to_dataframe(
    records: Sequence[asyncpg.Record], *, exact: bool = False
) -> "pd.DataFrame":
    """The records as a DataFrame, one column for each key.

    `exact=True` keeps NUMERIC as Decimal objects, and whole numbers beside NULL as ints.
    Without records there is nothing to tell the columns from: use `query_to_dataframe`, which
    knows them from the statement.
    """
    pd = _pandas()
    if not records:
        return pd.DataFrame()
    columns = [
        Column(name, _kind([record[i] for record in records]))
        for i, name in enumerate(records[0].keys())
    ]
    return _frame(pd, columns=columns, records=records, exact=exact)


@overload
async def query_to_dataframe(
    query: str,
    *args: object,
    exact: bool = False,
    engine: Literal["pandas"] = "pandas",
    rows_max: int | None = ROWS_MAX,
    timeout_seconds: float | None = QUERY_SECONDS_MAX,
    settings: Settings | None = None,
) -> "pd.DataFrame": ...
@overload
async def query_to_dataframe(
    query: str,
    *args: object,
    exact: bool = False,
    engine: Literal["polars"],
    rows_max: int | None = ROWS_MAX,
    timeout_seconds: float | None = QUERY_SECONDS_MAX,
    settings: Settings | None = None,
) -> "pl.DataFrame": ...
@overload
async def query_to_dataframe(
    query: str,
    *args: object,
    exact: bool = False,
    engine: Literal["arrow"],
    rows_max: int | None = ROWS_MAX,
    timeout_seconds: float | None = QUERY_SECONDS_MAX,
    settings: Settings | None = None,
) -> "pa.Table": ...
async def query_to_dataframe(
    query: str,
    *args: object,
    exact: bool = False,
    engine: Engine = "pandas",
    rows_max: int | None = ROWS_MAX,
    timeout_seconds: float | None = QUERY_SECONDS_MAX,
    settings: Settings | None = None,
) -> Any:
    """The result of one query, run in a read-only transaction of its own connection.

    The database is the one that `settings` name, by default the environment and .env, else
    goblin's embedded one, which is started if it does not run. `args` are bound to $1, $2,
    ...; `exact=True` keeps every digit of every number. Raises TooManyRows, QueryTooSlow,
    InstantOutOfReach, ValueNotArrow (Arrow and polars only) and what asyncpg raises for a wrong
    query.
    """
    if engine not in ("pandas", "polars", "arrow"):
        raise ValueError(f"engine is 'pandas', 'polars' or 'arrow', not {engine!r}")
    if rows_max is not None and rows_max < 0:
        raise ValueError(f"rows_max is 0 or more, or None for no limit, not {rows_max}")
    pd = _pandas() if engine == "pandas" else None
    pl = _polars() if engine == "polars" else None
    pa = _pyarrow_if_there_is() if engine == "pandas" else import_pyarrow()
    async with _configured_database(settings) as address:
        with suppress(ValueNotArrow):  # 40 decimals, a year before Christ: fetched below
            async with open_reading(address, seconds_max=timeout_seconds) as reading:
                statement = await reading.connection.prepare(query)
                columns = columns_of(statement)
                schema = None if pa is None else copied_schema(pa, columns, exact=exact)
                copy = None
                if schema is not None:  # one without columns is false
                    copy = await plan_copy(reading.connection, query, args, statement)
                if copy is not None:
                    table = await reading.copied_table(copy, pa, schema, rows_max=rows_max)
                    if pd is not None:
                        return _frame_of_table(pd, pa, table, columns=columns, exact=exact)
                    return table if pl is None else pl.from_arrow(table)
        async with open_reading(address, seconds_max=timeout_seconds) as reading:
            statement = await reading.connection.prepare(query)
            columns = columns_of(statement)
            records = await reading.fetch(statement, args, rows_max=rows_max)
    if pd is not None:
        return _frame(pd, columns=columns, records=records, exact=exact)
    table = table_of_records(pa, records, fetched_schema(pa, columns, exact=exact))
    return table if pl is None else pl.from_arrow(table)


async def stream_query(
    query: str,
    *args: object,
    exact: bool = False,
    timeout_seconds: float | None = STREAM_SECONDS_MAX,
    settings: Settings | None = None,
) -> "AsyncGenerator[pa.RecordBatch, None]":
    """The result of one query as Arrow record batches, however large, in constant memory.

    All batches have one schema and see one snapshot; an empty result is one empty batch.
    Close the generator (contextlib.aclosing) to leave early. `timeout_seconds` counts the
    time that the caller takes as well. Raises as `query_to_dataframe` does, and TypeError
    for a type that Arrow has nothing for.
    """
    pa = import_pyarrow()
    async with (
        _configured_database(settings) as address,
        open_reading(address, seconds_max=timeout_seconds) as reading,
    ):
        statement = await reading.connection.prepare(query)
        schema = copied_schema(pa, columns_of(statement), exact=exact)
        copy = None
        if schema is not None:
            copy = await plan_copy(reading.connection, query, args, statement)
        if copy is None:
            schema = fetched_schema(pa, columns_of(statement), exact=exact)
            tables = reading.fetched_tables(statement, args, pa, schema)
        else:
            tables = reading.copied_tables(copy, pa, schema)
        is_empty = True
        async with aclosing(tables):
            async for table in tables:
                for batch in table.to_batches():
                    is_empty = False
                    yield batch
        if is_empty:
            yield pa.RecordBatch.from_pylist([], schema=schema)


def database_address(settings: Settings) -> DatabaseAddress | None:
    """The user's own database, or None when goblin is to run the embedded one."""
    if settings.db_host is None:
        return None
    return DatabaseAddress(
        host=settings.db_host,
        port=settings.db_port,
        database=settings.db_name,
        user=settings.db_user,
        password=settings.db_password.get_secret_value(),
    )


@asynccontextmanager
async def _configured_database(settings: Settings | None) -> AsyncIterator[DatabaseAddress]:
    settings = load_settings() if settings is None else settings
    address = database_address(settings)
    async with (
        embedded_postgres(settings.data_dir / "postgres", database=settings.db_name)
        if address is None
        else nullcontext(address)
    ) as reached:
        try:
            yield reached
        except asyncpg.UndefinedTableError as error:
            if not settings.is_replay:  # who has only ever replayed has nothing else
                replay = settings.db_name + REPLAY_ENDING
                error.add_note(
                    f"The database asked is {settings.db_name}; that of replays is {replay}: "
                    f"set DB_NAME={replay} in the environment to ask it"
                )
            raise


def _kind(values: Sequence[object]) -> str:
    """The PostgreSQL type that such values come from; only what changes the column counts."""
    kinds = {_kind_of(value) for value in values if value is not None} or {"float8"}
    return kinds.pop() if len(kinds) == 1 else "other"


def _kind_of(value: object) -> str:
    match value:
        case datetime():
            return "timestamp" if value.tzinfo is None else "timestamptz"
        case date():
            return "date"
        case int() if not isinstance(value, bool):
            return "int8"
        case Decimal():
            return "numeric"
        case _:
            return "other"


def _frame(
    pd: Any, *, columns: Sequence[Column], records: Sequence[asyncpg.Record], exact: bool
) -> "pd.DataFrame":
    series = [
        _column(pd, column, [record[i] for record in records], exact=exact)
        for i, column in enumerate(columns)
    ]
    return _named(pd, columns, series, rows=len(records))


def _frame_of_table(
    pd: Any, pa: Any, table: Any, *, columns: Sequence[Column], exact: bool
) -> "pd.DataFrame":
    """The same frame as of Records."""
    series = [
        _copied_column(pd, pa, column, table.column(i), exact=exact)
        for i, column in enumerate(columns)
    ]
    return _named(pd, columns, series, rows=len(table))


def _named(
    pd: Any, columns: Sequence[Column], series: Sequence[Any], *, rows: int
) -> "pd.DataFrame":
    # By position first: a query may give two columns one name.
    frame = pd.DataFrame(dict(enumerate(series)), index=range(rows))
    frame.columns = [column.name for column in columns]
    return frame


def _copied_column(pd: Any, pa: Any, column: Column, values: Any, *, exact: bool) -> Any:
    kind = column.kind
    try:
        if kind in INSTANTS:
            zone = "UTC" if kind == "timestamptz" else None
            return values.cast(pa.timestamp("ns", zone)).to_pandas()
        if kind in _WHOLE and values.null_count == 0:
            return pd.Series(values.cast("int64").to_numpy())
        if kind in _NUMBERS and not (exact and kind in _EXACT):
            return pd.Series(values.cast("float64").to_numpy())
    except pa.ArrowInvalid:  # beyond nanoseconds, or rounded by float64
        return _column(pd, column, values.to_pylist(), exact=exact)
    if kind in _NUMBERS or kind == "bool" or len(values) in (0, values.null_count):
        return _column(pd, column, values.to_pylist(), exact=exact)
    return values.to_pandas()


def _column(pd: Any, column: Column, values: list[Any], *, exact: bool) -> Any:
    kind = column.kind
    if kind in INSTANTS:
        try:
            return pd.Series(pd.to_datetime(values, utc=kind == "timestamptz")).astype(
                "datetime64[ns, UTC]" if kind == "timestamptz" else "datetime64[ns]"
            )
        except pd.errors.OutOfBoundsDatetime:
            raise _out_of_reach(pd, column, values) from None
    if kind in _NUMBERS:
        nan = float("nan")
        if kind in _WHOLE and None not in values:
            return pd.Series(values, dtype="int64")
        if (exact and kind in _EXACT) or (kind in _WHOLE and _is_rounded(values)):
            return pd.Series([nan if v is None else v for v in values], dtype=object)
        return pd.Series([nan if v is None else float(v) for v in values], dtype="float64")
    series = pd.Series(values)
    return series.astype("float64") if len(values) and series.isna().all() else series


def _out_of_reach(pd: Any, column: Column, values: list[Any]) -> InstantOutOfReach:
    """What to say of the first of them that nanoseconds do not reach."""
    for value in values:
        try:
            pd.Timestamp(value).as_unit("ns")
        except pd.errors.OutOfBoundsDatetime:
            return InstantOutOfReach([column.name], spelled(value))
    raise AssertionError(column)  # pandas refused one of them


def _is_rounded(values: list[int | None]) -> bool:
    return any(v is not None and abs(v) > FLOAT_WHOLE_MAX for v in values)
