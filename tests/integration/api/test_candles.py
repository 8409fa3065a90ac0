import asyncio
import csv
import io
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pyarrow as pa
import pytest
from app.domain.candles import Interval, Span
from app.domain.errors import NotAcceptable, UpstreamUnavailable
from app.domain.instruments import Category, Symbol, Venue
from app.replay import ReplayExchange, replay
from app.schemas.candles import META_KEY, arrow_page
from app.services.candle_store import fill, open_series
from app.services.candles import CandlePage, CandleQuery
from pyarrow import parquet
from tests.conftest import (
    CloneDatabase,
    Installation,
    fill_pool,
    run_installation,
    settings_for,
)
from tests.integration.api.test_conventions import assert_is_error

KLINE = "/v5/market/kline"


@asynccontextmanager
async def installed(
    clone: CloneDatabase, file: Path | None, start: str
) -> AsyncIterator[tuple[Installation, httpx.AsyncClient, ReplayExchange]]:
    """goblin on an empty database beside an exchange that stands still."""
    async with (
        replay(file, start=start, speed=0) as exchange,
        run_installation(settings_for(await clone(), exchange.base_url)) as running,
        running.client() as client,
    ):
        yield running, client, exchange


async def download(running: Installation, symbol: str, begin: str, end: str) -> None:
    """What python -m app backfill does: the minutes of a range."""
    source = running.resources.candles.sources[Venue.BYBIT]
    series = await open_series(
        running.resources.db, source, venue=Venue.BYBIT, category=Category.SPOT,
        symbol=Symbol(symbol), interval=Interval.MINUTE,
    )  # fmt: skip
    whole = Span(
        begin_at=datetime.fromisoformat(begin).replace(tzinfo=UTC),
        end_at=datetime.fromisoformat(end).replace(tzinfo=UTC),
    )
    async for _ in fill(running.resources.db, source, series, whole):
        pass


