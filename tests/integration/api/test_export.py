"""Exports through a real socket: one snapshot, exact, harmless, bounded."""

import asyncio
import csv
import io
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import asyncpg
import httpx
import pyarrow as pa
import pytest_asyncio
from app.core.config import Settings
from app.domain.exports import ExportFormat, ExportTable
from app.http.connection import ConnectionLimits
from app.main import create_app
from app.replay import ReplayExchange
from app.services.exports import ExportLimits, Exports
from app.serving import DEFAULT_LIMITS
from pyarrow import parquet
from tests.conftest import (
    CloneDatabase,
    Installation,
    Person,
    new_person,
    run_installation,
    settings_for,
)
from tests.integration.api.sockets import SAFETY_SECONDS, served_as_goblin_serves
from tests.integration.api.streaming import eventually
from tests.integration.api.test_conventions import assert_is_error

PARQUET, ARROW = ExportFormat.PARQUET, ExportFormat.ARROW
PATIENT = ExportLimits(per_process=4, per_user=3)


@asynccontextmanager
async def serving(
    running: Installation,
    limits: ExportLimits = PATIENT,
    *,
    has_arrow: bool = True,
    connections: ConnectionLimits = DEFAULT_LIMITS,
) -> AsyncIterator[tuple[str, Exports]]:
    """The installation on a socket, with exports of its own."""
    exports = Exports(limits, has_arrow=has_arrow)
    app = create_app(Settings(_env_file=None))
    app.state.resources = replace(running.resources, exports=exports)
    async with served_as_goblin_serves(app, connections=connections) as address:
        yield address.url, exports


@pytest_asyncio.fixture(scope="module")
async def served(installation: Installation) -> AsyncIterator[tuple[str, Exports]]:
    async with serving(installation) as running:
        yield running


def reading(url: str, person: Person, accept: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": person.client.headers["Authorization"]}
    if accept is not None:
        headers["Accept"] = accept
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=SAFETY_SECONDS)


async def exported(client: httpx.AsyncClient, table: str, **filters: str) -> list[dict[str, str]]:
    response = await client.get(f"/export/{table}", params=filters)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.content.decode(), newline="")))


async def fill(running: Installation, person: Person, rows: int, *, padding: int = 200) -> None:
    """Events of a hundred bytes each, and some more."""
    conn = await asyncpg.connect(**running.address.connect_arguments())
    async with conn.transaction():  # or the reconciler finds numbers that nobody has counted
        await conn.execute(
            """
            INSERT INTO events (user_id, number, type, epoch, data, request_id, event_at)
            SELECT $1, n, 'deposited', 1, jsonb_build_object('x', md5(n::text) || repeat('y', $3)),
                'r', timestamptz '2026-01-01Z' + n * interval '1 second'
            FROM generate_series((SELECT event_number + 1 FROM users WHERE id = $1), $2) AS n
            """,
            person.user.id,
            rows,
            padding,
        )
        await conn.execute("UPDATE users SET event_number = $2 WHERE id = $1", person.user.id, rows)
    await conn.close()


async def traded(person: Person) -> list[dict[str, str]]:
    """Two orders, one of them closed; the list of them as the API gives it."""
    for symbol, quantity in (("BTCUSDT", "0.12345678901234567890"), ("ETHUSDT", "1")):
        opened = await person.client.post("/order", json={"symbol": symbol, "quantity": quantity})
        assert opened.status_code == 201, opened.text
    await person.client.delete("/order/ETHUSDT")
    listed = (await person.client.get("/order")).json()["data"]["orders"]
    return sorted(listed, key=lambda order: int(order["id"]))


async def test_a_stranger_and_a_wrong_table_are_told_so(
    anonymous: httpx.AsyncClient, ada: Person
) -> None:
    assert_is_error(await anonymous.get("/export/orders"), 401, "not_authenticated")
    unknown = await ada.client.get("/export/users")
    assert_is_error(unknown, 422, "validation_error")
    assert "'orders', 'fills'" in unknown.json()["message"]
    for query in (
        "from=yesterday",
        "to=0.5",
        "to=1767225600",
        "from=2026-01-01T00:00:00",
        "epoch=0",
    ):
        assert_is_error(await ada.client.get(f"/export/orders?{query}"), 422, "validation_error")


async def test_csv_says_what_the_list_says_and_of_nobody_else(
    served: tuple[str, Exports], ada: Person, bob: Person
) -> None:
    listed = await traded(ada)
    async with reading(served[0], ada) as client:
        rows = await exported(client, "orders")
        response = await client.get("/export/orders")
        for table in ExportTable:
            await exported(client, table)
        fills, ledger = await exported(client, "fills"), await exported(client, "ledger")
        events = await exported(client, "events")
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["content-disposition"] == 'attachment; filename="orders.csv"'
    assert response.content.count(b"\r\n") == response.content.count(b"\n") == 3
    for row, order in zip(rows, listed, strict=True):
        assert row["id"] == str(order["id"])
        assert row["quantity"] == order["quantity"]
        assert row["created_at"] == order["created_at"]
        assert row["sell_price"] == order.get("sell_price", "")
    assert [(fill["symbol"], fill["side"]) for fill in fills] == [
        ("BTCUSDT", "buy"), ("ETHUSDT", "buy"), ("ETHUSDT", "sell"),
    ]  # fmt: skip
    entries = (await ada.client.get("/ledger/entries")).json()["data"]["entries"]
    assert [entry["amount"] for entry in ledger] == [e["amount"] for e in reversed(entries)]
    told = (await ada.client.get("/events")).json()["data"]["events"]
    assert [json.loads(event["data"]) for event in events] == [e["data"] for e in told]
    async with reading(served[0], bob) as client:
        assert await exported(client, "orders") == []
        assert (await client.get("/export/orders")).content.startswith(b"id,epoch,")


