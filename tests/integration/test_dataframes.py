"""What researchers are promised of DataFrames."""

import builtins
import math
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, Literal

import asyncpg
import pandas as pd
import pytest
from app.core.config import Settings
from app.db.address import DatabaseAddress
from app.db.database import query_to_dataframe, records_to_dataframe, stream_query
from app.db.instants import InstantOutOfReach
from tests.conftest import settings_for

EVERYTHING = """
    SELECT 1::int AS i, 9007199254740993::bigint AS big, NULL::int AS no_int,
        1.5::numeric AS n, NULL::numeric AS no_n,
        '2025-06-01 12:00:00.123456+02'::timestamptz AS t, NULL::timestamptz AS no_t,
        'é'::text AS s, NULL::text AS no_s, true AS b, '{"a": null}'::jsonb AS j
"""


@pytest.fixture
def settings(postgres: DatabaseAddress) -> Settings:
    return settings_for(postgres, "http://127.0.0.1:9")


async def test_every_type_arrives_as_promised(settings: Settings) -> None:
    frame = await query_to_dataframe(EVERYTHING, settings=settings)
    assert frame["n"].dtype == "float64"
    assert frame["no_n"].dtype == "float64"
    assert str(frame["t"].dtype) == "datetime64[ns, UTC]"
    assert str(frame["no_t"].dtype) == "datetime64[ns, UTC]"
    assert frame["big"].iloc[0] == 9007199254740993
    assert frame["t"].iloc[0] == pd.Timestamp("2025-06-01T10:00:00.123456Z")
    for column in ("no_int", "no_n", "no_t", "no_s"):
        assert frame[column].isna().all(), column
    assert frame["s"].iloc[0] == "é"
    assert bool(frame["b"].iloc[0]) is True


async def test_exact_keeps_every_digit(settings: Settings) -> None:
    digits = "60275.67717748418334567890"
    frame = await query_to_dataframe(
        "SELECT $1::numeric(30,20) AS price UNION ALL SELECT NULL",
        Decimal(digits),
        exact=True,
        settings=settings,
    )
    assert str(frame["price"].iloc[0]) == digits
    assert isinstance(frame["price"].iloc[1], float)
    assert math.isnan(frame["price"].iloc[1])


async def test_an_empty_result_keeps_its_columns_and_their_types(settings: Settings) -> None:
    frame = await query_to_dataframe(EVERYTHING + " WHERE false", settings=settings)
    assert len(frame) == 0
    assert list(frame.columns) == ["i", "big", "no_int", "n", "no_n", "t", "no_t", "s", "no_s",
                                   "b", "j"]  # fmt: skip
    assert frame["n"].dtype == "float64"
    assert str(frame["t"].dtype) == "datetime64[ns, UTC]"


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO users (email, password, name) VALUES ('a', 'b', 'c') RETURNING id",
        "WITH gone AS (DELETE FROM watchlists RETURNING id) SELECT id FROM gone",
        "SELECT nextval('transact_id_seq') AS id",
    ],
    ids=["a change", "a change that COPY would send", "a function that changes"],
)
async def test_a_query_cannot_change_anything(settings: Settings, query: str) -> None:
    for exact in (False, True):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await query_to_dataframe(query, exact=exact, settings=settings)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async for _ in stream_query(query, settings=settings):
            pass


@pytest.mark.parametrize("engine", ["pandas", "polars", "arrow"])
async def test_a_statement_without_a_result_is_refused_or_an_empty_frame(
    settings: Settings, engine: Literal["pandas", "polars", "arrow"]
) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await query_to_dataframe("DELETE FROM users", engine=engine, settings=settings)
    for query in ("", "SET TRANSACTION READ ONLY", "SELECT FROM users WHERE false"):
        frame = await query_to_dataframe(query, engine=engine, settings=settings)
        assert frame.shape == (0, 0), query
        async for batch in stream_query(query, settings=settings):
            assert (batch.num_rows, batch.num_columns) == (0, 0), query


async def test_records_become_the_same_frame(postgres: DatabaseAddress) -> None:
    connection = await asyncpg.connect(**postgres.connect_arguments())
    try:
        records = await connection.fetch(EVERYTHING + " UNION ALL " + EVERYTHING)
    finally:
        await connection.close()
    frame = records_to_dataframe(records)
    assert frame["n"].dtype == "float64"
    assert frame["i"].dtype == "int64"
    assert str(frame["t"].dtype) == "datetime64[ns, UTC]"
    assert frame["no_n"].isna().all()
    exact = records_to_dataframe(records, exact=True)
    assert exact["n"].iloc[1] == Decimal("1.5")
    assert len(records_to_dataframe([])) == 0


