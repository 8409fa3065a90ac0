"""A recorded order book is the one that was recorded, wherever one looks at it."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from app.domain.instruments import Category
from app.replay import recorded_market
from app.replay.book import order_book
from app.replay.deep_books import KEPT_EVERY, BookFile
from app.replay.errors import UnreadableRecording
from app.replay.market import Instrument

FIRST_MS = 1_700_000_100_000
CANDLE = f"ts,open,high,low,close,volume\n{FIRST_MS},100,100,100,100,60\n"


def frame(
    number: int, *, kind: str = "delta", symbol: str = "BTCUSDT", u: int | None = None, **sides: str
) -> str:
    """A line; sides are like b="99 1, 98 2"."""
    levels = {side: [pair.split() for pair in sides.get(side, "").split(", ") if pair]
              for side in ("b", "a")}  # fmt: skip
    return json.dumps(
        {
            "topic": f"orderbook.500.{symbol}",
            "type": kind,
            "ts": FIRST_MS + number * 100,
            "data": {"s": symbol, **levels, "u": number + 1 if u is None else u, "seq": number},
        }
    )


SNAPSHOT = frame(0, kind="snapshot", b="99 1, 98 2, 97 3", a="101 4, 102 5")


def record(folder: Path, *lines: str, venue: str = "bybit") -> Path:
    (folder / "bybit_spot_BTCUSDT_1m.csv").write_text(CANDLE)
    file = folder / f"{venue}_spot_BTCUSDT_20231114.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def bitcoin(folder: Path) -> Instrument:
    return recorded_market(folder).instruments[Category.SPOT, "BTCUSDT"]


def top(instrument: Instrument, number: int, *, depth: int = 2) -> list[list[int]]:
    """Prices of bids and asks at a line."""
    sides = order_book(instrument, FIRST_MS + number * 100, depth=depth)
    return [[int(price) for price, _ in side] for side in sides]


def test_levels_come_change_and_go_and_time_may_go_back(tmp_path: Path) -> None:
    record(
        tmp_path, SNAPSHOT, frame(1, b="99 0, 98 7", a="100 1"), frame(3, u=3, b="99.5 1"),
    )  # fmt: skip
    traded = bitcoin(tmp_path)
    assert top(traded, 0) == [[99, 98], [101, 102]]
    assert top(traded, 2) == [[98, 97], [100, 101]]
    assert order_book(traded, FIRST_MS + 200, depth=1)[0] == [(Decimal(98), Decimal(7))]
    assert top(traded, 3, depth=1) == [[99], [100]]
    assert top(traded, 0) == [[99, 98], [101, 102]]
    assert top(traded, 4, depth=1) == [[100], [100]], "over: derived from the price of the candle"


def test_a_book_that_misses_an_update_is_not_believed_until_the_next_snapshot(
    tmp_path: Path,
) -> None:
    record(
        tmp_path, SNAPSHOT, frame(1, u=9, b="98.5 1"), frame(2, u=10, b="98.6 1"),
        frame(3, kind="snapshot", u=11, b="90 1", a="91 1"), frame(4, u=12, b="90 2"),
    )  # fmt: skip
    traded = bitcoin(tmp_path)
    tops = [top(traded, number, depth=1)[0] for number in range(5)]
    assert tops == [[99], [100], [100], [90], [90]]


def test_far_from_a_snapshot_a_book_is_the_same_forwards_backwards_and_at_once(
    tmp_path: Path,
) -> None:
    count = 2 * KEPT_EVERY + 10
    lines = [frame(number, b=f"99 {number}") for number in range(1, count)]
    file = record(tmp_path, SNAPSHOT, *lines)
    books = BookFile(file, "BTCUSDT")
    order = [count - 1, 3, KEPT_EVERY - 1, KEPT_EVERY, KEPT_EVERY + 1, 2 * KEPT_EVERY + 5, 1]
    for number in order:
        found = books.at(FIRST_MS + number * 100 + 50 * (number < count - 1), depth=1)
        assert found is not None
        assert found[0] == [(Decimal(99), Decimal(number))]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([SNAPSHOT, "{"], r"line 2: it is no frame of an order book"),
        (["[" * 100_000], r"line 1: it is no frame of an order book"),
        ([SNAPSHOT.replace('"orderbook.500.BTCUSDT"', "5")], r"line 1: 5 is not the order book of"),
        (
            [SNAPSHOT.replace(f"{FIRST_MS}", f"{FIRST_MS}000")],
            r"line 1: .* milliseconds since 1970",
        ),
        ([SNAPSHOT.replace(f"{FIRST_MS}", "Infinity")], r"line 1: it is no frame"),
        ([SNAPSHOT, frame(1, b="98 -1")], r"line 2: it is no frame .*-1 is below 0"),
        ([SNAPSHOT, frame(1, b="98 x")], r"line 2: .*x is not a number"),
        ([SNAPSHOT, frame(1, b="98")], r"line 2: it is no frame"),
        ([SNAPSHOT, frame(1, symbol="ETHUSDT")], r"line 2: orderbook.500.ETHUSDT is not the ord"),
        ([frame(0)], r"line 1: the first one is a snapshot"),
        ([SNAPSHOT, frame(2), frame(1)], r"line 3: ts does not ascend"),
        ([], r"it has no lines"),
    ],
)
def test_a_broken_line_is_named_with_its_file(
    tmp_path: Path, lines: list[str], reason: str
) -> None:
    record(tmp_path, *lines)
    with pytest.raises(UnreadableRecording, match=rf"BTCUSDT_20231114.jsonl: {reason}"):
        recorded_market(tmp_path)


def test_a_book_alone_and_one_of_another_venue_are_no_market(tmp_path: Path) -> None:
    file = record(tmp_path, SNAPSHOT, venue="binance")
    (reason,) = recorded_market(tmp_path).left_out
    assert reason.startswith(f"{file.name}: no trades or candles of binance's BTCUSDT")
    with pytest.raises(UnreadableRecording, match="books alone make no market"):
        recorded_market(file)
