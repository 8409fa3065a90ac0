"""DataFrames and Arrow by COPY: the same values as Records, safely, exactly, in bounded memory."""

import asyncio
import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import asyncpg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import pytest_asyncio
from app.core.config import Settings
from app.db.address import DatabaseAddress
from app.db.arrow import ValueNotArrow
from app.db.database import query_to_dataframe, stream_query
from app.db.dataframes import Engine, database_address
from app.db.instants import InstantOutOfReach
from app.db.reading import QueryTooSlow, TooManyRows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import CloneDatabase, settings_for

LARGEST = Decimal("9999999999.99999999999999999999")
SMALLEST = Decimal("1E-20")
AWKWARD_TEXTS = ("", "NULL", "\\N", "\\.", '"', 'a"b', "a,b", "a\nb", "a\r\nb", "\n", " ", "NaN",
                 "t", "=1+1", "é\u2028", "\t")  # fmt: skip
FILLING = """
    INSERT INTO users (id, email, password, name, balance) VALUES
        (1, 'a@example.com', '!', E'A\n"B",', 9999999999.99999999999999999999),
        (2, 'b@example.com', '', '', 0);
    INSERT INTO transact (user_id, symbol, quantity, buy_price, sell_price, status) VALUES
        (1, 'A', 0.00000000000000000001, 60275.67717748418334567890, 1, 2),
        (1, 'B', 9999999999.99999999999999999999, 1, NULL, 1);
    INSERT INTO ledger_accounts (user_id, epoch, kind, asset, balance) VALUES
        (1, 1, 'venue', 'USD', -999999999999999999999999999.99999999999999999999),
        (1, 1, 'cash', 'USD', 1);
    INSERT INTO log (user_id, symbol, data, action)
        VALUES (1, '', '{"a": "\\"\\n", "b": null}', E'line\nline'), (1, 'X', '{}', '');
    INSERT INTO events (user_id, number, type, epoch, data, event_at)
        VALUES (1, 1, 'deposited', 1, '{"é": 1}', '2026-01-31 12:00:00.5+02');
    INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body)
        VALUES (1, 'k', '\\x00ff', 200, '');
    INSERT INTO api_keys (user_id, name, key_hash, prefix, scopes)
        VALUES (1, 'n', sha256('x'), 'gob_', '{read,trade}');
    INSERT INTO attempts (purpose, origin, account, tried_at)
        VALUES ('login', 'o', '', ARRAY[now()]);
    INSERT INTO strategies (user_id, name, slug, deleted_at) VALUES (1, 'n', 's', now());
    INSERT INTO watchlists (user_id, symbol) VALUES (1, 'A');
    INSERT INTO sessions (user_id, expires_at) VALUES (1, now());
"""
EVERY_TYPE = """
    SELECT i, NULLIF(i, 2)::int2 AS i2, i::int4 AS i4, i * 9007199254740993 AS i8,
        (i / 3.0)::float4 AS f4,
        CASE i WHEN 1 THEN 'NaN'::float8 WHEN 2 THEN '-Infinity' END AS f8,
        i / 7.0 AS n, NULLIF(i, 1)::numeric(30,20) / 3 AS n20,
        i = 1 AS b, NULLIF(i = 1, true) AS b0,
        timestamptz '2026-01-31 23:59:59.999999-11' AS tz, NULLIF(i, 3) * interval '1 us'
            + timestamp '1999-12-31' AS ts, NULLIF(date '2024-02-29' + i, '2024-03-01') AS d,
        NULLIF(i::text, '1') AS s, i::varchar(3) AS v, i::char(4) AS c, 'n'::name AS nm,
        '{"a": 1}'::json AS j, '[1]'::jsonb AS jb, NULL::text AS no_s, NULL::bool AS no_b,
        NULL::timestamptz AS no_tz, NULL::numeric AS no_n, NULL::int AS no_i, NULL::date AS no_d
    FROM generate_series(1, 3) AS i
"""


