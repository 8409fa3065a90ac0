"""Recorded tables: Parquet or CSV, whole or a block of rows at a time.

A Parquet file holds binary floats; the shortest text that names the float is the number the
venue sent. CSV text is taken as it stands and needs no further library.
"""

import csv
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from app.replay.errors import UnreadableRecording

PARQUET: Final = ".parquet"
TIME_LIMIT_MS: Final = 4_102_444_800_000
"""The year 2100: a later time is one in microseconds."""

NO_TIME: Final = "ts is not a time in milliseconds since 1970, before 2100"

MAGNITUDE_MAX: Final = 30
"""Most places before and after the point that the first digit of a number has."""

BLOCK_ROWS: Final = 16_384
"""Rows that are in memory together; and a row group of a Parquet file while it is read."""

BLOCKS_KEPT: Final = 4
"""Of one file: where the clock is, and where a day ends that begins there."""

Row: TypeAlias = Sequence[Any]
"""Values as they stand in the file: numbers or texts."""


def exact(value: object) -> Decimal:
    """The number as it prints. Raises ValueError for what is none, or is not finite."""
    try:
        number = Decimal(value if isinstance(value, str) else str(value))
    except InvalidOperation:
        raise ValueError(f"{value} is not a number") from None
    if not number.is_finite():
        raise ValueError("a price or volume is not finite")
    if abs(number.adjusted()) > MAGNITUDE_MAX:  # it would be written out, digit for digit
        raise ValueError(f"no market has a price or volume of {value}")
    return number


def open_parquet(path: Path) -> Any:
    """The file, its rows unread. Raises UnreadableRecording, also when pyarrow is missing."""
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - CSV works without it
    except ImportError:
        raise UnreadableRecording(
            path,
            "Parquet needs pyarrow: pip install -r requirements-research.txt, "
            "or give it the same columns as .csv",
        ) from None
    try:
        return parquet.ParquetFile(path)
    except ArrowInvalid as error:
        raise UnreadableRecording(path, f"it is not a Parquet file: {error}") from None


def column_names(path: Path) -> Sequence[str]:
    """The columns of a table, its rows unread."""
    if path.suffix == PARQUET:
        names: list[str] = open_parquet(path).schema_arrow.names
        return names
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a mark
        try:
            return next(csv.reader(file), [])
        except UnicodeDecodeError:
            raise UnreadableRecording(path, "it is not a CSV file: it is no text") from None
        except csv.Error as error:
            raise no_csv(path, error) from None


