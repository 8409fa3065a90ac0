"""A recorded stream, had again: byte for byte, from anywhere, at any speed."""

import asyncio
import json
import os
import signal
import sys
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from app.__main__ import main
from app.clients.bybit_frames import News, parse_frame
from app.core.config import PROJECT
from app.domain.books import BookChange, OrderBook
from app.domain.instruments import Category, Symbol
from app.replay import ReplayError, ReplayExchange, replay, replay_exchange
from app.replay.recorder import Recorder, record
from websockets.asyncio.client import connect

SPOT = Category.SPOT
SYMBOLS = [Symbol("BTCUSDT"), Symbol("ETHUSDT")]
MINUTE_MS = 60_000


class Recording:
    """A quarter of an hour of the generated market, and what was heard of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first_ms = self.last_ms = 0
        self.category = Category.LINEAR

    def lines(self, symbol: str = "BTCUSDT") -> list[tuple[int, bytes]]:
        path = self.folder / f"bybit_{self.category}_{symbol}.frames"
        found = []
        for line in path.read_bytes().splitlines():
            head, _, raw = line.partition(b" ")
            found.append((int(head), raw))
        return found

    @property
    def topics(self) -> list[str]:
        return sorted(
            {json.loads(raw)["topic"] for symbol in SYMBOLS for _, raw in self.lines(symbol)}
        )


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module")
async def recording(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Recording]:
    made = Recording(tmp_path_factory.mktemp("recording"))
    async with replay_exchange() as exchange:
        clock, until = exchange.clock, asyncio.Event()
        clock.advance(MINUTE_MS // 2)  # a recording does not begin with a minute
        recorder = Recorder(
            SYMBOLS, category=made.category, folder=made.folder, now_ms=clock.now_ms
        )
        made.first_ms = clock.now_ms()
        working = asyncio.create_task(record(recorder, exchange.stream_url, until=until))
        await eventually(lambda: min(recorder.counts.values()) >= 4)  # each topic's first word

        async def ten_seconds() -> None:
            before = dict(recorder.counts)
            clock.advance(10_000)
            await eventually(lambda: recorder.counts != before)

        for _ in range(90):
            await ten_seconds()
        await asyncio.sleep(0.2)
        made.last_ms = clock.now_ms()
        until.set()
        await working
    yield made


async def test_a_frame_is_dated_by_the_clock_that_the_candles_go_by(tmp_path: Path) -> None:
    """Ours may be wrong, and a replay of another year can be recorded too."""
    ours = 1_795_253_512_006
    recorder = Recorder([SYMBOLS[0]], category=SPOT, folder=tmp_path, now_ms=lambda: ours)
    for said_ms in (1_748_762_018_976, 1_748_762_019_000, 1_748_762_018_999):
        recorder.hear_raw(SPOT, f'{{"topic":"tickers.BTCUSDT","ts":{said_ms},"data":{{}}}}')
    recorder.close()
    written = (tmp_path / "bybit_spot_BTCUSDT.frames").read_text().splitlines()
    assert [line.partition(" ")[0] for line in written] == [
        "1748762018976",
        "1748762019000",
        "1748762019000",
    ]


def test_a_recorder_that_heard_nothing_leaves_no_file_that_spoils_its_folder(
    tmp_path: Path,
) -> None:
    recorder = Recorder(SYMBOLS, category=SPOT, folder=tmp_path, now_ms=lambda: 7)
    recorder.hear_raw(SPOT, f'{{"topic":"tickers.{SYMBOLS[0]}","ts":5,"data":{{}}}}')
    recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == [f"bybit_spot_{SYMBOLS[0]}.frames"]


async def heard_again(
    exchange: ReplayExchange, recording: Recording, times_ms: Sequence[int]
) -> list[bytes]:
    """What a subscriber to everything is told while the clock is stepped past these times."""
    heard: list[bytes] = []
    url = f"{exchange.stream_url}/v5/public/{recording.category}"
    async with connect(url, proxy=None, open_timeout=60) as connection, asyncio.timeout(30):
        await connection.send(json.dumps({"op": "subscribe", "args": recording.topics}))
        assert json.loads(await connection.recv())["success"]
        while len(heard) < len(times_ms):
            exchange.clock.advance(7_000)
            due = bisect_right(times_ms, exchange.clock.now_ms())
            while len(heard) < due:
                heard.append(await connection.recv(decode=False))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                heard.append(await connection.recv(decode=False))
    return heard


async def test_what_was_recorded_is_told_again_byte_for_byte_and_in_its_order(
    recording: Recording,
) -> None:
    lines = sorted(
        (
            (at_ms, number, raw)
            for s in SYMBOLS
            for number, (at_ms, raw) in enumerate(recording.lines(s))
        )
    )
    async with replay(recording.folder, speed=0) as exchange:
        exchange.clock.set(recording.first_ms - 1)
        heard = await heard_again(exchange, recording, [at_ms for at_ms, _, _ in lines])
    assert len(heard) == len(lines) > 500
    assert sorted(heard) == sorted(raw for _, _, raw in lines)
    for symbol in SYMBOLS:
        mine = [raw for raw in heard if json.loads(raw)["topic"].endswith(symbol)]
        assert mine == [raw for _, raw in recording.lines(symbol)]


async def test_whoever_comes_late_gets_the_state_and_then_exactly_the_rest(
    recording: Recording,
) -> None:
    middle_ms = (recording.first_ms + recording.last_ms) // 2
    name = "orderbook.50.BTCUSDT"
    rest = [
        raw
        for at_ms, raw in recording.lines()
        if json.loads(raw)["topic"] == name and at_ms > middle_ms
    ]
    whole, late = OrderBook(), OrderBook()
    for _, raw in recording.lines():
        frame = parse_frame(raw, recording.category)
        assert isinstance(frame, News)
        if json.loads(raw)["topic"] == name and isinstance(frame.content, BookChange):
            whole.apply(frame.content)
    async with replay(recording.folder, speed=0) as exchange:
        exchange.clock.set(middle_ms)
        url = f"{exchange.stream_url}/v5/public/{recording.category}"
        async with connect(url, proxy=None, open_timeout=60) as connection, asyncio.timeout(30):
            await connection.send(json.dumps({"op": "subscribe", "args": [name]}))
            await connection.recv()
            heard = [await connection.recv(decode=False)]
            exchange.clock.advance(recording.last_ms - middle_ms)
            while len(heard) < len(rest) + 1:
                heard.append(await connection.recv(decode=False))
    assert heard[1:] == rest
    for raw in heard:
        frame = parse_frame(raw, recording.category)
        assert isinstance(frame, News)
        assert isinstance(frame.content, BookChange)
        late.apply(frame.content)
    assert late.now(depth=50) == whole.now(depth=50)


async def test_the_rest_side_of_a_recording_has_the_same_candles_and_says_what_is_recorded(
    recording: Recording,
) -> None:
    told: dict[int, dict[str, str]] = {}
    for _, raw in recording.lines():
        document = json.loads(raw)
        if document["topic"] == "kline.1.BTCUSDT":
            told |= {row["start"]: row for row in document["data"] if row["confirm"]}
    async with replay(recording.folder, speed=0) as exchange:
        exchange.clock.set(recording.last_ms)
        async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as http:
            query = {"category": recording.category, "symbol": "BTCUSDT", "interval": "1"}
            rows = (await http.get("/v5/market/kline", params=query)).json()["result"]["list"]
            overview = (await http.get("/control")).json()
    assert len(told) >= 14
    served = {int(row[0]): row for row in rows}
    for start, row in told.items():
        assert Decimal(served[start][4]) == Decimal(row["close"])
        assert Decimal(served[start][5]) == Decimal(row["volume"])
    recorded = {
        instrument["symbol"]: instrument["recorded"]
        for instrument in overview["instruments"]
        if instrument["category"] == recording.category
    }
    assert recorded["BTCUSDT"] == [name for name in recording.topics if name.endswith("BTCUSDT")]


async def test_a_recording_starts_where_it_is_told_to_at_the_speed_it_is_told(
    recording: Recording,
) -> None:
    start_ms = recording.first_ms + 5 * MINUTE_MS
    async with replay(recording.folder, start=str(start_ms), speed=60) as exchange:
        assert 0 <= exchange.clock.now_ms() - start_ms < 10 * MINUTE_MS
        assert exchange.clock.speed == 60


def test_a_recorder_that_was_killed_in_a_line_goes_on_after_the_last_whole_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bybit_spot_BTCUSDT.frames"
    whole = b'5 {"topic":"tickers.BTCUSDT","type":"snapshot"}\n'
    path.write_bytes(whole + b'6 {"topic":"tick')
    recorder = Recorder([SYMBOLS[0]], category=SPOT, folder=tmp_path, now_ms=lambda: 7)
    recorder.hear_raw(SPOT, '{"topic":"tickers.BTCUSDT",\n"type":"delta"}')
    recorder.hear_raw(SPOT, '{"op":"ping","success":true}')
    recorder.hear_raw(SPOT, '{"topic":"tickers.OTHERUSDT"}')
    recorder.close()
    assert path.read_bytes() == whole + b'7 {"topic":"tickers.BTCUSDT", "type":"delta"}\n'


@pytest.mark.parametrize(("said_ms", "is_kept"), [(99_000, True), (100_001, True), (7, False)])
def test_what_is_recorded_into_a_folder_again_never_spoils_what_it_has(
    tmp_path: Path, *, said_ms: int, is_kept: bool
) -> None:
    """A frame may be a moment older than the last; one of another day belongs elsewhere."""
    path = tmp_path / "bybit_spot_BTCUSDT.frames"
    before = b'100000 {"topic":"tickers.BTCUSDT"}\n'
    path.write_bytes(before)
    recorder = Recorder([SYMBOLS[0]], category=SPOT, folder=tmp_path, now_ms=lambda: 7)
    raw = f'{{"topic":"tickers.BTCUSDT","ts":{said_ms},"data":{{}}}}'
    recorder.hear_raw(SPOT, raw)
    recorder.close()
    after = f"{max(said_ms, 100_000)} {raw}\n".encode() if is_kept else b""
    assert path.read_bytes() == before + after
    assert recorder.is_too_early is not is_kept


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello\n", "line 1 is not a time and a frame"),
        (b'5 {"op":"ping"}\n', "line 1 is not a time and a frame"),
        (b'9999999999999999 {"topic":"x"}\n', "line 1: ts is not a time in milliseconds"),
        (
            b'5 {"topic":"tickers.BTCUSDT"}\n4 {"topic":"tickers.BTCUSDT"}\n',
            "line 2 is from before",
        ),
        (b'5 {"topic":"tickers.BTCUSDT"}\n', "no kline.1 frame"),
        (b'5 {"topic":"kline.1.BTCUSDT","data":[]}\n', "KeyError"),
        (b"", "no kline.1 frame"),
    ],
)
async def test_a_file_that_is_no_recording_says_what_is_wrong_with_it(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "bybit_spot_BTCUSDT.frames"
    path.write_bytes(content)
    with pytest.raises(ReplayError, match=reason):
        async with replay(path):
            pass


async def test_the_command_records_until_it_is_interrupted_and_says_what_it_has(
    tmp_path: Path,
) -> None:
    async with replay_exchange() as exchange:
        exchange.clock.set_speed(50)
        url = exchange.stream_url.replace("//", "//ada:hidden@")
        env = {**os.environ, "BYBIT_STREAM_URL": url, "JWT_SECRET_KEY": ""}
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "record", "btcusdt", "ETHUSDT", "--to", str(tmp_path)),
            cwd=PROJECT,
            env=env,
            stdout=asyncio.subprocess.PIPE,
        )
        path = tmp_path / "bybit_spot_ETHUSDT.frames"
        await eventually(lambda: path.exists() and path.stat().st_size > 10_000)
        child.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            output, _ = await child.communicate()
    assert child.returncode == 0
    assert str(path) in output.decode()
    assert "hidden" not in output.decode()
    names = {
        json.loads(line.partition(b" ")[2])["topic"] for line in path.read_bytes().splitlines()
    }
    assert {"tickers.ETHUSDT", "orderbook.50.ETHUSDT", "kline.1.ETHUSDT"} <= names


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["BTC/USDT"], "BTC/USDT"),
        (["BTCUSDT", "--minutes", "0"], "--minutes"),
        (["BTCUSDT", "--minutes", "nan"], "--minutes"),
    ],
)
def test_the_command_refuses_what_it_cannot_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(["record", *arguments, "--to", str(tmp_path / "new")]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_said_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["record", "BTCUSDT", "--to", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"goblin: cannot write to {tmp_path / 'file'}: File exists\n"


async def test_a_recording_that_fills_the_disk_ends_and_says_so(tmp_path: Path) -> None:
    async with replay_exchange() as exchange:
        exchange.clock.set_speed(50)
        arguments = [sys.executable, "-m", "app", "record", "BTCUSDT", "--to", str(tmp_path)]
        child = await asyncio.create_subprocess_exec(
            *("bash", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$@"', "bash", *arguments),
            cwd=PROJECT,
            env={**os.environ, "BYBIT_BASE_URL": exchange.base_url, "JWT_SECRET_KEY": ""},
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            _, errors = await child.communicate()
    assert child.returncode == 1
    assert f"goblin: cannot write to {tmp_path}: File too large\n" in errors.decode()
    assert "Traceback" not in errors.decode()