@pytest.fixture
def here(postgres: DatabaseAddress) -> Settings:
    return settings_for(postgres, "http://127.0.0.1:9")


@pytest_asyncio.fixture
async def filled(clone: CloneDatabase) -> AsyncIterator[Settings]:
    """A database whose every kind of column holds something."""
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    await conn.execute(FILLING)
    await conn.close()
    yield settings_for(address, "http://127.0.0.1:9")


async def without_pyarrow(
    monkeypatch: pytest.MonkeyPatch, query: str, where: Settings, *, exact: bool
) -> pd.DataFrame:
    """The frame of an installation that has pandas alone, which knows Records only."""
    real_import = builtins.__import__

    def refusing(name: str, *arguments: Any, **options: Any) -> ModuleType:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", refusing)
        return await query_to_dataframe(query, exact=exact, settings=where)


@pytest.mark.parametrize("exact", [False, True])
async def test_copy_and_records_give_one_frame_for_every_type_and_table(
    filled: Settings, monkeypatch: pytest.MonkeyPatch, *, exact: bool
) -> None:
    tables = await query_to_dataframe(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace",
        "public",
        settings=filled,
    )
    queries = [EVERY_TYPE, EVERY_TYPE + "WHERE false"]
    queries += [f'TABLE "{name}"' for name in tables["relname"]]
    assert len(queries) > 15
    for query in queries:
        quick = await query_to_dataframe(query, exact=exact, settings=filled)
        slow = await without_pyarrow(monkeypatch, query, filled, exact=exact)
        pd.testing.assert_frame_equal(quick, slow, check_exact=True)


@pytest.mark.parametrize("exact", [False, True])
async def test_a_frame_is_the_same_however_the_database_spells_values(
    filled: Settings, *, exact: bool
) -> None:
    before = await query_to_dataframe(EVERY_TYPE, exact=exact, settings=filled)
    address = database_address(filled)
    assert address is not None
    conn = await asyncpg.connect(**address.connect_arguments())
    for setting in (
        "datestyle = 'German, DMY'",
        "timezone = 'Asia/Kolkata'",
        "extra_float_digits = -15",
        "intervalstyle = 'sql_standard'",
        "bytea_output = 'escape'",
    ):
        await conn.execute(f'ALTER DATABASE "{address.database}" SET {setting}')
    await conn.close()
    after = await query_to_dataframe(EVERY_TYPE, exact=exact, settings=filled)
    pd.testing.assert_frame_equal(after, before, check_exact=True)
    values = await query_to_dataframe("SELECT 0.1::float8 + 0.2 AS f", settings=filled)
    assert values["f"].to_list() == [0.1 + 0.2]
    # A frame of what COPY spells otherwise is made of Records; a stream has no such way out.
    streamed = [batch async for batch in stream_query(EVERY_TYPE, exact=exact, settings=filled)]
    assert sum(batch.num_rows for batch in streamed) == len(before)


async def test_an_empty_text_is_not_null_and_no_text_is_taken_for_anything_else(
    here: Settings,
) -> None:
    query = "SELECT * FROM unnest($1::text[]) WITH ORDINALITY AS t (s, place)"
    for only in ("s", "s, place"):
        table = await query_to_dataframe(
            query.replace("*", only), [*AWKWARD_TEXTS, None], engine="arrow", settings=here
        )
        assert table["s"].to_pylist() == [*AWKWARD_TEXTS, None]


HOSTILE = ("'", "''; DROP TABLE users; --", "\\'", "\\", "$1", "$$", "' || (SELECT 'x') || '",
           '"', "%s", "/*", "--", "a\n;")  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_value_never_becomes_sql(here: Settings, value: str) -> None:
    frame = await query_to_dataframe(
        """SELECT 'costs $1' AS quoted, $$ $1 $$ AS dollars, $1::text AS "$1" /* $1 */ -- $1""",
        value,
        settings=here,
    )
    assert list(frame.columns) == ["quoted", "dollars", "$1"]
    assert frame.iloc[0].tolist() == ["costs $1", " $1 ", value]


