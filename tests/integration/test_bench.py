import pytest
from bench import slow_clients
from bench.__main__ import PARTS, run


@pytest.mark.timeout(300)
async def test_every_figure_of_the_bench_is_still_measured_and_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await run(tuple(PARTS), rounds=1, seconds=0.01)
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
        "orders of 64 clients that share commits, of the empty endpoint",
        "GET / while 20 clients log in",
        "known e-mail",
        "GET /users/me is at least 0.30 of GET /",
        "GET / counted and timed is at least 0.85 of GET / alone",
    ):
        assert promised in printed


async def test_the_bench_of_slow_clients_still_measures_both_sides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await slow_clients.run(count=2, seconds=0.1)
    printed = capsys.readouterr().out
    for promised in ("alone", "beside 4 x 2 hostile sockets", "header drips", "asks once"):
        assert promised in printed