async def asked(client: httpx.AsyncClient, **query: str | int) -> dict[str, Any]:
    response = await client.get("/market/candles", params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"symbol": "BTCUSDT"}, 422, "validation_error"),
        ({"interval": "1m"}, 422, "validation_error"),
        ({"symbol": "BTCUSDT", "interval": "7m"}, 422, "validation_error"),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": 0}, 422, "validation_error"),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": 10_001}, 422, "validation_error"),
        ({"symbol": "BTCUSDT", "interval": "1m", "from": "yesterday"}, 422, "validation_error"),
        ({"symbol": "BTCUSDT", "interval": "1m", "cursor": "0001-01-01"}, 422, "validation_error"),
        ({"symbol": "BTCUSDT", "interval": "1m", "to": "9999-12-31"}, 422, "validation_error"),
        ({"symbol": "NOSUCH", "interval": "1m"}, 404, "unknown_symbol"),
        ({"symbol": "BTC/USDT", "interval": "1m"}, 404, "unknown_symbol"),
        (
            {"symbol": "BTCUSDT", "interval": "1m", "category": "option"},
            404, "category_not_listed",
        ),
        (
            {"symbol": "BTCUSDT", "interval": "1m", "venue": "binance", "category": "linear"},
            404, "category_not_listed",
        ),
        (
            {"symbol": "BTCUSDT", "interval": "1m", "from": "2024-12-02", "to": "2024-12-02"},
            400, "candle_range",
        ),
        (
            {"symbol": "BTCUSDT", "interval": "1d", "from": "2014-12-01", "to": "2024-12-01"},
            400, "candle_range",
        ),
        ({"symbol": "BTCUSDT", "interval": "1d", "from": "2014-12-01"}, 400, "candle_range"),
        ({"symbol": "BTCUSDT", "interval": "1d", "from": "2090-12-01"}, 400, "candle_range"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_and_no_candle_is_fetched(
    anonymous: httpx.AsyncClient,
    exchange: ReplayExchange,
    query: dict[str, str | int],
    status: int,
    code: str,
) -> None:
    await asked(anonymous, symbol="BTCUSDT", interval="1d", to="2024-12-02", limit=1)
    await asked(anonymous, symbol="BTCUSDT", interval="1m", to="2024-12-02", limit=1)
    before = exchange.requests.count(KLINE)
    response = await anonymous.get("/market/candles", params=query)
    assert_is_error(response, status, code)
    assert exchange.requests.count(KLINE) == before


async def test_a_beginning_to_come_is_compared_with_the_venues_clock_and_not_with_an_end(
    anonymous: httpx.AsyncClient, exchange: ReplayExchange
) -> None:
    for name in ("from", "cursor"):
        query = {"symbol": "BTCUSDT", "interval": "1d", name: "2090-12-01"}
        response = await anonymous.get("/market/candles", params=query)
        assert_is_error(response, 400, "candle_range")
        now = datetime.fromtimestamp(exchange.clock.now_ms() // 1000, UTC)
        assert response.json()["message"] == (
            f"from has to lie before now, which is {now:%Y-%m-%dT%H:%MZ}"
        )


async def test_candles_that_nobody_has_stored_are_fetched_once_and_exact(
    clone: CloneDatabase, shared_data: Path
) -> None:
    file = shared_data / "candles" / "bybit_linear_BTCUSDT_1.parquet"
    async with installed(clone, file, "2025-06-05T12:00:30Z") as (_, client, exchange):
        body = await asked(
            client, symbol=" btcusdt", interval="60", category="linear", limit=24,
            **{"from": "2025-06-01"},
        )  # fmt: skip
        hours = parquet.read_table(shared_data / "candles" / "bybit_linear_BTCUSDT_60.parquet")
        rows = {row["ts"]: row for row in hours.to_pylist()}
        assert len(body["data"]["candles"]) == 24
        for shown in body["data"]["candles"]:
            row = rows[int(datetime.fromisoformat(shown["open_time"]).timestamp() * 1000)]
            for name in ("open", "high", "low", "close", "volume"):
                assert Decimal(shown[name]) == Decimal(repr(row[name]))
        assert body["meta"] == {
            "venue": "bybit", "category": "linear", "symbol": "BTCUSDT", "interval": "1h",
            "from": "2025-06-01T00:00:00Z", "to": "2025-06-02T00:00:00Z",
            "gaps": [], "missing": [], "next_cursor": "2025-06-02T00:00:00Z",
        }  # fmt: skip

        seen = [shown["open_time"] for shown in body["data"]["candles"]]
        while "next_cursor" in body["meta"]:
            body = await asked(
                client, symbol="BTCUSDT", interval="1h", category="linear", limit=24,
                **{"from": "2025-06-01", "cursor": body["meta"]["next_cursor"]},
            )  # fmt: skip
            seen += [shown["open_time"] for shown in body["data"]["candles"]]
        first = datetime(2025, 6, 1, tzinfo=UTC)
        whole = [first + timedelta(hours=n) for n in range(4 * 24 + 12)]
        assert seen == [f"{opens:%Y-%m-%dT%H:%M:%SZ}" for opens in whole], "12:00 is forming"

        exchange.faults.add("status_503")
        stored = await asked(
            client, symbol="BTCUSDT", interval="1h", category="linear",
            **{"from": "2025-06-01", "to": "2025-06-05"},
        )  # fmt: skip
        assert len(stored["data"]["candles"]) == 96, "what is stored needs no venue"
        response = await client.get(
            "/market/candles", params={"symbol": "BTCUSDT", "interval": "1h", "category": "linear"}
        )
        assert_is_error(response, 503, "upstream_unavailable")


async def test_higher_intervals_are_made_of_the_minutes_that_are_stored(
    clone: CloneDatabase,
) -> None:
    async with installed(clone, None, "2025-01-05T00:00:00Z") as (running, client, exchange):
        await download(running, "BTCUSDT", "2025-01-01", "2025-01-03")
        query: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "4h"}
        await asked(client, **query, to="1970-01-05", limit=1)  # so that the series is known
        before = exchange.requests.count(KLINE)
        made = await asked(client, **query, **{"from": "2025-01-01", "to": "2025-01-03"})
        assert exchange.requests.count(KLINE) == before, "nothing was fetched"
        assert len(made["data"]["candles"]) == 12
        assert (made["meta"]["gaps"], made["meta"]["missing"]) == ([], [])

        beyond = await asked(client, **query, **{"from": "2025-01-01", "to": "2025-01-04"})
        assert exchange.requests.count(KLINE) == before + 1, "one request for what is left"
        assert len(beyond["data"]["candles"]) == 18
        assert beyond["data"]["candles"][:12] == made["data"]["candles"]
        fetched = await asked(client, symbol="BTCUSDT", interval="12h", limit=2, to="2025-01-02")
        assert [c["open_time"] for c in fetched["data"]["candles"]] == [
            "2025-01-01T00:00:00Z", "2025-01-01T12:00:00Z",
        ]  # fmt: skip
        months = await asked(client, symbol="BTCUSDT", interval="1M", limit=3)
        assert [c["open_time"] for c in months["data"]["candles"]] == [
            "2024-10-01T00:00:00Z", "2024-11-01T00:00:00Z", "2024-12-01T00:00:00Z",
        ]  # fmt: skip


async def test_an_answer_says_where_the_venue_has_nothing(
    clone: CloneDatabase, tmp_path: Path
) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    rows = "".join(
        f"{int((start + timedelta(minutes=n)).timestamp()) * 1000},2,2,1,2,1\n"
        for n in range(600)
        if not 130 <= n < 400
    )
    file = tmp_path / "bybit_spot_GAPUSDT_1.csv"
    file.write_text("ts,open,high,low,close,volume\n" + rows)
    async with installed(clone, file, "2025-01-01T09:59:30Z") as (_, client, exchange):
        minutes = await asked(client, symbol="GAPUSDT", interval="1m")
        outage = {"from": "2025-01-01T02:10:00Z", "to": "2025-01-01T06:40:00Z"}
        assert minutes["meta"]["gaps"] == [outage]
        assert minutes["meta"]["missing"] == []
        assert len(minutes["data"]["candles"]) == 599 - 270
        assert minutes["meta"]["from"] == "2025-01-01T00:00:00Z", "the venue has nothing before"

        hours = await asked(client, symbol="GAPUSDT", interval="1h")
        assert [c["open_time"][11:13] for c in hours["data"]["candles"]] == [
            "00", "01", "02", "06", "07", "08",
        ]  # fmt: skip
        assert hours["meta"]["gaps"] == [
            {"from": "2025-01-01T03:00:00Z", "to": "2025-01-01T06:00:00Z"}
        ]
        assert exchange.requests.count(KLINE, symbol="GAPUSDT") == 3, "two first ones, one page"
        nothing = await asked(
            client, symbol="GAPUSDT", interval="1m", **{"from": "2024-01-01", "to": "2024-01-02"}
        )
        assert nothing["data"]["candles"] == []
        at_the_end = await asked(
            client, symbol="GAPUSDT", interval="1m",
            **{"from": "2025-01-01T09:50", "to": "2025-01-01T10:30"},
        )  # fmt: skip
        assert len(at_the_end["data"]["candles"]) == 9
        assert at_the_end["meta"]["to"] == "2025-01-01T09:59:00Z", "what has not been yet"


async def test_more_than_a_reader_waits_for_is_named_as_missing_and_not_fetched(
    clone: CloneDatabase,
) -> None:
    async with installed(clone, None, "2025-01-05T00:00:00Z") as (running, client, exchange):
        await asked(client, symbol="BTCUSDT", interval="1m", limit=1)
        before = exchange.requests.count(KLINE)
        query: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "1m", "limit": 10_000}
        page = await asked(client, **query, to="2025-01-05")
        assert exchange.requests.count(KLINE) == before
        assert page["meta"]["missing"] == [
            {"from": "2024-12-29T01:20:00Z", "to": "2025-01-04T23:59:00Z"}
        ]
        await download(running, "BTCUSDT", "2024-12-29", "2025-01-05")
        page = await asked(client, **query, to="2025-01-05")
        assert page["meta"]["missing"] == []
        assert len(page["data"]["candles"]) == 10_000

        wide = await asked(client, symbol="BTCUSDT", interval="1d", limit=100)
        assert len(wide["data"]["candles"]) == 100, "days of too many minutes are fetched as days"