async def test_parameters_of_every_kind_arrive_as_they_were_sent(here: Settings) -> None:
    instant = datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
    sent = (LARGEST, -(2**63), instant, None, [1, None, 3], b"\x00\xff", 0.1, True, '{"a": 1}')
    table = await query_to_dataframe(
        """
        SELECT $1::numeric(30,20) AS n, $2::bigint AS i, $3::timestamptz AS t, $4::text AS no,
            array_length($5::int[], 1) AS items, encode($6::bytea, 'hex') AS raw, $7::float8 AS f,
            $8::bool AS b, $9::jsonb AS j
        WHERE 1 = ANY ($5) AND $4 IS NULL LIMIT $10
        """,
        *sent, 5,
        engine="arrow", exact=True, settings=here,
    )  # fmt: skip
    assert list(table.to_pylist()[0].values()) == [
        LARGEST, -(2**63), instant, None, 3, "00ff", 0.1, True, '{"a": 1}',
    ]  # fmt: skip


async def test_the_engines_agree_and_keep_every_digit_if_asked_to(here: Settings) -> None:
    query = "SELECT $1::numeric(30,20) AS price, $2::timestamptz AS at, 'x' AS s, NULL::int AS i"
    asked = (LARGEST, datetime(2026, 1, 31, tzinfo=UTC))
    table = await query_to_dataframe(query, *asked, exact=True, engine="arrow", settings=here)
    assert table.schema.types == [
        pa.decimal128(38, 20), pa.timestamp("us", "UTC"), pa.string(), pa.int32(),
    ]  # fmt: skip
    polars = await query_to_dataframe(query, *asked, exact=True, engine="polars", settings=here)
    assert isinstance(polars, pl.DataFrame)
    assert polars.schema["price"] == pl.Decimal(38, 20)
    assert polars.rows() == [tuple(table.to_pylist()[0].values())] == [(*asked, "x", None)]
    rounded = await query_to_dataframe(query, *asked, engine="arrow", settings=here)
    assert rounded["price"].to_pylist() == [float(LARGEST)]


async def test_what_no_decimal_of_arrow_holds_is_exact_in_pandas_and_refused_in_arrow(
    here: Settings,
) -> None:
    for spelled in ("0.123456789012345678901", "1e30", "NaN", "Infinity"):
        query = f"SELECT '{spelled}'::numeric AS n"
        frame = await query_to_dataframe(query, exact=True, settings=here)
        assert str(frame["n"].iloc[0]) == str(Decimal(spelled)) or frame["n"].iloc[0] == Decimal(
            spelled
        )
        with pytest.raises(ValueNotArrow, match=r"Cast the column in SQL: to NUMERIC\(38,20\)"):
            await query_to_dataframe(query, exact=True, engine="arrow", settings=here)
        rounded = await query_to_dataframe(query, engine="arrow", settings=here)
        assert str(rounded["n"][0].as_py()) == str(float(spelled))


async def without_a_place(
    monkeypatch: pytest.MonkeyPatch, query: str, where: Settings, *, engines: Sequence[Engine]
) -> None:
    """Every way to a frame refuses the query's column `t` and says what to do."""
    refused = pytest.raises(
        InstantOutOfReach, match=r'^column "t" holds .*Replace it in SQL, .* cast the column'
    )
    for asked in (query, query + ", ARRAY[1] AS only_records"):
        for engine in engines:
            with refused:
                await query_to_dataframe(asked, engine=engine, settings=where)
        if "arrow" in engines:
            with refused:
                [batch async for batch in stream_query(asked, settings=where)]
    with refused:
        await without_pyarrow(monkeypatch, query, where, exact=False)


