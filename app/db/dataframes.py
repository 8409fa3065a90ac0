"""DataFrames from queries, for notebooks; the server need not run.

NUMERIC becomes float64 (or exact Decimal objects), timestamptz becomes datetime64[ns, UTC],
NULL becomes NaN or NaT, also when the whole column is NULL, and an empty result keeps its
columns. pandas is imported only here and only when one of these functions is called.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from app.core.config import Settings, load_settings
from app.db.address import DatabaseAddress
from app.db.embedded import embedded_postgres

if TYPE_CHECKING:
    import pandas as pd

PANDAS_MISSING: Final = (
    "pandas is required for DataFrame conversion. Install it with: pip install pandas"
)
_NUMBERS: Final = frozenset({"numeric", "float4", "float8", "int2", "int4", "int8"})
_INSTANTS: Final = frozenset({"timestamptz", "timestamp", "date"})


def _pandas() -> Any:
    try:
        import pandas as pd  # noqa: PLC0415 - an extra that only researchers need
    except ImportError:
        raise ImportError(PANDAS_MISSING) from None
    return pd


def records_to_dataframe(
    records: Sequence[asyncpg.Record], *, exact: bool = False
) -> "pd.DataFrame":
    """The records as a DataFrame, one column for each key.

    `exact=True` keeps NUMERIC as Decimal objects. Without records there is nothing to tell
    the columns from: use `query_to_dataframe`, which knows them from the statement.
    """
    pd = _pandas()
    if not records:
        return pd.DataFrame()
    names = list(records[0].keys())
    kinds = [_kind([record[i] for record in records]) for i in range(len(names))]
    return _frame(pd, names=names, kinds=kinds, records=records, exact=exact)


async def query_to_dataframe(
    query: str, *args: object, exact: bool = False, settings: Settings | None = None
) -> "pd.DataFrame":
    """The result of one query, run in a read-only transaction of its own connection.

    The database is the one that `settings` name, by default the environment and .env, else
    goblin's embedded one, which is started if it does not run. `args` are bound to $1, $2,
    ...; `exact=True` keeps NUMERIC as Decimal objects.
    """
    pd = _pandas()
    async with (
        _configured_database(load_settings() if settings is None else settings) as address,
        _connected(address) as connection,
        connection.transaction(readonly=True),
    ):
        statement = await connection.prepare(query)
        attributes = statement.get_attributes()
        records = await statement.fetch(*args)
    return _frame(
        pd,
        names=[attribute.name for attribute in attributes],
        kinds=[attribute.type.name for attribute in attributes],
        records=records,
        exact=exact,
    )


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
async def _configured_database(settings: Settings) -> AsyncIterator[DatabaseAddress]:
    address = database_address(settings)
    if address is not None:
        yield address
        return
    async with embedded_postgres(
        settings.data_dir / "postgres", database=settings.db_name
    ) as embedded:
        yield embedded


@asynccontextmanager
async def _connected(
    address: DatabaseAddress,
) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        **address.connect_arguments(), server_settings={"timezone": "UTC"}
    )
    try:
        yield connection
    finally:
        await connection.close()


def _kind(values: Sequence[object]) -> str:
    """The PostgreSQL type that such values come from; only what changes the column counts."""
    present = [value for value in values if value is not None]
    if not present:
        return "float8"
    if all(isinstance(value, datetime) for value in present):
        return "timestamptz"
    if all(isinstance(value, int) and not isinstance(value, bool) for value in present):
        return "int8"
    if all(isinstance(value, Decimal) for value in present):
        return "numeric"
    return "other"


def _frame(
    pd: Any,
    *,
    names: Sequence[str],
    kinds: Sequence[str],
    records: Sequence[asyncpg.Record],
    exact: bool,
) -> "pd.DataFrame":
    columns = [
        _column(pd, kind=kind, values=[record[i] for record in records], exact=exact)
        for i, kind in enumerate(kinds)
    ]
    # By position first: a query may give two columns one name.
    frame = pd.DataFrame(dict(enumerate(columns)), index=range(len(records)))
    frame.columns = list(names)
    return frame


def _column(pd: Any, *, kind: str, values: list[Any], exact: bool) -> Any:
    if kind in _INSTANTS:
        return pd.Series(pd.to_datetime(values, utc=kind == "timestamptz")).astype(
            "datetime64[ns, UTC]" if kind == "timestamptz" else "datetime64[ns]"
        )
    if kind == "numeric" and exact:
        nan = float("nan")
        return pd.Series([nan if v is None else v for v in values], dtype=object)
    if kind in _NUMBERS:
        has_nulls = any(value is None for value in values)
        if kind.startswith("int") and not has_nulls:
            return pd.Series(values, dtype="int64")
        nan = float("nan")
        return pd.Series([nan if v is None else float(v) for v in values], dtype="float64")
    series = pd.Series(values)
    return series.astype("float64") if len(values) and series.isna().all() else series