async def test_readers_of_the_same_candles_share_one_fetch_and_a_crowd_is_turned_away(
    clone: CloneDatabase,
) -> None:
    async with installed(clone, None, "2025-01-05T00:00:00Z") as (running, client, exchange):
        query: dict[str, str | int] = {"symbol": "SOLUSDT", "interval": "1h"}
        await asked(client, **query, limit=1, to="2024-01-01")
        await fill_pool(running)
        before = exchange.requests.count(KLINE)
        bodies = await asyncio.gather(*(asked(client, **query, to="2025-01-01") for _ in range(8)))
        assert all(body == bodies[0] for body in bodies)
        assert len(bodies[0]["data"]["candles"]) == 1000
        assert exchange.requests.count(KLINE) == before + 1

        reader = replace(running.resources.candles, readers_max=1)
        wanted = CandleQuery(
            venue=Venue.BYBIT,
            category=Category.SPOT,
            symbol=Symbol("SOLUSDT"),
            interval=Interval.HOUR,
            end_at=datetime(2024, 6, 1, tzinfo=UTC),
            limit=10,
        )
        exchange.faults.add("delay", times=1, path=KLINE, seconds=60)
        readers = [asyncio.create_task(reader.read(wanted)) for _ in range(3)]
        try:
            for turned_away in islice(asyncio.as_completed(readers, timeout=20), 2):
                with pytest.raises(UpstreamUnavailable):
                    await turned_away
            assert sum(task.done() for task in readers) == 2, "one is waited for"
        finally:
            for task in readers:
                task.cancel()
            await asyncio.gather(*readers, return_exceptions=True)


