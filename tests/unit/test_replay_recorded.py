import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from app.domain.instruments import Category
from app.replay.candles import DAY_MS, MINUTE_MS, Interval
from app.replay.clock import parse_instant_ms
from app.replay.errors import UnreadableRecording
from app.replay.history import RecordedHistory, Track
from app.replay.market import Instrument, Market
from app.replay.recorded import recorded_market
from tests.unproven import unproven

PROJECT = Path(__file__).parents[2]
CANDLES = PROJECT.parent / "shared" / "data" / "candles"
FIRST_MS = 1_700_000_100_000  # a multiple of five minutes
HEADER = "ts,open,high,low,close,volume"


@pytest.fixture
def candles() -> Path:
    if not CANDLES.is_dir():
        unproven(f"no recorded market data in {CANDLES}")
    return CANDLES


def write(folder: Path, name: str, *prices: int, first_ms: int = FIRST_MS, step: int = 1) -> Path:
    """A file of flat candles, one for each price; a price of 0 is a gap."""
    rows = [
        f"{first_ms + number * step * MINUTE_MS},{price},{price},{price},{price},{step}"
        for number, price in enumerate(prices)
        if price
    ]
    file = folder / name
    file.write_text("\n".join([HEADER, *rows, ""]))
    return file


def find(
    market: Market, symbol: str = "BTCUSDT", category: Category = Category.LINEAR
) -> Instrument:
    instrument = market.find(category, symbol)
    assert instrument is not None
    return instrument


def opens(instrument: Instrument, interval: str) -> list[tuple[int, int]]:
    """Minutes since FIRST_MS and open prices of all candles of an interval."""
    rows = instrument.history.window(
        Interval(interval), first_ms=0, last_ms=10**13, limit=1000, newest=True
    )
    return [((row.open_ms - FIRST_MS) // MINUTE_MS, int(row.open)) for row in rows]


def test_numbers_are_taken_exactly_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "bybit_spot_PEPEUSDT_1.csv"
    file.write_text(
        "volume,close,ts,low,high,open,turnover,extra\n"
        f"7.10,0.00000130,{FIRST_MS},0.0000012345678901234567890,0.0000014,1.3E-6,9.2,x\n"
    )
    (row,) = find(recorded_market(file), "PEPEUSDT", Category.SPOT).history.window(
        Interval("1"), first_ms=0, last_ms=10**13, limit=9, newest=True
    )
    assert str(row.low) == "0.0000012345678901234567890"
    assert (row.open, row.close) == (Decimal("0.0000013"), Decimal("0.0000013"))
    assert (str(row.volume), str(row.turnover)) == ("7.10", "9.2")


def test_an_instrument_is_listed_exactly_while_it_is_recorded(tmp_path: Path) -> None:
    market = recorded_market(write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10, 11))
    bitcoin = find(market)
    assert market.start_ms == market.first_ms == FIRST_MS
    assert market.last_ms == FIRST_MS + 2 * MINUTE_MS - 1
    assert bitcoin.price(FIRST_MS - 1) is None
    assert bitcoin.price(FIRST_MS) == 10
    assert bitcoin.price(market.last_ms) == 11
    assert bitcoin.price(market.last_ms + 1) is None


def test_in_a_gap_the_last_price_stays(tmp_path: Path) -> None:
    bitcoin = find(recorded_market(write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10, 0, 0, 13)))
    assert bitcoin.price(FIRST_MS + 2 * MINUTE_MS) == 10
    assert bitcoin.price(FIRST_MS + 3 * MINUTE_MS) == 13


def test_the_finest_recording_makes_the_price_and_coarser_ones_fill_in(tmp_path: Path) -> None:
    write(tmp_path, "bybit_linear_BTCUSDT_5.csv", 50, 55, 60, step=5)
    write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 1, 2, 3, 4, 5, first_ms=FIRST_MS + 5 * MINUTE_MS)
    bitcoin = find(recorded_market(tmp_path))
    prices = [bitcoin.price(FIRST_MS + minute * MINUTE_MS) for minute in (0, 5, 6, 9, 10)]
    assert prices == [50, 1, 2, 5, 60]