def check_columns(path: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    """Raise UnreadableRecording unless every needed column is there, once."""
    missing = [name for name in needed if name not in names]
    if missing:
        raise UnreadableRecording(path, f"it has no column {', '.join(missing)}")
    doubled = [name for name in needed if names.count(name) > 1]
    if doubled:
        raise UnreadableRecording(path, f"it has more than one column {', '.join(doubled)}")


def no_csv(path: Path, error: csv.Error) -> UnreadableRecording:
    """What is raised where the fields cannot be told apart: a quote that is never closed."""
    return UnreadableRecording(path, f"it is not a CSV file: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Where some rows are, and when. `place` is row group and batch, or offset and zero."""

    place: tuple[int, int]
    first_row: int
    first_ms: int
    last_ms: int


class TimedRows:
    """The rows of a table by time; they stay on the disk but for a few blocks.

    The first column is the time, milliseconds since 1970 UTC; several rows may share one.
    `kept` are the blocks that are in memory, with the times of their rows.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._columns = columns
        names = column_names(path)
        check_columns(path, names, columns)
        self._places = [names.index(name) for name in columns]
        self._blocks: list[Block] = []
        self._first_ms: list[int] = []
        self.kept: dict[Block, tuple[array[int], Sequence[Row]]] = {}

    def scan(self) -> Iterator[Row]:
        """Every row, once, before anything else is asked. The caller checks all but the time."""
        number = 1
        last_ms = -1
        for place, rows in self._all():
            first_ms = None
            for row in rows:
                at_ms = self._time(row, number)
                if at_ms < last_ms:
                    raise self.broken(number, row, "ts does not ascend")
                first_ms = at_ms if first_ms is None else first_ms
                last_ms = at_ms
                yield row
                number += 1
            if first_ms is not None:
                first_row = number - len(rows)
                self._blocks.append(
                    Block(place=place, first_row=first_row, first_ms=first_ms, last_ms=last_ms)
                )
                self._first_ms.append(first_ms)
        if not self._blocks:
            raise UnreadableRecording(self.path, "it has no rows")

    def broken(self, number: int, row: Row, reason: str) -> UnreadableRecording:
        """What is raised about a row; the first row has number 1."""
        return UnreadableRecording(self.path, f"row {number}: {list(row)}: {reason}")

    @property
    def first_ms(self) -> int:
        """When the first row is from."""
        return self._blocks[0].first_ms

    @property
    def last_ms(self) -> int:
        """When the last row is from."""
        return self._blocks[-1].last_ms

    def between(self, from_ms: int, to_ms: int) -> Iterator[tuple[int, Row]]:
        """The rows of (from_ms, to_ms] with their numbers, ascending."""
        begin = max(0, bisect_right(self._first_ms, from_ms) - 1)
        for block in self._blocks[begin : bisect_right(self._first_ms, to_ms)]:
            times, rows = self._rows(block)
            found = range(bisect_right(times, from_ms), bisect_right(times, to_ms))
            yield from ((block.first_row + position, rows[position]) for position in found)

    def backwards(self, from_ms: int) -> Iterator[tuple[int, Row]]:
        """The rows up to an instant with their numbers, the latest first."""
        for block in reversed(self._blocks[: bisect_right(self._first_ms, from_ms)]):
            times, rows = self._rows(block)
            for position in reversed(range(bisect_right(times, from_ms))):
                yield block.first_row + position, rows[position]

    def latest(self, instant_ms: int) -> Sequence[tuple[int, Row]]:
        """The rows of the last millisecond that has any, up to an instant after the first."""
        block = self._blocks[bisect_right(self._first_ms, instant_ms) - 1]
        times, _ = self._rows(block)
        at_ms = times[bisect_right(times, instant_ms) - 1]
        return list(self.between(at_ms - 1, at_ms))

    def _rows(self, block: Block) -> tuple["array[int]", Sequence[Row]]:
        found = self.kept.pop(block, None)
        if found is None:
            rows = self._read(block.place)
            found = array("q", [int(row[0]) for row in rows]), rows
            if len(self.kept) >= BLOCKS_KEPT:
                del self.kept[next(iter(self.kept))]
        self.kept[block] = found  # the last one in is the last one out
        return found

    def _time(self, row: Row, number: int) -> int:
        try:
            at_ms = int(row[0])
            if not 0 <= at_ms < TIME_LIMIT_MS or (not isinstance(row[0], str) and at_ms != row[0]):
                raise ValueError  # noqa: TRY301 - said below
        except (ValueError, TypeError, IndexError, OverflowError):
            raise self.broken(number, row, NO_TIME) from None
        return at_ms

    def _all(self) -> Iterator[tuple[tuple[int, int], Sequence[Row]]]:
        if self.path.suffix == PARQUET:
            for group in range(open_parquet(self.path).num_row_groups):
                for number, batch in enumerate(self._batches(group)):
                    yield (group, number), self._converted(batch)
            return
        with self.path.open("rb") as file:
            file.readline()
            while rows := self._lines(file, offset := file.tell()):
                yield (offset, 0), rows

    def _read(self, place: tuple[int, int]) -> Sequence[Row]:
        if self.path.suffix == PARQUET:
            return self._converted(next(islice(self._batches(place[0]), place[1], None)))
        with self.path.open("rb") as file:
            return self._lines(file, place[0])

    def _batches(self, group: int) -> Iterator[Any]:
        batches: Iterator[Any] = open_parquet(self.path).iter_batches(
            batch_size=BLOCK_ROWS, row_groups=[group], columns=list(self._columns)
        )
        return batches

    def _converted(self, batch: Any) -> Sequence[Row]:
        columns = [batch.column(name).to_pylist() for name in self._columns]
        return list(zip(*columns, strict=True))

    def _lines(self, file: BinaryIO, offset: int) -> Sequence[Row]:
        """A field that is not there is None, which is no number: the row's reader says so."""
        file.seek(offset)
        lines = (line.decode(errors="replace") for line in islice(file, BLOCK_ROWS))
        try:
            return [
                [fields[place] if place < len(fields) else None for place in self._places]
                for fields in csv.reader(lines)
                if fields
            ]
        except csv.Error as error:
            raise no_csv(self.path, error) from None