@pytest.mark.parametrize(
    "instant",
    [
        "timestamptz 'infinity'",
        "timestamp '-infinity'",
        "date 'infinity'",
        "timestamptz '0044-03-15 BC'",
        "date '10000-01-01'",
    ],
)
async def test_an_instant_that_no_frame_has_a_place_for_is_never_another_one(
    here: Settings, monkeypatch: pytest.MonkeyPatch, instant: str
) -> None:
    query = f"SELECT 1 AS one, {instant} AS t"
    await without_a_place(monkeypatch, query, here, engines=("pandas", "polars", "arrow"))


async def test_a_year_that_nanoseconds_do_not_reach_is_refused_by_pandas_alone(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, spelled in (("timestamptz", "9999-12-31"), ("timestamp", "1600-02-29"),
                          ("date", "9999-12-30")):  # fmt: skip
        query = f"SELECT NULL AS no, '{spelled}'::{kind} AS t"
        await without_a_place(monkeypatch, query, here, engines=("pandas",))
        for asked in (query, query + ", ARRAY[1] AS only_records"):
            table = await query_to_dataframe(asked, engine="arrow", settings=here)
            assert str(table["t"][0].as_py()).startswith(spelled)


async def test_types_that_copy_cannot_carry_come_as_they_are(here: Settings) -> None:
    query = """
        SELECT '\\x00ff'::bytea AS raw, ARRAY['a', NULL, ''] AS texts, ARRAY[1.5, NULL] AS numbers,
            '00000000-0000-0000-0000-000000000001'::uuid AS id, time '12:00' AS time
    """
    table = await query_to_dataframe(query, engine="arrow", exact=True, settings=here)
    (row,) = table.to_pylist()
    assert row["raw"] == b"\x00\xff"
    assert row["texts"] == ["a", None, ""]
    assert row["numbers"] == [Decimal("1.5"), None]
    assert row["id"].endswith("01")
    with pytest.raises(TypeError, match='column "span" is of type interval'):
        await query_to_dataframe("SELECT interval '1 day' AS span", engine="arrow", settings=here)
    explained = await query_to_dataframe("EXPLAIN SELECT 1", settings=here)
    assert "Result" in explained.iloc[0, 0]


async def test_what_copy_does_not_take_is_still_answered(here: Settings) -> None:
    assert len(await query_to_dataframe("SELECT 1;", settings=here)) == 1
    assert (
        len(await query_to_dataframe("  (SELECT 1) UNION ALL SELECT 2 -- two", settings=here)) == 2
    )
    assert len(await query_to_dataframe("/* ( */ VALUES (1), (2);", settings=here)) == 2
    assert len(await query_to_dataframe("SHOW timezone", settings=here)) == 1
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await query_to_dataframe("SELECT 1) TO PROGRAM 'true' --", settings=here)
    with pytest.raises(asyncpg.InterfaceError, match="expects 1 argument"):
        await query_to_dataframe("SELECT $1::int", settings=here)
    unknown: Any = "dask"
    with pytest.raises(ValueError, match="engine is 'pandas', 'polars' or 'arrow', not 'dask'"):
        await query_to_dataframe("SELECT 1", engine=unknown, settings=here)


async def test_limits_say_what_to_do_and_can_be_lifted(here: Settings) -> None:
    many = "SELECT generate_series(1, 11) AS n"
    for query in (many, many + ", ARRAY['only', 'records']"):
        with pytest.raises(
            TooManyRows, match="more than 10 rows: narrow the query, raise rows_max"
        ):
            await query_to_dataframe(query, rows_max=10, settings=here)
        for rows_max in (11, None):
            frame = await query_to_dataframe(query, rows_max=rows_max, settings=here)
            assert len(frame) == 11
    for query in ("SELECT pg_sleep(60)::text", "SELECT pg_sleep(60)"):
        with pytest.raises(QueryTooSlow, match=r"longer than 0.05 seconds"):
            await query_to_dataframe(query, timeout_seconds=0.05, settings=here)
    await query_to_dataframe("SELECT 1", timeout_seconds=None, settings=here)


async def test_a_stream_has_one_schema_for_its_batches_and_for_no_rows(here: Settings) -> None:
    query = "SELECT n, n / 3.0 AS third, repeat('x', 100) AS pad FROM generate_series(1, $1) AS n"
    batches = [batch async for batch in stream_query(query, 60_000, settings=here)]
    assert len(batches) > 2
    table = pa.Table.from_batches(batches)
    assert table["n"].to_pylist() == list(range(1, 60_001))
    (none,) = [batch async for batch in stream_query(query, 0, settings=here)]
    assert none.schema == table.schema
    assert len(none) == 0
    arrays = "SELECT n, ARRAY[n] AS a FROM generate_series(1, 25000) AS n"
    fetched = [batch async for batch in stream_query(arrays, settings=here)]
    assert sum(map(len, fetched)) == 25_000
    assert fetched[-1]["a"][-1].as_py() == [25_000]


async def test_a_stream_of_any_length_takes_the_same_memory(here: Settings) -> None:
    """Arrow counts its own bytes; what is waiting to be read is at most three blocks."""
    query = (
        "SELECT n, n::numeric(30,20) AS price, md5(n::text) AS s FROM generate_series(1, $1) AS n"
    )
    peaks = []
    for rows in (50_000, 300_000):
        peak = 0
        async with aclosing(stream_query(query, rows, exact=True, settings=here)) as batches:
            async for batch in batches:
                del batch
                peak = max(peak, pa.total_allocated_bytes())
        peaks.append(peak)
    assert peaks[1] < 2 * peaks[0] + 1_000_000


async def test_who_leaves_a_stream_leaves_no_query_behind(here: Settings) -> None:
    marked = "SELECT generate_series(1, 100000000), 'left early'"
    async with aclosing(stream_query(marked, settings=here)) as batches:
        await anext(batches)
    async with asyncio.timeout(20):
        while len(  # noqa: ASYNC110 - what is waited for announces nothing
            await query_to_dataframe(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE $1 AND state = 'active'",
                "COPY%left early%",
                settings=here,
            )
        ):
            await asyncio.sleep(0.05)


UNITS = 10**30 - 1
money = st.integers(-UNITS, UNITS).map(lambda units: Decimal(f"{units}E-20")) | st.sampled_from(
    # Minus in front of a Decimal rounds it to 28 digits.
    [LARGEST, LARGEST.copy_negate(), SMALLEST, SMALLEST.copy_negate(), Decimal(0)]
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=st.lists(money | st.none(), min_size=1, max_size=50))
async def test_money_survives_database_wire_and_frame_without_changing_a_digit(
    here: Settings, sent: list[Decimal | None]
) -> None:
    """There and back: what a frame holds is sent again and is the same number again."""
    query = (
        "SELECT n FROM unnest($1::numeric(30,20)[]) WITH ORDINALITY AS t (n, place) ORDER BY place"
    )
    table = await query_to_dataframe(query, sent, exact=True, engine="arrow", settings=here)
    frame = await query_to_dataframe(query, sent, exact=True, settings=here)
    polars = await query_to_dataframe(query, sent, exact=True, engine="polars", settings=here)
    in_pandas = [value if isinstance(value, Decimal) else None for value in frame["n"]]
    assert table["n"].to_pylist() == in_pandas == polars["n"].to_list() == sent
    again = await query_to_dataframe(query, in_pandas, exact=True, engine="arrow", settings=here)
    assert again.equals(table)
    spelled = await query_to_dataframe(
        query.replace("SELECT n", "SELECT n::text"), in_pandas, engine="arrow", settings=here
    )
    assert spelled["n"].to_pylist() == [None if n is None else format(n, ".20f") for n in sent]
    rounded = await query_to_dataframe(query, sent, engine="arrow", settings=here)
    assert rounded["n"].to_pylist() == [None if n is None else float(n) for n in sent]