def test_an_interval_is_served_from_its_own_file_and_resampled_where_that_has_nothing(
    tmp_path: Path,
) -> None:
    write(tmp_path, "bybit_linear_BTCUSDT_5.csv", 50, step=5)
    write(tmp_path, "bybit_linear_BTCUSDT_1.csv", *range(1, 11))
    bitcoin = find(recorded_market(tmp_path))
    assert opens(bitcoin, "5") == [(0, 50), (5, 6)]
    assert opens(bitcoin, "1") == [(minute, minute + 1) for minute in range(10)]
    assert opens(bitcoin, "3")[:2] == [(0, 1), (3, 4)]


def test_several_files_of_one_interval_are_one_history(tmp_path: Path) -> None:
    write(tmp_path, "bybit_linear_BTCUSDT_1_monday.csv", 1, 2)
    write(tmp_path, "bybit_linear_BTCUSDT_1_tuesday.csv", 3, 4, first_ms=FIRST_MS + 2 * MINUTE_MS)
    bitcoin = find(recorded_market(tmp_path))
    assert opens(bitcoin, "1") == [(0, 1), (1, 2), (2, 3), (3, 4)]
    day = bitcoin.day(FIRST_MS + 4 * MINUTE_MS - 1)
    assert [day.open, day.high, day.low, day.close, day.volume] == [1, 4, 1, 4, 4]


def test_the_last_day_is_at_most_24_hours(tmp_path: Path) -> None:
    prices = [1, *[5] * 1440, 9]
    bitcoin = find(recorded_market(write(tmp_path, "bybit_linear_BTCUSDT_1.csv", *prices)))
    assert bitcoin.day(FIRST_MS + DAY_MS - 1).low == 1
    assert bitcoin.day(FIRST_MS + DAY_MS).low == 5
    whole = bitcoin.day(FIRST_MS + DAY_MS + 2 * MINUTE_MS - 1)
    assert [whole.high, whole.low, whole.volume] == [9, 5, 1440]


def test_what_is_recorded_as_linear_can_be_traded_as_spot_unless_it_must_not(
    tmp_path: Path,
) -> None:
    file = write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10)
    assert find(recorded_market(file), category=Category.SPOT).price(FIRST_MS) == 10
    assert recorded_market(file, also=()).find(Category.SPOT, "BTCUSDT") is None


def test_a_spot_recording_goes_before_the_linear_one_as_long_as_it_runs(tmp_path: Path) -> None:
    write(tmp_path, "bybit_spot_BTCUSDT_5.csv", 500, step=5)
    write(tmp_path, "bybit_linear_BTCUSDT_1.csv", *range(1, 11))
    spot = find(recorded_market(tmp_path), category=Category.SPOT)
    assert spot.price(FIRST_MS + 4 * MINUTE_MS) == 500
    assert spot.price(FIRST_MS + 5 * MINUTE_MS) == 6
    assert "bybit_spot_BTCUSDT_5.csv; where that has nothing, as linear" in spot.source


def test_inverse_contracts_are_never_sold_as_spot(tmp_path: Path) -> None:
    market = recorded_market(write(tmp_path, "bybit_inverse_BTCUSD_1.csv", 10))
    assert list(market.instruments) == [(Category.INVERSE, "BTCUSD")]


def test_bybits_recording_goes_before_another_venues_of_the_same_symbol(tmp_path: Path) -> None:
    write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10)
    write(tmp_path, "binance_spot_BTCUSDT_1m.csv", 99)
    write(tmp_path, "binance_usdm_ETHUSDT_1m.csv", 20)
    market = recorded_market(tmp_path)
    assert find(market, category=Category.SPOT).price(FIRST_MS) == 10
    assert find(market, "ETHUSDT").price(FIRST_MS) == 20
    assert market.left_out == ["binance_spot_BTCUSDT_1m.csv: bybit recorded BTCUSDT too"]