BEYOND_FLOATS = 2**53 + 1


@pytest.mark.parametrize(
    "query",
    [
        "SELECT i FROM unnest($1::int8[]) AS i",
        "SELECT i, ARRAY[1] AS only_records FROM unnest($1::int8[]) AS i",
    ],
    ids=["copy", "records"],
)
@pytest.mark.parametrize(
    ("value", "exact", "dtype"),
    [
        (BEYOND_FLOATS, True, "object"),
        (-BEYOND_FLOATS, False, "object"),
        (BEYOND_FLOATS - 1, False, "float64"),
        (7, True, "object"),
    ],
)
async def test_a_whole_number_beside_null_keeps_every_digit(
    postgres: DatabaseAddress, query: str, value: int, dtype: str, *, exact: bool
) -> None:
    settings = settings_for(postgres, "http://127.0.0.1:9")
    frame = await query_to_dataframe(query, [None, value], exact=exact, settings=settings)
    connection = await asyncpg.connect(**postgres.connect_arguments())
    records = await connection.fetch(query, [None, value])
    await connection.close()
    for made in (frame, records_to_dataframe(records, exact=exact)):
        assert made["i"].dtype == dtype
        assert math.isnan(made["i"].iloc[0])
        assert int(made["i"].iloc[1]) == value
        assert isinstance(made["i"].iloc[1], int if dtype == "object" else float)


async def test_records_keep_the_kind_of_their_dates_and_times(postgres: DatabaseAddress) -> None:
    query = "SELECT date '2026-01-31' AS d, timestamp '2026-01-31 12:00' AS t"
    connection = await asyncpg.connect(**postgres.connect_arguments())
    made = records_to_dataframe(await connection.fetch(query))
    endless = await connection.fetch("SELECT date 'infinity' AS ends_on")
    await connection.close()
    asked = await query_to_dataframe(query, settings=settings_for(postgres, "http://127.0.0.1:9"))
    pd.testing.assert_frame_equal(made, asked)
    with pytest.raises(InstantOutOfReach, match='"ends_on" holds 9999-12-31 or infinity'):
        records_to_dataframe(endless)


async def test_two_columns_of_one_name_both_arrive(settings: Settings) -> None:
    frame = await query_to_dataframe("SELECT 1 AS a, 'x' AS a", settings=settings)
    assert list(frame.columns) == ["a", "a"]
    assert frame.iloc[0].tolist() == [1, "x"]


async def test_without_pandas_both_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_pandas(name: str, *arguments: Any, **options: Any) -> ModuleType:
        if name == "pandas":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    message = "pandas is required for DataFrame conversion. Install it with: pip install pandas"
    with pytest.raises(ImportError) as of_records:
        records_to_dataframe([])
    with pytest.raises(ImportError) as of_query:
        await query_to_dataframe("SELECT 1")
    assert str(of_records.value) == str(of_query.value) == message


async def test_timestamps_in_utc_whatever_the_session(settings: Settings) -> None:
    instant = datetime(2025, 6, 1, tzinfo=UTC)
    frame = await query_to_dataframe("SELECT $1::timestamptz AS t", instant, settings=settings)
    assert frame["t"].iloc[0] == pd.Timestamp(instant)


async def test_a_table_that_is_not_there_says_which_database_was_asked_and_how_to_ask_the_other(
    settings: Settings,
) -> None:
    with pytest.raises(asyncpg.UndefinedTableError, match='"nowhere" does not exist') as missing:
        await query_to_dataframe("SELECT * FROM nowhere", settings=settings)
    [note] = missing.value.__notes__
    assert f"The database asked is {settings.db_name};" in note
    assert f"set DB_NAME={settings.db_name}_replay" in note
    with pytest.raises(asyncpg.UndefinedTableError) as missing:
        async for _ in stream_query("SELECT * FROM nowhere", settings=settings):
            pass
    assert missing.value.__notes__ == [note]


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan])
async def test_a_limit_that_would_be_none_is_refused(settings: Settings, seconds: float) -> None:
    """PostgreSQL takes 0 for no limit at all."""
    right = "more than 0, or None for no limit"
    with pytest.raises(ValueError, match=right):
        await query_to_dataframe("SELECT 1", timeout_seconds=seconds, settings=settings)
    with pytest.raises(ValueError, match=right):
        await anext(stream_query("SELECT 1", timeout_seconds=seconds, settings=settings))
    with pytest.raises(ValueError, match="rows_max is 0 or more, or None for no limit, not -1"):
        await query_to_dataframe("SELECT 1", rows_max=-1, settings=settings)
    assert (await query_to_dataframe("SELECT 1 LIMIT 0", rows_max=0, settings=settings)).empty
