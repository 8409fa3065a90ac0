"""Recorded ticks make prices, candles and trades, whatever the file and however it is cut."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from app.domain.instruments import Category
from app.replay import recorded_market
from app.replay.book import order_book, trades_between
from app.replay.candles import DAY_MS, MINUTE_MS, Candle, Interval
from app.replay.errors import UnreadableRecording
from app.replay.market import Instrument, Market
from app.replay.tables import BLOCK_ROWS, BLOCKS_KEPT
from pyarrow import parquet

FIRST_MS = 1_700_000_100_000  # a multiple of five minutes
TRADES = "ts,trade_id,price,size,taker_side"
BEST = "ts,bid,bid_size,ask,ask_size"
CANDLES = "ts,open,high,low,close,volume"


def write(file: Path, header: str, *rows: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([header, *rows, ""]))
    return file


def tape(
    folder: Path, *trades: tuple[int, str, str], name: str = "bybit_spot_BTCUSDT_1.csv"
) -> Path:
    """Trades (milliseconds since FIRST_MS, price, size), all of them bought."""
    rows = [
        f"{FIRST_MS + at_ms},t{number},{price},{size},Buy"
        for number, (at_ms, price, size) in enumerate(trades)
    ]
    return write(folder / name, TRADES, *rows)


def bitcoin(market: Market, category: Category = Category.SPOT) -> Instrument:
    found = market.find(category, "BTCUSDT")
    assert found is not None
    return found


def klines(instrument: Instrument, interval: str, *, now_ms: int) -> list[Candle]:
    return instrument.klines(
        Interval(interval), first_ms=0, last_ms=now_ms, limit=100_000, newest=True, now_ms=now_ms
    )


def numbers(candle: Candle) -> tuple[int | Decimal, ...]:
    return (
        candle.open_ms, candle.open, candle.high, candle.low, candle.close, candle.volume,
    )  # fmt: skip


@pytest.mark.parametrize(("interval", "count"), [("1", 2469), ("5", 706)])
def test_candles_of_a_tape_are_those_that_somebody_else_made_of_it(
    shared_data: Path, interval: str, count: int
) -> None:
    folder = shared_data / "trades"
    made = recorded_market(folder / "binance_spot_XRPETH_freqtrade.parquet")
    theirs = recorded_market(folder / f"binance_spot_XRPETH_{interval}m_candles.parquet")
    mine, others = (
        market.instruments[Category.SPOT, "XRPETH"].history.window(
            Interval(interval), first_ms=0, last_ms=10**13, limit=10_000, newest=True
        )
        for market in (made, theirs)
    )
    assert len(mine) == count
    assert [numbers(candle) for candle in mine] == [numbers(candle) for candle in others]


def test_the_price_is_the_last_trades_and_a_forming_candle_holds_exactly_what_was_traded(
    tmp_path: Path,
) -> None:
    file = tape(
        tmp_path,
        (5, "100.10", "1"), (5, "99.5", "2"), (900, "101", "0.001"), (59_999, "100", "1"),
        (60_000, "103", "4"), (200_000, "104", "1"),
    )  # fmt: skip
    market = recorded_market(file)
    traded = bitcoin(market)
    assert (market.start_ms, market.last_ms) == (FIRST_MS + 5, FIRST_MS + 200_000)
    assert traded.price(FIRST_MS + 4) is None
    prices = [traded.price(FIRST_MS + at_ms) for at_ms in (5, 899, 900, 59_999, 60_000, 199_999)]
    assert prices == [Decimal(text) for text in ("99.5", "99.5", "101", "100", "103", "103")]

    (forming,) = klines(traded, "1", now_ms=FIRST_MS + 950)
    assert numbers(forming) == (
        FIRST_MS, *map(Decimal, ("100.10", "101", "99.5", "101", "3.001")),
    )  # fmt: skip
    closed, forming = klines(traded, "1", now_ms=FIRST_MS + 60_000)
    assert numbers(closed)[4:] == (Decimal(100), Decimal("4.001"))
    assert numbers(forming)[1:] == tuple(map(Decimal, (103, 103, 103, 103, 4)))
    assert [candle.open_ms for candle in klines(traded, "1", now_ms=FIRST_MS + 199_999)] == [
        FIRST_MS, FIRST_MS + MINUTE_MS,
    ], "a minute without a trade has no candle"  # fmt: skip
    (five,) = klines(traded, "5", now_ms=FIRST_MS + 61_000)
    assert numbers(five)[1:] == tuple(map(Decimal, ("100.10", "103", "99.5", "103", "8.001")))
    day = traded.day(FIRST_MS + 61_000)
    assert [day.open, day.high, day.low, day.volume] == [
        Decimal(n) for n in ("100.10", "103", "99.5", "8.001")
    ]
    assert traded.day(FIRST_MS + 900).volume == Decimal("3.001"), "back in time"


def test_at_every_instant_the_day_is_the_sum_of_its_trades(shared_data: Path) -> None:
    file = shared_data / "trades" / "binance_spot_XRPETH_freqtrade.parquet"
    table = parquet.read_table(file, columns=["ts", "price", "amount"])
    rows = [(row["ts"], Decimal(str(row["price"])), Decimal(str(row["amount"])))
            for row in table.to_pylist()]  # fmt: skip
    instrument = recorded_market(file).instruments[Category.SPOT, "XRPETH"]
    for now_ms, *_ in rows[::1500]:
        day = instrument.day(now_ms)
        begin_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS - DAY_MS
        seen = [row for row in rows if begin_ms <= row[0] <= now_ms]
        assert day.open == seen[0][1]
        assert day.volume == sum(size for *_, size in seen)
        assert (day.high, day.low) == (max(row[1] for row in seen), min(row[1] for row in seen))
        assert day.close == seen[-1][1] == instrument.price(now_ms)


@pytest.mark.parametrize("form", ["grouped.parquet", "rows.csv", "exact.parquet"])
def test_a_tape_is_the_same_however_it_is_cut_and_only_a_few_blocks_of_it_stay_in_memory(
    tmp_path: Path, form: str
) -> None:
    count = 70_000
    times = [FIRST_MS + number // 3 * 10 for number in range(count)]
    texts = [f"{100 + number % 977 / 100:.2f}" for number in range(count)]
    file = tmp_path / f"bybit_spot_BTCUSDT_{form}"
    if form == "rows.csv":
        write(file, TRADES, *(f"{at},{n},{texts[n]},1,Sell" for n, at in enumerate(times)))
    else:
        kind = pa.decimal128(10, 2) if form == "exact.parquet" else pa.float64()
        prices = [Decimal(text) if form == "exact.parquet" else float(text) for text in texts]
        table = pa.table(
            {
                "ts": times,
                "price": pa.array(prices, kind),
                "size": [1] * count,
                "side": ["sell"] * count,
            }
        )
        parquet.write_table(
            table, file, row_group_size=3_001 if form == "grouped.parquet" else None
        )
    instrument = bitcoin(recorded_market(file))
    assert instrument.ticks is not None
    for at in (0, 3_000, 16_383, 16_384, 65_537, count - 4):
        from_ms = times[at]
        ticks = list(instrument.ticks.ticks(from_ms - 1, from_ms + 20_000))
        wanted = [number for number in range(count) if from_ms <= times[number] <= from_ms + 20_000]
        assert [tick.number - 1 for tick in ticks] == wanted
        assert [tick.price for tick in ticks] == [Decimal(texts[number]) for number in wanted]
        assert instrument.price(from_ms) == Decimal(
            texts[at - at % 3 + min(2, count - 1 - at + at % 3)]
        )
        newest = instrument.ticks.newest_ticks(times[-1], 5)
        assert [tick.number for tick in newest] == list(range(count, count - 5, -1))
    (tape_file,) = instrument.ticks.tapes
    kept = tape_file.trades.rows.kept
    assert 0 < len(kept) <= BLOCKS_KEPT
    assert max(len(rows) for _, rows in kept.values()) <= BLOCK_ROWS


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        (TRADES, "{ts},7,0,1,Buy", "price and size are above 0"),
        (TRADES, "{ts},7,10,-1,Buy", "price and size are above 0"),
        (TRADES, "{ts},7,nan,1,Buy", "not finite"),
        (TRADES, "{ts},7,ten,1,Buy", "ten is not a number"),
        (TRADES, "{ts},7,10", "None is not a number"),
        (TRADES, "{ts},7,10,1,Both", "the taker's side is Buy or Sell"),
        (TRADES, "{first},7,10,1,Buy", "ts does not ascend"),
        (TRADES, "soon,7,10,1,Buy", "ts is not a time in milliseconds since 1970"),
        (TRADES, "-1,7,10,1,Buy", "ts is not a time in milliseconds since 1970"),
        (BEST, "{ts},10,1,10,1", "0 < bid < ask"),
        (BEST, "{ts},10,0,11,1", "sizes are above 0"),
        (BEST, "{ts},10,1,11", "None is not a number"),
    ],
)
def test_a_broken_row_is_named_with_its_file_before_anything_is_served(
    tmp_path: Path, header: str, row: str, reason: str
) -> None:
    good = {TRADES: "{ts},7,10,1,Buy", BEST: "{ts},10,1,11,1"}[header]
    tape(tmp_path, (0, "10", "1"))
    write(
        tmp_path / "bybit_spot_BTCUSDT_broken.csv",
        header,
        good.format(ts=FIRST_MS + 5),
        row.format(ts=FIRST_MS + 6, first=FIRST_MS),
        good.format(ts=FIRST_MS + 7),
    )
    with pytest.raises(UnreadableRecording, match=rf"BTCUSDT_broken.csv: row 2: \[.*{reason}"):
        recorded_market(tmp_path)


def test_a_null_in_a_parquet_file_is_a_broken_row(tmp_path: Path) -> None:
    file = tmp_path / "bybit_spot_BTCUSDT_1.parquet"
    table = pa.table({"ts": [1, 2], "price": [1.5, None], "size": [1, 1], "side": ["buy", "buy"]})
    parquet.write_table(table, file)
    with pytest.raises(
        UnreadableRecording, match=r"row 2: \[2, None, 1, 'buy'\]: None is not a nu"
    ):
        recorded_market(file)


def test_a_table_without_rows_and_best_prices_without_a_price_say_what_is_missing(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnreadableRecording, match="it has no rows"):
        recorded_market(write(tmp_path / "bybit_spot_BTCUSDT_empty.csv", TRADES))
    best = write(tmp_path / "below" / "bybit_spot_BTCUSDT.csv", BEST, f"{FIRST_MS},10,1,11,1")
    with pytest.raises(UnreadableRecording, match="that has trades or candles of BTCUSDT too"):
        recorded_market(best)
    with pytest.raises(UnreadableRecording, match="no trades or candles of bybit's BTCUSDT"):
        recorded_market(tmp_path / "below")


def test_recorded_best_prices_stand_on_top_of_the_book_while_they_are_recorded(
    tmp_path: Path,
) -> None:
    tape(tmp_path, (0, "100", "1"), (9_000, "104", "1"))
    write(
        tmp_path / "bybit_spot_BTCUSDT_best.csv", BEST,
        f"{FIRST_MS + 1000},99.5,3,100.5,4", f"{FIRST_MS + 1000},99.75,0.25,100.5,4",
        f"{FIRST_MS + 2000},98,1,99,2",
    )  # fmt: skip
    traded = bitcoin(recorded_market(tmp_path))
    bids, asks = order_book(traded, FIRST_MS + 1500, depth=3)
    assert bids[0] == (Decimal("99.75"), Decimal("0.25"))
    assert asks[0] == (Decimal("100.5"), Decimal(4))
    assert [price for price, _ in bids] == [Decimal(n) for n in ("99.75", "99.65", "99.55")]
    assert order_book(traded, FIRST_MS + 999, depth=1)[0][0][0] == 100, "derived from the price"
    assert order_book(traded, FIRST_MS + 2001, depth=1)[0][0][0] == 100, "they are over"


def test_best_prices_of_one_venue_do_not_stand_beside_trades_of_another(tmp_path: Path) -> None:
    tape(tmp_path, (0, "100", "1"), (9_000, "104", "1"))
    write(
        tmp_path / "binance_spot_BTCUSDT_best.csv", BEST,
        f"{FIRST_MS},90,1,91,1", f"{FIRST_MS + 5_000},90,1,91,1",
    )  # fmt: skip
    market = recorded_market(tmp_path)
    assert order_book(bitcoin(market), FIRST_MS + 1, depth=1)[0][0][0] == 100
    (reason,) = market.left_out
    assert reason.startswith("binance_spot_BTCUSDT_best.csv: no trades or candles of binance's")


def test_between_two_tapes_trades_are_derived_and_none_is_told_twice(tmp_path: Path) -> None:
    rows = [f"{FIRST_MS + minute * MINUTE_MS},50,50,50,50,60" for minute in range(4)]
    write(tmp_path / "bybit_spot_BTCUSDT_1.csv", CANDLES, *rows)
    tape(tmp_path, (60_500, "10", "1"), (61_250, "11", "1"), name="bybit_spot_BTCUSDT_a.csv")
    tape(tmp_path, (62_900, "12", "1"), (64_100, "13", "1"), name="bybit_spot_BTCUSDT_b.csv")
    tape(tmp_path, (180_000, "14", "1"), name="bybit_spot_BTCUSDT_c.csv")
    traded = bitcoin(recorded_market(tmp_path))
    told = [
        (int(trade["time"]) - FIRST_MS, trade["price"])
        for trade in trades_between(traded, FIRST_MS + 59_000, FIRST_MS + 66_000)
    ]
    assert told == [
        (60_000, "50"), (60_500, "10"), (61_250, "11"), (62_900, "12"), (64_100, "13"),
        (65_000, "50"), (66_000, "50"),
    ]  # fmt: skip
    assert traded.price(FIRST_MS + 62_000) == 11, "a tape that goes on within a minute is one"
    assert traded.price(FIRST_MS + 66_000) == 50


def test_the_venues_own_candles_go_before_those_of_a_tape_and_the_tape_makes_the_price(
    tmp_path: Path,
) -> None:
    write(tmp_path / "bybit_spot_BTCUSDT_1m.csv", CANDLES, f"{FIRST_MS},10,12,9,11,7")
    tape(tmp_path, (10, "10", "1"), (500, "11.5", "1"), name="bybit_spot_BTCUSDT_tape.csv")
    traded = bitcoin(recorded_market(tmp_path))
    (candle,) = klines(traded, "1", now_ms=FIRST_MS + MINUTE_MS)
    assert [candle.high, candle.volume] == [12, 7]
    assert traded.price(FIRST_MS + 500) == Decimal("11.5")


def test_ticks_of_another_venue_are_used_where_bybit_has_candles_only(tmp_path: Path) -> None:
    write(tmp_path / "bybit_spot_BTCUSDT_1m.csv", CANDLES, f"{FIRST_MS},10,12,9,11,7")
    tape(tmp_path, (10, "20", "1"), (20_000, "21", "1"), name="binance_spot_BTCUSDT_tape.csv")
    assert bitcoin(recorded_market(tmp_path)).price(FIRST_MS + 15) == 20
    tape(tmp_path, (10, "10", "1"), (20_000, "11", "1"), name="bybit_spot_BTCUSDT_tape.csv")
    market = recorded_market(tmp_path)
    assert bitcoin(market).price(FIRST_MS + 15) == 10
    assert market.left_out == ["binance_spot_BTCUSDT_tape.csv: bybit recorded ticks of BTCUSDT too"]


def test_the_whole_folder_of_recorded_data_is_one_market_on_one_clock(shared_data: Path) -> None:
    market = recorded_market(shared_data)
    symbols = {symbol for _, symbol in market.instruments}
    assert symbols == {"BTCUSD", "BTCUSDT", "ETHUSDT", "LTCUSDT", "SOLUSDT", "XRPETH", "XRPUSDT"}
    ticking = [key for key, found in market.instruments.items() if found.ticks is not None]
    assert ticking == [
        (Category.SPOT, "BTCUSDT"), (Category.SPOT, "XRPETH"), (Category.LINEAR, "BTCUSDT"),
    ]  # fmt: skip
    at_ms = 1723161400000
    listed = {instrument.symbol for instrument in market.listed(Category.SPOT, at_ms)}
    assert listed == {"BTCUSDT", "ETHUSDT", "LTCUSDT", "SOLUSDT", "XRPUSDT"}, "the others by day"
    tape = parquet.read_table(shared_data / "trades" / "binance_spot_BTCUSDT_20240808.parquet")
    before = [row["price"] for row in tape.to_pylist() if row["ts"] <= at_ms]
    assert bitcoin(market).price(at_ms) == Decimal(str(before[-1]))
    assert any("1m_quotes_20221213.parquet: candles have" in why for why in market.left_out)