def test_files_that_hold_no_last_prices_are_left_out_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10)
    for name in ("notes.csv", "binance_usdm_XRPUSDT_1h_mark.csv", "x_forex_EURUSD_1h.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "bybit_linear_BTCUSDT_8h.csv").write_text("")
    (tmp_path / "README.md").write_text("")
    left_out = recorded_market(tmp_path).left_out
    assert [line.partition(":")[0] for line in left_out] == [
        "binance_usdm_XRPUSDT_1h_mark.csv",
        "bybit_linear_BTCUSDT_8h.csv",
        "notes.csv",
        "x_forex_EURUSD_1h.csv",
    ]


def test_the_clock_starts_where_most_symbols_have_their_finest_candles(tmp_path: Path) -> None:
    later_ms = FIRST_MS + 60 * MINUTE_MS
    write(tmp_path, "bybit_linear_AUSDT_1.csv", *[1] * 90)
    write(tmp_path, "bybit_linear_BUSDT_1.csv", 2, first_ms=later_ms)
    for symbol in "CDE":
        write(tmp_path, f"bybit_linear_{symbol}USDT_5.csv", 3, step=5)
    assert recorded_market(tmp_path).start_ms == later_ms


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{ts},10,9,8,10,1", "low <= open and close <= high"),
        ("{ts},10,11,10.5,11,1", "low <= open and close <= high"),
        ("{ts},0,0,0,0,1", "all above 0"),
        ("{ts},10,10,10,10,-1", "volume not below"),
        ("{ts},NaN,10,10,10,1", "not finite"),
        ("{ts},ten,10,10,10,1", "ten is not a number"),
        ("{ts},10", "None is not a number"),
        ("{ts},1e999999,1e999999,1e999999,1e999999,1", "no market has a price or volume of 1e9"),
        ("{ts}000,10,10,10,10,1", "not in milliseconds since 1970"),
        ("1700000160001,10,10,10,10,1", "not the open time"),
        ("{first},10,10,10,10,1", "ts does not ascend"),
    ],
)
def test_a_broken_row_is_named_with_its_file(tmp_path: Path, row: str, reason: str) -> None:
    file = write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10, 0, 12)
    good_first, good_last = file.read_text().splitlines()[1:]
    bad = row.format(ts=FIRST_MS + MINUTE_MS, first=FIRST_MS)
    file.write_text(f"{HEADER}\n{good_first}\n{bad}\n{good_last}")
    with pytest.raises(UnreadableRecording, match=f"BTCUSDT_1.csv: row 2.*{reason}"):
        find(recorded_market(file)).price(FIRST_MS)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("prices.csv", "", "its name is not <venue>_"),
        ("bybit_linear_BTCUSDT_8h.csv", "", "interval 8h is none of 1, 3, 5"),
        ("bybit_linear_BTCUSDT_1.csv", "", "no column ts, open"),
        ("bybit_linear_BTCUSDT_1.csv", "ts,open,high,low,close\n", "no column volume"),
        ("bybit_linear_BTCUSDT_1.csv", f"{HEADER}\n", "no ts"),
        ("bybit_linear_BTCUSDT_1.csv", f"{HEADER},ts\n1,1,1,1,1,1,1", "more than one column ts"),
        ("bybit_linear_BTCUSDT_1.csv", f"{HEADER}\n{FIRST_MS}000,1,1,1,1,1", "milliseconds: .* 21"),
        ("bybit_linear_BTCUSDT.csv", "", "it is empty"),
        ("bybit_linear_BTCUSDT.csv", "ts,price,size,side,price\n1,1,1,buy,1", "one column price"),
        ("bybit_linear_BTCUSDT.csv", f"ts,price,size,side\n{FIRST_MS}000,1,1,buy", "milliseconds"),
        (
            "bybit_linear_BTCUSDT.csv",
            f'ts,price,size,side\n1,1,1,"{"9" * 2**17}9',
            "not a CSV file",
        ),
        (
            "bybit_linear_BTCUSDT.csv.gz",
            "",
            "it is packed: unpack it first, to bybit_linear_BTCUSDT",
        ),
        ("bybit_linear_BTCUSDT_1.parquet", "PAR1 but not really", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UnreadableRecording, match=reason):
        recorded_market(tmp_path / name)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: b"\xef\xbb\xbf" + text,  # as spreadsheets save it
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"," + "é".encode() * 3000 + b"\n", 1),
        lambda text: text.replace(b"\n", b"," + "é".encode() * 3000 + b"x\n", 1),
        lambda text: text + b",a note with \xe9",
    ],
    ids=["a byte order mark", "CR LF", "letters of two bytes", "and one more", "no UTF-8"],
)
def test_a_candle_file_may_come_from_another_program(
    tmp_path: Path, rewrite: Callable[[bytes], bytes]
) -> None:
    file = write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10, 12)
    file.write_bytes(rewrite(file.read_bytes().rstrip()))
    assert find(recorded_market(file)).price(FIRST_MS + MINUTE_MS) == 12