async def test_a_table_has_the_same_numbers_to_the_last_digit(
    anonymous: httpx.AsyncClient,
) -> None:
    query = {"symbol": "ETHUSDT", "interval": "1h", "from": "2024-12-01", "to": "2024-12-03",
             "limit": "24"}  # fmt: skip
    shown = (await anonymous.get("/market/candles", params=query)).json()
    rows = [list(row.values()) for row in shown["data"]["candles"]]
    assert len(rows) == 24

    async def table(accept: str) -> httpx.Response:
        response = await anonymous.get("/market/candles", params=query, headers={"Accept": accept})
        assert response.status_code == 200, response.text
        assert response.headers["Vary"] == "Accept"
        assert response.headers["X-Next-Cursor"] == shown["meta"]["next_cursor"]
        assert response.headers["X-Missing-Spans"] == "0"
        return response

    text = await table("text/csv;q=0.9, application/json;q=0.1")
    assert text.headers["Content-Type"].startswith("text/csv")
    header, *lines = csv.reader(io.StringIO(text.text))
    assert header == ["open_time", "open", "high", "low", "close", "volume", "turnover"]
    assert lines == rows

    arrow = await table("application/vnd.apache.arrow.stream")
    stream = pa.ipc.open_stream(arrow.content).read_all()
    packed = parquet.read_table(io.BytesIO((await table("application/vnd.apache.parquet")).content))
    for read in (stream, packed):
        assert read.schema.field("close").type == pa.decimal128(38, 18)
        assert json.loads(read.schema.metadata[META_KEY]) == shown["meta"]
        for row, line in zip(read.to_pylist(), rows, strict=True):
            assert row["open_time"] == datetime.fromisoformat(line[0])
            numbers = [row[name] for name in header[1:]]
            assert numbers == [Decimal(number) for number in line[1:]]


async def test_others_have_their_turn_while_a_page_is_written(
    anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, had_a_turn = asyncio.get_running_loop(), threading.Event()

    def written(_: CandlePage) -> bytes:
        loop.call_soon_threadsafe(had_a_turn.set)
        assert had_a_turn.wait(timeout=30)
        return b"written"

    monkeypatch.setattr("app.routers.candles.FORMATS", {"text/csv": written})
    query = {"symbol": "ETHUSDT", "interval": "1h", "to": "2024-12-03", "limit": "2"}
    response = await anonymous.get("/market/candles", params=query)
    assert (response.status_code, response.text) == (200, "written")


async def test_a_form_that_there_is_not_is_406_and_says_which_there_are(
    anonymous: httpx.AsyncClient, installation: Installation
) -> None:
    query = {"symbol": "ETHUSDT", "interval": "1h", "to": "2024-12-03", "limit": "2"}
    response = await anonymous.get("/market/candles", params=query, headers={"Accept": "image/png"})
    assert_is_error(response, 406, "not_acceptable")
    assert "text/csv" in response.json()["message"]
    response = await anonymous.get("/market/candles", params=query, headers={"Accept": "*/*;q=0"})
    assert_is_error(response, 406, "not_acceptable")
    for accept in ("*/*", "application/*", "text/html, */*;q=0.1", "", "text/csv;q=0, */*",
                   "text/csv;q=0.1, application/json;q=0.2"):  # fmt: skip
        response = await anonymous.get("/market/candles", params=query, headers={"Accept": accept})
        assert response.headers["Content-Type"] == "application/json", accept

    def not_installed() -> NoReturn:
        raise ImportError

    page = await installation.resources.candles.read(
        CandleQuery(
            venue=Venue.BYBIT,
            category=Category.SPOT,
            symbol=Symbol("ETHUSDT"),
            interval=Interval.HOUR,
            end_at=datetime(2024, 12, 3, tzinfo=UTC),
            limit=2,
        )
    )
    with pytest.raises(NotAcceptable, match=r"pip install -r requirements-research\.txt"):
        arrow_page(page, load=not_installed)