async def test_every_format_holds_the_same_rows_to_the_last_digit(
    served: tuple[str, Exports], ada: Person
) -> None:
    await traded(ada)
    async with reading(served[0], ada) as client:
        rows = await exported(client, "ledger")
    async with reading(served[0], ada, PARQUET) as client:
        response = await client.get("/export/ledger")
        assert response.headers["content-type"] == PARQUET
        from_parquet = parquet.read_table(io.BytesIO(response.content))
        empty = await client.get("/export/ledger", params={"to": "2000-01-01T00:00:00Z"})
        assert parquet.read_table(io.BytesIO(empty.content)).schema == from_parquet.schema
    async with reading(served[0], ada, ARROW) as client:
        response = await client.get("/export/ledger")
        from_arrow = pa.ipc.open_stream(response.content).read_all()
    assert from_arrow.schema.field("amount").type == pa.decimal128(38, 20)
    assert from_arrow.schema.field("event_at").type == pa.timestamp("us", "UTC")
    assert from_parquet.equals(from_arrow)
    assert from_arrow["amount"].to_pylist() == [Decimal(row["amount"]) for row in rows]
    assert [at.isoformat() for at in from_arrow["event_at"].to_pylist()] == [
        row["event_at"].replace("Z", "+00:00") for row in rows
    ]


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff0b1")
HARMLESS = ("a=1", "1", "'quoted'", 'with "quotes", and\nlines', " =1", "é")


async def test_a_spreadsheet_runs_no_text_of_a_csv_and_numbers_stay_numbers(
    served: tuple[str, Exports], ada: Person
) -> None:
    await traded(ada)
    for action in (*FORMULAS, *HARMLESS):
        body = {"symbol": "BTCUSDT", "data": {"=": "=1"}, "action": action}
        assert (await ada.client.post("/log", json=body)).status_code == 201
    async with reading(served[0], ada) as client:
        log = await exported(client, "log")
        amounts = [row["amount"] for row in await exported(client, "ledger")]
    assert [row["action"] for row in log] == [*(f"'{text}" for text in FORMULAS), *HARMLESS]
    assert {json.loads(row["data"])["="] for row in log} == {"=1"}
    assert any(amount.startswith("-") for amount in amounts)
    assert all(Decimal(amount).is_finite() for amount in amounts)
    async with reading(served[0], ada, ARROW) as client:
        table = pa.ipc.open_stream((await client.get("/export/log")).content).read_all()
    assert table["action"].to_pylist() == [*FORMULAS, *HARMLESS]


async def test_who_accepts_no_format_there_is_gets_406_and_the_remedy(
    installation: Installation, served: tuple[str, Exports], ada: Person
) -> None:
    async with reading(served[0], ada, "application/json") as client:
        refused = await client.get("/export/orders")
    assert_is_error(refused, 406, "format_not_offered")
    async with serving(installation, has_arrow=False) as (url, _):
        async with reading(url, ada, PARQUET) as client:
            refused = await client.get("/export/orders")
        assert_is_error(refused, 406, "format_not_offered")
        assert "pip install pyarrow" in refused.json()["message"]


async def insert_wide_entry(running: Installation, person: Person) -> None:
    """One with more digits before the point than Arrow's decimal has room for."""
    conn = await asyncpg.connect(**running.address.connect_arguments())
    await conn.execute(
        """
        WITH venue AS (
            INSERT INTO ledger_accounts (user_id, epoch, kind, asset, balance, version)
            VALUES ($1, 1, 'venue', 'X', 123456789012345678901, 1) RETURNING id
        ), holding AS (
            INSERT INTO ledger_accounts (user_id, epoch, kind, asset)
            VALUES ($1, 1, 'fees', 'X') RETURNING id
        ), moved AS (
            INSERT INTO ledger_transfers
                (user_id, cause, asset, amount, source_account_id, target_account_id, event_at)
            SELECT $1, 'deposit', 'X', 1, holding.id, venue.id, now() FROM venue, holding
            RETURNING id, target_account_id
        )
        INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
            balance_before, balance_after, event_at)
        SELECT $1, target_account_id, 1, id, 1, 123456789012345678900, 123456789012345678901, now()
        FROM moved
        """,
        person.user.id,
    )
    await conn.close()


