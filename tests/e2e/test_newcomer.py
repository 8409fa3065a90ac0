"""From an empty folder to a closed paper order at a recorded price, by the real command."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path

import httpx
import pytest
from bench.victims import kept_port
from pyarrow import parquet
from tests.e2e.running import STOP_SECONDS_MAX, Clone, Running, serving

RECORDING = Path("candles") / "bybit_linear_BTCUSDT_1.parquet"
MINUTE_MS = 60_000
OPENED_AT, CLOSED_AT = 1_234, 23_456
"""Rows of the recording: candles at whose last millisecond the order is opened and closed."""

PASSWORD = "correct horse battery 7c1"
WIDE = Context(prec=100, rounding=ROUND_HALF_UP)
PLACES = Decimal("1e-20")
QUANTITY = Decimal("0.12345678901234567891")
DEPOSIT = Decimal("20000.00000000000000000001")


def recorded(file: Path, row: int) -> tuple[int, Decimal]:
    """The last millisecond of a candle and its close, read without any of goblin's code."""
    table = parquet.read_table(file, columns=["ts", "close"]).slice(row, 1).to_pydict()
    return table["ts"][0] + MINUTE_MS - 1, Decimal(repr(table["close"][0]))


def cash(price: Decimal, quantity: Decimal) -> Decimal:
    return WIDE.quantize(WIDE.multiply(price, quantity), PLACES)


def shown(amount: Decimal) -> str:
    return format(WIDE.quantize(amount, PLACES), "f")


def data(response: httpx.Response) -> dict[str, object]:
    assert response.is_success, response.text
    found = response.json()["data"]
    assert isinstance(found, dict)
    return found


def begin_trading(server: Running) -> str:
    account = {"email": "new@example.com", "password": PASSWORD, "name": "New"}
    with server.client() as client:
        assert client.get("/docs").status_code == 200
        data(client.post("/auth/register", json=account))
        token = data(client.post("/auth/login", json=account))["access_token"]
    assert isinstance(token, str)
    with server.client(token) as client:
        funded = data(client.post("/users/me/deposit", json={"amount": str(DEPOSIT)}))
        assert funded["balance"] == str(DEPOSIT)
    return token


def wait_until_priced(client: httpx.Client, price: Decimal) -> None:
    """A price of before the clock was set is fresh until the stream tells the next."""
    while Decimal(str(data(client.get("/market/price?symbol=BTCUSDT"))["price"])) != price:
        time.sleep(0.02)


def wait_until_healthy(server: Running) -> None:
    deadline = time.monotonic() + STOP_SECONDS_MAX
    with server.client() as client:
        while client.get("/health").status_code != 200:
            assert server.process.poll() is None, "the API ended with its database"
            assert time.monotonic() < deadline
            time.sleep(0.05)


