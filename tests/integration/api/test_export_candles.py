"""GET /export/candles: what is stored of one series, and nothing else."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest
from app.domain.candles import Interval
from app.domain.exports import ExportFormat
from app.domain.instruments import Category, Symbol, Venue
from app.services.candle_store import open_series
from pyarrow import parquet
from tests.conftest import Installation, Person
from tests.integration.api.test_conventions import assert_is_error

PATH = "/export/candles"
NUMBERS = ("open", "high", "low", "close", "volume", "turnover")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def exported(person: Person, **query: str) -> list[dict[str, str]]:
    response = await person.client.get(PATH, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-disposition"] == 'attachment; filename="candles.csv"'
    return list(csv.DictReader(io.StringIO(response.content.decode(), newline="")))


@pytest.mark.parametrize(
    ("query", "status", "code", "words"),
    [
        ({"symbol": "BTCUSDT"}, 422, "validation_error", "interval"),
        ({"interval": "1h"}, 422, "validation_error", "symbol"),
        ({"symbol": "BTCUSDT", "interval": "7m"}, 422, "validation_error", "expected one of 1m"),
        ({"symbol": "BTCUSDT", "interval": "1h", "to": "now"}, 422, "validation_error", "to"),
        (
            {"symbol": "BTCUSDT", "interval": "1h", "from": "2025-02-01", "to": "2025-02-01"},
            400, "candle_range", "from has to lie before to",
        ),
        (
            {"symbol": "BTCUSDT", "interval": "1h", "venue": "binance", "category": "option"},
            404, "category_not_listed", "category=spot",
        ),
        (
            {"symbol": "neverseen", "interval": "60"},
            404, "candles_not_stored", "NEVERSEEN at 1h (bybit spot)",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_exported_is_refused_with_what_could_be(
    bob: Person, query: dict[str, str], status: int, code: str, words: str
) -> None:
    refused = await bob.client.get(PATH, params=query)
    assert_is_error(refused, status, code)
    assert words in refused.json()["message"]


async def test_candles_are_exported_to_who_is_logged_in(anonymous: httpx.AsyncClient) -> None:
    assert_is_error(await anonymous.get(PATH), 401, "not_authenticated")


async def page(person: Person, **query: str | int) -> list[dict[str, Any]]:
    response = await person.client.get("/market/candles", params=query)
    assert response.status_code == 200, response.text
    candles: list[dict[str, Any]] = response.json()["data"]["candles"]
    return candles


async def test_an_export_is_what_the_pages_said_in_every_format_to_the_last_digit(
    bob: Person,
) -> None:
    series = {"symbol": "SOLUSDT", "interval": "1h"}
    listed = await page(bob, **series, limit=1000)
    assert len({candle["open_time"][:7] for candle in listed}) > 1, "months lie in several tables"
    first, last = listed[0]["open_time"], listed[-1]["open_time"]
    rows = await exported(bob, **series, **{"from": first})
    assert [instant(row["open_time"]) for row in rows] == [
        instant(candle["open_time"]) for candle in listed
    ]
    for row, candle in zip(rows, listed, strict=True):
        assert [Decimal(row[name]) for name in NUMBERS] == [
            Decimal(candle[name]) for name in NUMBERS
        ]
    assert await exported(bob, **series, **{"from": first, "to": last}) == rows[:-1]
    other = {**series, "interval": "60", "venue": "bybit", "category": "spot", "symbol": "solusdt"}
    assert await exported(bob, **other, **{"from": last}) == rows[-1:]

    tables = []
    for accept in (ExportFormat.PARQUET, ExportFormat.ARROW):
        response = await bob.client.get(
            PATH, params={**series, "from": first}, headers={"Accept": accept}
        )
        assert response.headers["content-type"] == accept
        if accept is ExportFormat.PARQUET:
            tables.append(parquet.read_table(io.BytesIO(response.content)))
        else:
            tables.append(pa.ipc.open_stream(response.content).read_all())
    assert tables[0].equals(tables[1])
    assert tables[0].schema.field("close").type == pa.decimal128(38, 20)
    assert tables[0]["close"].to_pylist() == [Decimal(row["close"]) for row in rows]


async def test_nothing_is_fetched_for_an_export_and_what_is_not_stored_is_not_in_it(
    installation: Installation, bob: Person
) -> None:
    """The series is known, because somebody asked for it, and none of its candles was kept."""
    resources = installation.resources
    await open_series(
        resources.db,
        resources.candles.sources[Venue.BYBIT],
        venue=Venue.BYBIT,
        category=Category.LINEAR,
        symbol=Symbol("XRPUSDT"),
        interval=Interval.WEEK,
    )
    assert await exported(bob, symbol="XRPUSDT", interval="1w", category="linear") == []
