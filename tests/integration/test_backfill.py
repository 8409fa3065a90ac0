"""The command that downloads candles: what it refuses, shows, and keeps when interrupted."""

import argparse
import asyncio
import io
import os
import signal
import sys

import pytest
from app.backfill import Display, add_arguments, backfill
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.database import open_database
from app.replay import ReplayExchange
from app.services.candle_store import Progress
from tests.conftest import CloneDatabase, settings_for
from tests.environment import database_variables

KLINE = "/v5/market/kline"


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("NOSUCH 1m --from 2024-12-01", "unknown symbol"),
        ("BTCUSDT 1m --from 2024-12-02 --to 2024-12-01", "from has to lie before to"),
        (
            "BTCUSDT 1m --from 2025-12-02",
            "--from has to lie before now, which is 202",
        ),
        ("BTCUSDT 1m --from 2099-12-02", "--from has to lie before now, which is 20"),
        ("BTCUSDT 1m --from 2014-12-01 --to 2024-12-01", "shorter than 3650 days"),
        ("BTCUSDT 1m --from 2024-12-01 --category option", "Bybit has no option prices"),
        ("BTCUSDT 1m --from 2024-12-01 --venue binance --category linear", "Binance has no linear"),
        ("BTCUSDT 1m --from 2024-12-01 --venue aster --category spot", "AsterDEX has no spot"),
        ("BTCUSDT 1m --from 2024-12-01", "CANDLE_RETENTION_DAYS=30 would drop them again"),
    ],
)
async def test_the_command_refuses_what_makes_no_sense_and_fetches_no_candle(
    postgres: DatabaseAddress,
    exchange: ReplayExchange,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    complaint: str,
) -> None:
    asked = exchange.requests.count(KLINE)
    days = 30 if "RETENTION" in complaint else 0
    settings = settings_for(postgres, exchange.base_url, candle_retention_days=days)
    try:
        code: object = await backfill(settings, options(*arguments.split()))
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert complaint in capsys.readouterr().err
    assert exchange.requests.count(KLINE) == asked


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("BTC/USDT 1m --from 2024-12-01", "'BTC/USDT' is no symbol: write letters, digits and"),
        ("é 1m --from 2024-12-01", "for example BTCUSDT"),
        ("BTCUSDT 7m --from 2024-12-01", "'7m' is no interval: one of 1m, 3m"),
        ("BTCUSDT 1m --from yesterday", "'yesterday' is no instant: write 2025-01-01"),
        ("BTCUSDT 1m --from 1969-12-31", "'1969-12-31': expected an instant from 1970 to 2099"),
        ("BTCUSDT 1m --from 0001-01-01T00:00+14:00", "expected an instant from 1970 to 2099"),
        ("BTCUSDT 1m --from 2024-12-01 --to 9999-12-31T23:59-12:00", "from 1970 to 2099"),
        ("BTCUSDT 1m --from 2024-12-01 --venue kraken", "one of bybit, binance, aster"),
        ("BTCUSDT 1m --from 2024-12-01 --category futures", "one of spot, linear, inverse"),
    ],
)
def test_a_misspelled_argument_is_refused_before_anything_is_opened(
    capsys: pytest.CaptureFixture[str], arguments: str, complaint: str
) -> None:
    with pytest.raises(SystemExit) as left:
        options(*arguments.split())
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


async def test_a_person_sees_a_bar_and_a_log_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    half = Progress(done=50_000, total=100_000, stored=49_000, differing=0, outages=0)
    terminal, log = Terminal(), io.StringIO()
    for out in (terminal, log):
        display = Display("bybit spot BTCUSDT 1m", out, line_seconds=0)
        display.show(half)
        display.end()
    figures = " 50%  50,000 of 100,000, 49,000 new"
    bar = "###############..............."
    assert terminal.getvalue() == f"\rbybit spot BTCUSDT 1m [{bar}] {figures}\n"
    assert log.getvalue() == f"bybit spot BTCUSDT 1m {figures}\n"
    Display("quiet", sys.stdout).show(half)
    assert capsys.readouterr().out == "", "not five seconds yet"


async def test_ctrl_c_keeps_what_is_stored_and_the_same_command_goes_on(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()

    async def run(*, interrupt: bool) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "backfill", "btcusdt", "1",
            "--from", "2024-12-01T12:00", "--to", "2024-12-05T00:00Z",
            cwd=PROJECT,
            env={
                "PATH": os.environ["PATH"], "LANG": "C", **database_variables(address),
                "BYBIT_BASE_URL": exchange.base_url,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        if interrupt:
            before = exchange.requests.count(KLINE)
            while exchange.requests.count(KLINE) < before + 4:  # noqa: ASYNC110 - of a server
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    exchange.faults.add("delay", path=KLINE, seconds=0.3)
    try:
        code, output, errors = await run(interrupt=True)
    finally:
        exchange.faults.clear()
    assert (code, output) == (130, "")
    *_, last = errors.splitlines()  # a slow machine is told how far it is, before
    assert last == "stopped half-way; the same command goes on from here"
    async with open_database(address, pool_size=2) as db, db.connection() as conn:
        kept = await conn.fetchval("SELECT count(*) FROM candles")
    assert kept >= 1000
    minutes = 3 * 1440 + 720
    told = (
        f"bybit spot BTCUSDT 1m: {minutes - kept:,} candles new, {minutes:,} open times looked "
        "after, 0 outages recorded, 0 differed and were left as they were\n"
    )
    code, output, _ = await run(interrupt=False)
    assert (code, output) == (0, told)


async def test_a_symbol_without_any_candle_is_done_at_once_and_not_half_way(
    clone: CloneDatabase, exchange: ReplayExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(await clone(), exchange.base_url)
    exchange.faults.add("empty_list", path=KLINE)
    try:
        code = await backfill(settings, options("BTCUSDT", "1m", "--from", "2024-12-01"))
    finally:
        exchange.faults.clear()
    told = capsys.readouterr()
    assert (code, told.err) == (0, "")
    assert told.out == "bybit spot BTCUSDT 1m: Bybit has no candles of it\n"


async def test_a_venue_that_is_busy_for_a_moment_at_the_beginning_is_waited_for_too(
    clone: CloneDatabase, exchange: ReplayExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(await clone(), exchange.base_url)
    exchange.faults.add("code_10006", path=KLINE, times=1, seconds=0.1)
    try:
        arguments = ("BTCUSDT", "1m", "--from", "2024-12-01", "--to", "2024-12-01T01:00")
        assert await backfill(settings, options(*arguments)) == 0
    finally:
        exchange.faults.clear()
    assert "60 candles new" in capsys.readouterr().out