def test_an_empty_or_missing_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecording, match=r"nothing to replay, .* names are <venue>_"):
        recorded_market(tmp_path)
    with pytest.raises(UnreadableRecording, match="no such file or folder"):
        recorded_market(tmp_path / "nowhere")


def test_a_folder_of_folders_is_one_market_of_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "candles").mkdir()
    (tmp_path / "others").mkdir()
    write(tmp_path / "candles", "bybit_linear_BTCUSDT_1.csv", 10)
    write(tmp_path / "others", "bybit_linear_ETHUSDT_1.csv", 20)
    (tmp_path / "others" / "notes.csv").write_text("a,b\n")
    market = recorded_market(tmp_path)
    assert [find(market, symbol).price(FIRST_MS) for symbol in ("BTCUSDT", "ETHUSDT")] == [10, 20]
    assert market.left_out[0].startswith("others/notes.csv: its name is not <venue>_")
    write(tmp_path, "bybit_linear_SOLUSDT_1.csv", 30)
    own = {symbol for _, symbol in recorded_market(tmp_path).instruments}
    assert own == {"SOLUSDT"}, "a folder with files of its own is meant by itself"


def test_a_folder_without_anything_to_replay_says_why_its_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "bybit_linear_BTCUSDT_1m_quotes.csv").write_text("ts,bid_open\n1,2\n")
    with pytest.raises(UnreadableRecording, match=r"quotes.csv: candles have the columns ts, open"):
        recorded_market(tmp_path)


def test_without_pyarrow_csv_works_and_parquet_says_what_to_install(tmp_path: Path) -> None:
    write(tmp_path, "bybit_linear_BTCUSDT_1.csv", 10)
    (tmp_path / "bybit_linear_BTCUSDT_1.parquet").write_bytes(b"PAR1")
    program = f"""
import sys
sys.modules["pyarrow"] = None  # as where it is not installed
from pathlib import Path
from app.replay import ReplayError, recorded_market
folder = Path({str(tmp_path)!r})
print(len(recorded_market(folder / "bybit_linear_BTCUSDT_1.csv").instruments))
try:
    recorded_market(folder / "bybit_linear_BTCUSDT_1.parquet")
except ReplayError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout.startswith("2\n")
    assert "pip install -r requirements-research.txt" in done.stdout


def test_the_folder_of_recorded_candles_opens_without_reading_a_candle(candles: Path) -> None:
    market = recorded_market(candles)
    tracks: list[Track] = [
        track
        for instrument in market.instruments.values()
        if isinstance(instrument.history, RecordedHistory)
        for track in instrument.history.tracks
    ]
    assert len(tracks) > 20
    assert not any("candles" in vars(track) for track in tracks)
    assert market.start_ms == parse_instant_ms("2025-05-30T16:41Z")  # SOL's first minute
    listed = [instrument.symbol for instrument in market.listed(Category.SPOT, market.start_ms)]
    assert listed == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


@pytest.mark.parametrize("interval", ["5", "15", "30", "60", "240"])
def test_resampled_minutes_are_the_exchanges_own_candles(candles: Path, interval: str) -> None:
    minutes = find(recorded_market(candles / "bybit_linear_ETHUSDT_1.parquet"), "ETHUSDT")
    own = find(recorded_market(candles / f"bybit_linear_ETHUSDT_{interval}.parquet"), "ETHUSDT")
    first_ms = parse_instant_ms("2025-06-01")
    mine, theirs = (
        instrument.history.window(
            Interval(interval), first_ms=first_ms, last_ms=10**13, limit=10_000, newest=True
        )
        for instrument in (minutes, own)
    )
    assert len(mine) > 100
    assert [(row.open_ms, row.open, row.high, row.low, row.close) for row in mine] == [
        (row.open_ms, row.open, row.high, row.low, row.close) for row in theirs
    ]
    assert all(
        abs(left.volume - right.volume) <= Decimal("1e-6")  # the files' own binary rounding
        for left, right in zip(mine, theirs, strict=True)
    )
