"""Reading candle files. Numbers are taken exactly as they print (tables.py)."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from app.replay.candles import Candle, Interval, end_of, open_of, typical_turnover
from app.replay.errors import UnreadableRecording
from app.replay.tables import (
    PARQUET,
    TIME_LIMIT_MS,
    check_columns,
    exact,
    no_csv,
    open_parquet,
)

NEEDED: Final = ("ts", "open", "high", "low", "close", "volume")
TURNOVER: Final = "turnover"
TAIL_BYTES: Final = 4096
_NO_TIME: Final = "its first or last row has no ts in milliseconds"


def first_and_last_ms(path: Path) -> tuple[int, int]:
    """The open times of the first and the last candle, without reading those between."""
    first_ms, last_ms = _parquet_span(path) if path.suffix == PARQUET else _csv_span(path)
    if not 0 <= first_ms <= last_ms:
        raise UnreadableRecording(path, "its ts column does not ascend")
    if last_ms >= TIME_LIMIT_MS:
        raise UnreadableRecording(path, f"its ts are not in milliseconds: {last_ms} is after 2100")
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
    if not 0 <= open_ms < TIME_LIMIT_MS:
        raise ValueError(f"ts {open_ms} is not in milliseconds since 1970, before 2100")
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
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        try:
            check_columns(path, reader.fieldnames or (), NEEDED)
            for row in reader:
                yield [*(row[name] for name in NEEDED), row.get(TURNOVER)]
        except csv.Error as error:
            raise no_csv(path, error) from None


def _csv_span(path: Path) -> tuple[int, int]:
    with path.open("rb") as file:
        header = file.readline().decode("utf-8-sig", errors="replace")
        first = file.readline().decode(errors="replace")
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        last = file.read().decode(errors="replace").rstrip().rpartition("\n")[2]
    names = next(csv.reader([header]), [])
    check_columns(path, names, NEEDED)
    at = names.index("ts")
    try:
        return int(next(csv.reader([first]))[at]), int(next(csv.reader([last]))[at])
    except (IndexError, StopIteration, ValueError, csv.Error):
        raise UnreadableRecording(path, _NO_TIME) from None


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
    try:
        return int(opens[0].as_py()), int(opens[-1].as_py())
    except (TypeError, ValueError):
        raise UnreadableRecording(path, _NO_TIME) from None


def _parquet_file(path: Path) -> Any:
    file = open_parquet(path)
    check_columns(path, file.schema_arrow.names, NEEDED)
    return file