async def test_a_balance_too_large_for_arrow_is_refused_there_and_exact_in_csv(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    """In a database of its own: such books disagree with themselves."""
    async with run_installation(settings_for(await clone(), exchange.base_url)) as alone:
        ada = await new_person(alone)
        await insert_wide_entry(alone, ada)
        async with serving(alone) as (url, _):
            async with reading(url, ada, ARROW) as client:
                refused = await client.get("/export/ledger?asset=X")
            assert_is_error(refused, 406, "format_too_narrow")
            async with reading(url, ada) as client:
                (row,) = await exported(client, "ledger", asset="X")
    assert row["balance_after"] == "123456789012345678901.00000000000000000000"


async def test_an_export_is_of_one_instant_whatever_happens_meanwhile(
    installation: Installation, served: tuple[str, Exports], ada: Person
) -> None:
    await fill(installation, ada, 30_000)
    async with (
        reading(served[0], ada) as client,
        client.stream("GET", "/export/events") as response,
    ):
        chunks = response.aiter_bytes()
        head = await anext(chunks)
        await ada.client.post("/users/me/deposit", json={"amount": "1"})
        text = head + b"".join([chunk async for chunk in chunks])
    rows = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    assert [int(row["number"]) for row in rows] == list(range(1, 30_001))


async def test_five_times_the_rows_take_no_more_memory_in_any_format(
    installation: Installation, served: tuple[str, Exports], ada: Person
) -> None:
    """Both ends are in this process; Python's and Arrow's bytes are counted."""
    await fill(installation, ada, 300_000, padding=0)

    async def peak_bytes(accept: str, **filters: str) -> tuple[int, int]:
        tracemalloc.start()
        arrow_peak = size = 0
        try:
            async with (
                reading(served[0], ada, accept) as client,
                client.stream("GET", "/export/events", params=filters) as response,
            ):
                async for chunk in response.aiter_raw(65_536):
                    size += len(chunk)
                    arrow_peak = max(arrow_peak, pa.total_allocated_bytes())
            return tracemalloc.get_traced_memory()[1] + arrow_peak, size
        finally:
            tracemalloc.stop()

    for accept in ExportFormat:
        few_peak, few_size = await peak_bytes(accept, to="2026-01-01T16:40:00Z")
        many_peak, many_size = await peak_bytes(accept)
        assert many_size > 4 * few_size
        assert many_peak < 2.5 * few_peak + 4_000_000, accept


async def idle_in_the_end(running: Installation, exports: Exports) -> None:
    """Wait until no export runs and every connection of the pool is free."""

    def is_idle() -> bool:
        use = running.resources.db.pool_use
        return exports.count == 0 and use.idle == use.connections

    await eventually(is_idle)


async def test_a_reader_who_leaves_frees_the_connection_and_the_query_ends(
    installation: Installation, served: tuple[str, Exports], ada: Person
) -> None:
    url, exports = served
    await fill(installation, ada, 100_000)
    for accept in (ExportFormat.CSV, ARROW):
        async with (
            reading(url, ada, accept) as client,
            client.stream("GET", "/export/events") as response,
        ):
            await anext(response.aiter_raw(1000))
            assert exports.count == 1
        await idle_in_the_end(installation, exports)
    async with reading(url, ada) as client:
        assert len(await exported(client, "events")) == 100_000


def slow_reader(url: str, person: Person) -> socket.socket:
    """Asks for an export and reads nothing; its buffer is small."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.connect((httpx.URL(url).host, httpx.URL(url).port))
    token = person.client.headers["Authorization"]
    sock.sendall(
        f"GET /export/events HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()
    )
    return sock


async def test_exports_at_once_are_bounded_and_one_that_is_not_read_is_cut_off(
    installation: Installation, ada: Person, bob: Person
) -> None:
    await fill(installation, ada, 60_000)
    await fill(installation, bob, 60_000)
    limits = ExportLimits(per_process=2, per_user=1, send_seconds=60.0)
    async with serving(installation, limits) as (url, exports):

        async def until_running(count: int) -> None:
            await eventually(lambda: exports.count == count)

        sockets = []
        try:
            for person, running in ((ada, 1), (bob, 2)):
                sockets.append(slow_reader(url, person))
                await until_running(running)
                async with reading(url, ada) as client:
                    refused = await client.get("/export/orders")
                assert_is_error(refused, 429, "too_many_exports")
                assert int(refused.headers["Retry-After"]) > 0
            exports.limits = replace(limits, per_user=9)
            async with reading(url, ada) as client:
                refused = await client.get("/export/orders")
            assert_is_error(refused, 503, "exports_exhausted")
            while sockets:
                sockets.pop().close()
            await idle_in_the_end(installation, exports)

            exports.limits = replace(limits, send_seconds=0.3)
            sockets.append(slow_reader(url, ada))
            assert await asyncio.to_thread(sockets[0].recv, 8) == b"HTTP/1.1", "it has begun"
            await idle_in_the_end(installation, exports)
            exports.limits = limits
            async with reading(url, ada) as client:
                assert len(await exported(client, "events")) == 60_000
        finally:
            for sock in sockets:
                sock.close()
