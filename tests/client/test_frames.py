"""DataFrames of whatever lists, and exports, with the types that docs/client.md states."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import goblin
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from goblin.decoding import decode, read_json
from goblin.frames import ARROW, CSV, frame_of_export
from goblin.models import IndicatorRow, LedgerEntry, LogEntry, Statistics
from pandas.testing import assert_frame_equal
from tests.client.conftest import token_of
from tests.conftest import Person

QUANTITY = Decimal("0.12345678901234567891")
SERIES = ("SOLUSDT", "1h")
"""No test stores minutes of it: hours that are made of minutes are listed and not exported."""


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_every_listing_of_an_empty_account_keeps_its_columns_and_types(
    client: goblin.AsyncClient,
) -> None:
    frame = await client.orders().df()
    assert len(frame) == 0
    assert list(frame.columns[:3]) == ["id", "client_order_id", "symbol"]
    assert frame["id"].dtype == "int64"
    assert frame["quantity"].dtype == frame["sell_price"].dtype == "float64"
    assert frame["created_at"].dtype == "datetime64[ns, UTC]"
    assert (await client.orders().df(exact=True))["quantity"].dtype == object
    for listing in (client.logs(), client.strategies(), client.api_keys(), client.watchlist()):
        assert len(await listing.df()) == 0


async def test_orders_become_a_frame_with_every_digit_where_it_is_wanted(
    client: goblin.AsyncClient,
) -> None:
    await client.buy("BTCUSDT", QUANTITY)
    await client.close_order("BTCUSDT")
    active = await client.buy("ETHUSDT", "2", client_order_id="mine")
    frame = await client.orders().df()
    assert frame["symbol"].tolist() == ["ETHUSDT", "BTCUSDT"]
    assert frame["quantity"].tolist() == [2.0, float(QUANTITY)]
    assert np.isnan(frame["sell_price"][0])
    assert frame["created_at"][0] == pd.Timestamp(active.created_at)
    exact = await client.orders().df(exact=True)
    assert exact["quantity"].tolist() == [Decimal("2.00000000000000000000"), QUANTITY]
    assert np.isnan(exact["sell_price"][0])
    assert isinstance(exact["sell_price"][1], Decimal)
    ledger = await client.ledger_entries().df(exact=True)
    assert sum(ledger["amount"]) == 0


async def test_an_export_has_the_same_values_in_every_engine(
    client: goblin.AsyncClient, tmp_path: Path
) -> None:
    await client.buy("BTCUSDT", QUANTITY)
    frame = await client.export("orders")
    assert frame["quantity"].dtype == "float64"
    assert frame["created_at"].dtype == "datetime64[ns, UTC]"
    assert frame["sell_price"].isna().all()
    exact = await client.export("orders", exact=True)
    assert exact["quantity"].tolist() == [QUANTITY]
    table = await client.export("orders", engine="arrow", exact=True)
    assert table.schema.field("quantity").type == pa.decimal128(38, 20)
    assert table["quantity"].to_pylist() == [QUANTITY]
    assert (await client.export("orders", engine="arrow"))["quantity"].type == pa.float64()
    polars = await client.export("orders", engine="polars", exact=True)
    assert isinstance(polars, pl.DataFrame)
    assert polars["quantity"].to_list() == [QUANTITY]
    file = await client.export_file("orders", tmp_path / "orders.csv")
    for is_exact, other in ((False, frame), (True, exact)):
        by_csv = frame_of_export(file.read_bytes(), CSV, "pandas", exact=is_exact)
        assert_frame_equal(by_csv, other, check_dtype=True)
    parquet = await client.export_file("ledger", tmp_path / "ledger.parquet")
    assert sum(pd.read_parquet(parquet)["amount"]) == 0
    assert files_in(tmp_path) == {"ledger.parquet", "orders.csv"}


@pytest.mark.parametrize(
    "table",
    ["fills", "ledger", "accounts", "log", "events", "watchlist", "strategies", "trade-strategies"],
)
async def test_a_table_by_csv_is_the_table_by_arrow(
    client: goblin.AsyncClient, tmp_path: Path, table: str
) -> None:
    await client.buy("BTCUSDT", QUANTITY)
    await client.log("BTCUSDT", "hold", {"rsi": 1.5, "note": None})
    await client.watch("BTCUSDT")
    strategy = await client.create_strategy("RSI")
    await client.create_trade_strategy("BTCUSDT", strategy.id)
    content = (await client.export_file(table, tmp_path / "table.csv")).read_bytes()
    for exact in (False, True):
        by_csv = frame_of_export(content, CSV, "pandas", exact=exact)
        by_arrow = await client.export(table, exact=exact)
        assert_frame_equal(by_csv, by_arrow)
        assert len(by_csv) > 0


@pytest.mark.parametrize(
    ("number", "exact", "dtype"),
    [(2**53 + 1, False, "object"), (7, True, "object"), (7, False, "float64")],
)
def test_an_id_beside_a_gap_is_never_rounded(number: int, dtype: str, *, exact: bool) -> None:
    table = pa.table({"order_id": pa.array([None, number], pa.int64())})
    arrow = io.BytesIO()
    with pa.ipc.new_stream(arrow, table.schema) as writer:
        writer.write_table(table)
    csv = f'order_id\n""\n{number}\n'.encode()
    zero, at = Decimal(0), datetime(2026, 1, 1, tzinfo=UTC)
    deposit = LedgerEntry(
        id=1, transfer_id=1, cause="deposit", kind="cash", asset="USD", epoch=1, version=1,
        amount=zero, balance_before=zero, balance_after=zero, event_at=at, created_at=at,
    )  # fmt: skip
    entries = [deposit, replace(deposit, order_id=number)]
    frames = [
        goblin.Rows.of(LedgerEntry, entries).df(exact=exact),
        frame_of_export(arrow.getvalue(), ARROW, "pandas", exact=exact),
        frame_of_export(csv, CSV, "pandas", exact=exact),
    ]
    for frame in frames:
        assert frame["order_id"].dtype == dtype
        assert np.isnan(frame["order_id"][0])
        assert int(frame["order_id"][1]) == number


async def test_exported_candles_are_the_listed_ones_in_every_engine_and_file(
    client: goblin.AsyncClient, tmp_path: Path
) -> None:
    listed = await client.candles(*SERIES, limit=50).all()
    assert len(listed) == 50
    span: dict[str, Any] = {"begin": listed[0].open_time, "end": listed[-1].open_time}
    exact = await client.export_candles(*SERIES, exact=True, **span)
    assert_frame_equal(exact, listed.df(exact=True)[:-1])
    frame = await client.export_candles(*SERIES, **span)
    assert_frame_equal(frame, listed.df()[:-1])
    file = await client.export_candles_file(*SERIES, tmp_path / "candles.csv", **span)
    for is_exact, other in ((False, frame), (True, exact)):
        by_csv = frame_of_export(file.read_bytes(), CSV, "pandas", exact=is_exact)
        assert_frame_equal(by_csv, other)
    table = await client.export_candles(*SERIES, engine="arrow", exact=True, **span)
    assert table["close"].to_pylist() == [candle.close for candle in listed[:-1]]
    polars = await client.export_candles(*SERIES, engine="polars", **span)
    assert polars["close"].to_list() == frame["close"].tolist()
    with pytest.raises(goblin.NotFound) as refused:
        await client.export_candles("NOSUCHUSDT", "1h")
    assert refused.value.code == "candles_not_stored"


async def test_a_wrong_engine_table_or_file_is_refused_with_what_is_possible(
    client: goblin.AsyncClient, tmp_path: Path
) -> None:
    spark: Any = "spark"
    with pytest.raises(ValueError, match="engine is 'pandas', 'polars' or 'arrow', not 'spark'"):
        await client.export("orders", engine=spark)
    with pytest.raises(ValueError, match=r"expected a name in .csv, .parquet, .arrows"):
        await client.export_file("orders", tmp_path / "orders.xlsx")
    with pytest.raises(goblin.Invalid, match="table"):
        await client.export_file("passwords", tmp_path / "passwords.csv")
    assert files_in(tmp_path) == set()


def test_logged_data_comes_as_floats_or_with_every_digit() -> None:
    entry = decode(
        LogEntry,
        read_json(
            '{"id": 1, "symbol": "X", "action": "hold", "created_at": "2026-01-01T00:00:00Z", '
            '"updated_at": "2026-01-01T00:00:00Z", '
            '"data": {"rsi": 71.40000000000000000001, "levels": [1, 2.5, null], "why": {"a": 1e3}}}'
        ),
    )
    rows = goblin.Rows.of(LogEntry, [entry])
    (data,) = rows.df()["data"]
    assert data == {"rsi": 71.4, "levels": [1, 2.5, None], "why": {"a": 1000.0}}
    assert isinstance(data["rsi"], float)
    (data,) = rows.df(exact=True)["data"]
    assert str(data["rsi"]) == "71.40000000000000000001"


def test_each_indicator_is_a_column_and_one_that_warms_up_is_nan() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = goblin.Rows.of(
        IndicatorRow,
        [
            IndicatorRow(open_time=at, values={"sma:2": 1.0}),
            IndicatorRow(open_time=at, values={"sma:2": 2.0, "rsi:14": 55.5}),
        ],
    )
    frame = rows.df()
    assert list(frame.columns) == ["open_time", "sma:2", "rsi:14"]
    assert frame["sma:2"].tolist() == [1.0, 2.0]
    assert np.isnan(frame["rsi:14"][0])


async def test_lists_inside_an_answer_are_frames_too(client: goblin.AsyncClient) -> None:
    await client.buy("BTCUSDT", "1")
    await client.close_order("BTCUSDT")
    found: Statistics = await client.statistics()
    frame = found.days.df()
    assert list(frame.columns) == ["on", "equity", "marked_equity", "profit", "flow", "return"]
    assert frame["on"].dtype == "datetime64[ns]"
    assert frame["return"].dtype == "float64"
    assert found.days.df(exact=True)["equity"][0] == found.days[0].equity
    assert found.months.df()["month"].tolist() == [found.months[0].month]
    symbols = found.symbols.df()
    assert symbols["symbol"].tolist() == ["BTCUSDT"]
    assert symbols["prices"][0] == found.symbols[0].prices
    assert symbols["unmarked"].dtype == "int64"


async def test_pages_join_without_a_row_twice_or_lost(url: str, somebody: Person) -> None:
    """Pages of 2 of a log that grows while it is read."""
    async with goblin.AsyncClient(url, api_key=token_of(somebody)) as client:
        for n in range(7):
            await client.log("BTCUSDT", f"{n}", {"n": n})
        listing: Any = client.logs()
        listing._pages = replace(listing._pages, page_max=2)  # noqa: SLF001 - 1,000 take long
        seen = []
        async for entry in listing:
            seen.append(entry.action)
            if len(seen) in (2, 3):
                await client.log("BTCUSDT", "new", {})
        assert seen == ["6", "5", "4", "3", "2", "1", "0"]
        newest = [entry.action async for entry in client.logs(symbol="BTC", limit=4)]
        assert newest == ["new", "new", "6", "5"]
        assert await client.logs(limit=0).all() == ()
        with pytest.raises(ValueError, match="limit is -1: expected 0 or more"):
            client.logs(limit=-1)
        history = client.event_history(limit=3)
        assert [event.number async for event in history] == [1, 2, 3]
        assert len((await client.logs().all()).df()) == 9
