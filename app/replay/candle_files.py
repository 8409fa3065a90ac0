"""Reading candle files. Numbers are taken exactly as they print (tables.py)."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from app.replay.candles import Candle, Interval, end_of, open_of, typical_turnover
from app.replay.errors import UnreadableRecording
from app.replay.tables import PARQUET, exact, open_parquet

NEEDED: Final = ("ts", "open", "high", "low", "close", "volume")
TURNOVER: Final = "turnover"
TAIL_BYTES: Final = 4096


def first_and_last_ms(path: Path) -> tuple[int, int]:
    """The open times of the first and the last candle, without reading those between."""
    first_ms, last_ms = _parquet_span(path) if path.suffix == PARQUET else _csv_span(path)
    if not 0 <= first_ms <= last_ms:
        raise UnreadableRecording(path, "its ts column does not ascend")
    return first_ms, last_ms


def read_candles(path: Path, interval: Interval, *, inverse: bool) -> list[Candle]:
    """Every candle of a file, checked: ascending, aligned, low <= open, close <= high."""
    rows = _parquet_rows(path) if path.suffix == PARQUET else _csv_rows(path)
    candles: list[Candle] = []
    previous_ms = -1
    for number, row in enumerate(rows, start=1):
        try:
            candle = _candle(row, interval, inverse=inverse)
        except (ValueError, TypeError) as error:  # int(None) of a short row is a TypeError
            raise UnreadableRecording(path, f"row {number}: {row}: {error}") from error
        if candle.open_ms <= previous_ms:
            raise UnreadableRecording(path, f"row {number}: ts does not ascend")
        previous_ms = candle.open_ms
        candles.append(candle)
    return candles


def _candle(row: Sequence[Any], interval: Interval, *, inverse: bool) -> Candle:
    open_ms = int(row[0])
    first, high, low, last = prices = (
        exact(row[1]),
        exact(row[2]),
        exact(row[3]),
        exact(row[4]),
    )
    volume = exact(row[5])
    if open_of(open_ms, interval) != open_ms:
        raise ValueError(f"ts {open_ms} is not the open time of a candle of interval {interval}")
    if not 0 < low <= min(first, last) <= max(first, last) <= high or volume < 0:
        raise ValueError("low <= open and close <= high, all above 0, volume not below")
    return Candle(
        open_ms=open_ms,
        end_ms=end_of(open_ms, interval),
        open=first,
        high=high,
        low=low,
        close=last,
        volume=volume,
        turnover=typical_turnover(prices=prices, volume=volume, inverse=inverse)
        if row[6] is None
        else exact(row[6]),
    )


def _csv_rows(path: Path) -> Iterator[Sequence[Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        _check_columns(path, reader.fieldnames or ())
        for row in reader:
            yield [*(row[name] for name in NEEDED), row.get(TURNOVER)]


def _csv_span(path: Path) -> tuple[int, int]:
    with path.open("rb") as file:
        header = file.readline().decode()
        first = file.readline().decode()
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        last = file.read().decode().rstrip().rpartition("\n")[2]
    names = next(csv.reader([header]), [])
    _check_columns(path, names)
    at = names.index("ts")
    try:
        return int(next(csv.reader([first]))[at]), int(next(csv.reader([last]))[at])
    except (IndexError, StopIteration, ValueError):
        raise UnreadableRecording(path, "its first or last row has no ts in milliseconds") from None


def _parquet_rows(path: Path) -> Iterator[Sequence[Any]]:
    table = _parquet_file(path).read(columns=[*NEEDED, TURNOVER])
    columns = [table.column(name).to_pylist() for name in NEEDED]
    turnover = (
        table.column(TURNOVER).to_pylist()
        if TURNOVER in table.column_names
        else [None] * table.num_rows
    )
    return zip(*columns, turnover, strict=True)


def _parquet_span(path: Path) -> tuple[int, int]:
    opens = _parquet_file(path).read(columns=["ts"]).column("ts")
    if not len(opens):
        raise UnreadableRecording(path, "it has no rows")
    return int(opens[0].as_py()), int(opens[-1].as_py())


def _parquet_file(path: Path) -> Any:
    file = open_parquet(path)
    _check_columns(path, file.schema_arrow.names)
    return file


def _check_columns(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise UnreadableRecording(path, f"it has no column {', '.join(missing)}")
