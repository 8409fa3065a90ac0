"""Instants that a query's result may hold and a frame cannot."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final

import asyncpg

from app.db.copying import Column

INSTANTS: Final = frozenset({"timestamptz", "timestamp", "date"})
_ENDS: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class InstantOutOfReach(ValueError):
    """A column holds an instant that there is no place for; the text says what to do."""

    def __init__(self, columns: Sequence[str], holds: object) -> None:
        names = " or ".join(f'column "{name}"' for name in columns)
        super().__init__(
            f"{names} holds {holds}: pandas reaches from 1677-09-22 to 2262-04-11, polars and "
            "Arrow from the year 1 to 9999, and none has infinity. Replace it in SQL, for example "
            "by NULLIF(column, 'infinity'), or cast the column to text"
        )


def spelled(value: date) -> str:
    """As the text of InstantOutOfReach names an instant that came in a Record."""
    return (
        f"{value} or infinity, which Records show alike" if may_be_infinite(value) else f"{value}"
    )


def may_be_infinite(value: object) -> bool:
    """Whether asyncpg gives infinity so: as the first or the last that Python knows."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) in _ENDS
    return isinstance(value, date) and value in (date.min, date.max)


@contextmanager
def decoding(columns: Sequence[Column]) -> Iterator[None]:
    """While Records arrive: asyncpg fails at an instant that Python has no value for."""
    try:
        yield
    except asyncpg.InterfaceError:
        raise
    except (OverflowError, ValueError) as error:
        names = [column.name for column in columns if column.kind.removesuffix("[]") in INSTANTS]
        if not names:
            raise
        raise InstantOutOfReach(names, f"what Python has no date for ({error})") from None
