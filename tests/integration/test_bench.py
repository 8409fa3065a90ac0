import re

import pytest
from app.core.config import PROJECT
from app.services.audit import audit_installation
from bench import frames, growth, slow_clients, streams
from bench.__main__ import PARTS, run
from bench.crowds import crowd
from bench.installation import open_installation

pytestmark = pytest.mark.timeout(900)


async def test_the_figures_of_the_bench_are_still_measured_and_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Of what is left out, logins hash for most of a minute; metrics drive the same loads.
    await run(tuple(PARTS.keys() - {"logins", "metrics"}), rounds=1, seconds=0.01)
    printed = capsys.readouterr().out
    for promised in (
        "synchronous_commit=on",
        "GET /users/me",
        "GET /market/price",
        "POST + DELETE /order, 1 client",
        "POST + DELETE /order, 16 clients",
        "POST /auth/login",
        "with ledger, events and keys",
        "empty endpoint, 256 clients",
        "pgbench, bare, 20 connections",
        "pgbench, whole, 64 connections",
        "a transaction for each order, 256 clients",
        "group commit, 1 client",
        "group commit, 2 ",
        "CPU of the server for each request",
        "an order, 64 clients",
        "orders of 64 clients that share commits, of the empty endpoint",
        "GET /users/me is at least 0.30 of GET /",
        "any 1,000 of 10,000",
        "the loop was held at worst",
    ):
        assert promised in printed


def test_every_bench_that_a_page_names_can_be_run() -> None:
    script = (PROJECT / "scripts" / "bench").read_text()
    known = {*PARTS, *re.findall(r"= ([a-z-]+) \]; then\n", script)}
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    named = {
        name for page in pages for name in re.findall(r"scripts/bench ([a-z-]+)", page.read_text())
    }
    assert len(named) > 8
    assert {name for name in named if not name.startswith("-")} <= known


async def test_the_benches_of_slow_clients_and_of_streams_still_measure_both_sides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with open_installation() as installation:
        await slow_clients.measure(installation, count=2, seconds=0.1)
        await streams.measure(installation, clients=2, symbols=2, rate=20, seconds=0.3)
    printed = capsys.readouterr().out
    for promised in ("alone", "beside 4 x 2 hostile sockets", "header drips", "asks once"):
        assert promised in printed
    for promised in ("2 clients on 2 symbols", "p99", "of a core: goblin"):
        assert promised in printed


async def test_the_bench_of_growth_fills_books_that_the_audit_agrees_with_and_measures_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        open_installation() as installation,
        crowd(installation, users=3, orders_each=2) as crowded,
    ):
        audited = await audit_installation(crowded.db)
        assert (audited.users, audited.entries) == (3, 3 * (2 + 2 * 8))
        assert audited.discrepancies == []
    sizes = [growth.size("16:0"), growth.size("17:34")]
    await growth.run(sizes, rounds=1, seconds=0.01)
    printed = capsys.readouterr().out
    for promised in ("16 users, 0 past orders", "17 users, 34 past orders, of those"):
        assert promised in printed


async def test_the_bench_of_frames_measures_what_there_is_and_names_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ways = (frames.OURS, "asyncpg Records to pandas", "connectorx to Arrow")
    aims = await frames.run(rows=2_000, rounds=1, names=ways)
    printed = capsys.readouterr().out
    assert "FAILED" not in printed
    for way in ways:
        assert way in printed
    (ours,) = (line for line in printed.splitlines() if line.strip().startswith(frames.OURS))
    assert "none" in ours
    assert "decimal128(38, 20)" in ours
    assert ("connectorx to Arrow (no exact number)" in str(aims)) != (
        "MISSING, NOT MEASURED: connectorx to Arrow" in printed
    )
