"""python -m app.replay as a command."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

PROJECT = Path(__file__).parents[2]
SECONDS_MAX = 100
"""A bound against hanging: a slow machine is no failure."""


@contextmanager
def command(*arguments: str) -> Iterator[str]:
    """Run it, hand over its address, interrupt it, and see that it leaves in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.replay", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Replay exchange on http://127.0.0.1:")
        yield line.split()[-1]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SECONDS_MAX)
        assert (process.returncode, output, errors) == (0, "", "")
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(url, timeout=SECONDS_MAX).json()
    return answer


def test_without_a_recording_it_serves_the_market_of_the_seed() -> None:
    with command("--speed", "0", "--seed", "3", "--start", "2025-06-01T00:00Z") as url:
        ticker = get(f"{url}/v5/market/tickers?category=spot&symbol=BTCUSDT")
        assert ticker["time"] == 1_748_736_000_000
        assert float(ticker["result"]["list"][0]["lastPrice"]) > 0


def test_a_file_is_served_from_its_start_at_the_speed_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "bybit_linear_BTCUSDT_1.csv"
    file.write_text("ts,open,high,low,close,volume\n60000,1,1,1,1,1\n120000,1,2,1,2,1\n")
    with command(str(file), "--speed", "10000") as url:
        assert get(f"{url}/control/clock")["speed"] == 10_000
        while get(f"{url}/control/clock")["at_end"] is False:
            pass  # two minutes take 12 ms
        ticker = get(f"{url}/v5/market/tickers?category=spot&symbol=BTCUSDT")
        assert ticker["result"]["list"][0]["lastPrice"] == "2"
    with command(str(file), "--also", "none") as url:
        ticker = get(f"{url}/v5/market/tickers?category=spot&symbol=BTCUSDT")
        assert ticker["retMsg"] == "params error: symbol invalid"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "there is no such file or folder"),
        (["--host", "0.0.0.0"], "--may-leave-loopback"),  # noqa: S104  it is refused
        (["--start", "soon"], "nor like 2025-06-01T00:00Z"),
        (["--start", "1969-01-01"], "there is nothing at"),
        (["--speed", "-1"], "speed is a number from 0"),
        (["--port", "70000"], "port must be 0-65535"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], reason: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.replay", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