def kill_database(clone: Clone) -> None:
    """And wait for its processes to notice: one of them might answer once more until it has."""
    killed = set(clone.database_processes())
    os.kill(clone.postmaster(), signal.SIGKILL)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while killed & set(clone.database_processes()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_is_kept(server: Running, token: str, buy: Decimal) -> None:
    with server.client(token) as client:
        me = data(client.get("/users/me"))
        orders = data(client.get("/order", params={"active": True}))["orders"]
    assert me["balance"] == shown(WIDE.subtract(DEPOSIT, cash(buy, QUANTITY)))
    assert isinstance(orders, list)
    assert [(row["symbol"], row["buy_price"]) for row in orders] == [("BTCUSDT", shown(buy))]


def assert_tells_no_secret(clone: Clone, token: str, database_password: str) -> None:
    """Whatever the servers have written, at DEBUG."""
    written = "".join(clone.output) + (clone.data / "postgres.log").read_text()
    assert "Traceback" not in written
    assert '"level": "debug"' in written, "DEBUG was not on"
    secrets = {
        "password": PASSWORD,
        "token": token,
        "signature": token.rpartition(".")[2],
        "secret": (clone.data / "jwt-secret").read_text().strip(),
        "database password": database_password,
        "password hash": "$bcrypt-sha256$",
    }
    assert [name for name, secret in secrets.items() if secret in written] == []


def test_an_order_at_recorded_prices_survives_every_kill_and_pays_to_the_last_digit(
    clone: Clone, shared_data: Path
) -> None:
    file = shared_data / RECORDING
    opened_ms, buy = recorded(file, OPENED_AT)
    closed_ms, sell = recorded(file, CLOSED_AT)
    assert buy != sell, "a profit of zero would prove nothing"
    cost, proceeds = cash(buy, QUANTITY), cash(sell, QUANTITY)
    profit = WIDE.subtract(proceeds, cost)
    loud = {"LOG_LEVEL": "DEBUG", "DB_PASSWORD": "canary of the database"}
    replay = ("--replay", str(file), "--speed", "0")

    with serving(clone, *replay, "--port", "0", **loud) as server:
        token = begin_trading(server)
        server.set_clock(opened_ms)
        order = {"symbol": "BTCUSDT", "quantity": str(QUANTITY)}
        with server.client(token) as client:
            opened = data(client.post("/order", json=order))
        assert opened["buy_price"] == shown(buy)
        assert opened["buyAggregate"] == shown(cost)
        server.kill()

    with serving(clone, *replay, "--port", "0", **loud) as server:
        assert_is_kept(server, token, buy)
        assert clone.postmaster() in clone.database_processes()
        kill_database(clone)
        wait_until_healthy(server)
        assert_is_kept(server, token, buy)
        os.kill(clone.postmaster(), signal.SIGKILL)
        server.kill()

    with serving(clone, *replay, "--port", "0", **loud) as server:
        assert_is_kept(server, token, buy)
        server.set_clock(closed_ms)
        with server.client(token) as client:
            wait_until_priced(client, sell)
            closed = data(client.delete("/order/BTCUSDT"))
            me = data(client.get("/users/me"))
        assert closed["sell_price"] == shown(sell)
        assert closed["diff"] == shown(WIDE.subtract(sell, buy))
        assert closed["sellAggregate"] == shown(proceeds)
        assert closed["diffDollar"] == shown(profit)
        assert me["balance"] == shown(WIDE.add(DEPOSIT, profit))
        assert server.press_ctrl_c() == 0
    assert clone.database_processes() == []
    assert clone.output[-1].endswith("goblin has stopped\n")

    with (
        kept_port() as port,
        serving(clone, *replay, PORT=str(port), HOST="127.0.0.1", **loud) as server,
    ):
        assert server.url == f"http://127.0.0.1:{port}"
        with server.client(token) as client:
            assert data(client.get("/order"))["orders"] == [closed]
        assert server.terminate() == 0
    assert clone.database_processes() == []

    assert_tells_no_secret(clone, token, loud["DB_PASSWORD"])


def test_the_demo_walks_the_main_job_with_numbers_that_agree(
    clone: Clone, shared_data: Path
) -> None:
    # The market moves when the demo moves it, however long its steps take.
    recording = ("--replay", str(shared_data / RECORDING), "--speed", "0")
    done = clone.run("serve", "--port", "0", *recording, "--demo")
    assert done.returncode == 0, done.stderr
    steps = dict(re.findall(r"^ *([a-z ]+?)  (\S.*)$", done.stdout.replace(",", ""), re.MULTILINE))
    assert list(steps) == [
        "register", "fund", "quote", "buy", "price moves", "close", "profit", "list",
    ]  # fmt: skip
    numbers = {
        step: [Decimal(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
        for step, text in steps.items()
    }
    (deposit,) = numbers["fund"]
    quantity, buy, cost = numbers["buy"]
    sell, proceeds = numbers["close"]
    profit, balance = numbers["profit"]
    assert numbers["quote"] == [buy]
    assert numbers["price moves"] == [sell]
    assert buy != sell, "the price moved"
    assert cost == buy * quantity
    assert proceeds == sell * quantity
    assert profit == proceeds - cost
    assert balance == deposit + profit
    assert steps["list"].endswith(f"BTCUSDT closed {profit}")
    assert clone.database_processes() == []


def test_what_cannot_be_served_is_said_in_a_few_lines_and_starts_nothing(clone: Clone) -> None:
    with socket.socket() as taken, kept_port() as silent:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, variables, code, text in (
            (["--port", port], {}, 1, "choose another: --port 8001"),
            ([], {"PORT": port}, 1, "address already in use"),
            ([], {"PORT": "many"}, 1, "PORT: "),
            (["--replay", "nowhere"], {}, 1, "there is no such file or folder"),
            (["--speed", "2"], {}, 1, "--speed goes with --replay"),
            (["--prot", port], {}, 2, "--replay [FILE|FOLDER]"),
            (["--port", "0"], {"DB_HOST": "127.0.0.1", "DB_PORT": str(silent)}, 1, "Remedy: "),
        ):
            done = clone.run("serve", *arguments, **variables)
            assert done.returncode == code, done.stderr
            assert text in done.stderr
            assert "Traceback" not in done.stderr
            assert done.stdout == ""
    assert not (clone.data / "postgres").exists()


@pytest.mark.parametrize("sign", ["postgres.lock", "jwt-secret"])
def test_ctrl_c_during_the_start_undoes_the_start(clone: Clone, sign: str) -> None:
    process = subprocess.Popen(
        clone.command("serve", "--port", "0"),
        cwd=clone.folder,
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not (clone.data / sign).exists():
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=STOP_SECONDS_MAX)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert clone.database_processes() == []


def test_a_server_logs_json_and_a_replay_shares_its_database_with_commands_that_say_replay(
    clone: Clone,
) -> None:
    with serving(clone, "--port", "0", "--replay") as server:
        with server.client() as client:
            client.get("/health", headers={"X-Request-ID": "from-the-test"})
        begin_trading(server)
        listed = clone.run("info", "--replay")
        audited = clone.run("audit", "--replay")
        apart = clone.run("info")
        assert server.press_ctrl_c() == 0
    said = clone.output[0].splitlines()
    logged = [json.loads(text) for text in said if text.startswith("{")]
    line = next(line for line in logged if line["logger"] == "goblin.request")
    assert line["request_id"] == "from-the-test"
    assert next(text for text in said if not text.startswith("{")) == "goblin is up"

    assert listed.returncode == 0, listed.stderr
    head, rule, *rows = listed.stdout.splitlines()
    assert re.split(r"  +", head)[:3] == ["Category", "Version", "Description"]
    assert set(rule) == {"-", " "}
    files = sorted((clone.folder / "db" / "migration").glob("V*.sql"))
    assert len(rows) == len(files)
    assert all(row.startswith("Versioned  ") and row.endswith("  Success") for row in rows)
    assert audited.stdout.startswith("audited users: 1, entries: 2. "), audited.stderr

    _, _, *rows = apart.stdout.splitlines()
    assert len(rows) == len(files)
    assert all(row.endswith("  Pending") for row in rows), "the replay has used the live database"
    assert "; replays have the database goblin_replay to themselves\n" in clone.output[0]
