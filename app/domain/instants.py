"""Instants as callers spell them."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

INSTANT_BEGINNING: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", re.ASCII)

DATE_BEGINNING: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_LOST_PLUS: Final = re.compile(r"[0-9-]{10}[Tt ][0-9:.,]+ [0-9]{2}:?[0-9]{2}", re.ASCII)
"""What +00:00 is in a query, where a plus sign means a space."""

OLDEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
NEWEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Markets are asked about from the one to before the other."""


def iso_instant(value: object) -> object:
    """ISO 8601 and nothing else; pydantic also reads numbers, as seconds since 1970."""
    is_number = isinstance(value, int | float | Decimal)
    if is_number or (isinstance(value, str) and INSTANT_BEGINNING.match(value) is None):
        raise ValueError(
            "expected an instant as ISO 8601 with a zone, for example 2026-01-31T12:00:00Z"
        )
    return _with_its_plus(value)


def iso_date_or_instant(value: object) -> object:
    """The same where a date, or a time without a zone, is one of UTC."""
    if isinstance(value, str) and DATE_BEGINNING.match(value) is None:
        raise ValueError("expected ISO 8601, for example 2026-01-31 or 2026-01-31T12:00:00Z")
    return _with_its_plus(value)


def _with_its_plus(value: object) -> object:
    """Say what became of the plus sign; it is what everybody forgets once."""
    if isinstance(value, str) and _LOST_PLUS.fullmatch(value) is not None:
        raise ValueError("in a URL a + is a space: write %2B before the zone, or Z for UTC")
    return value


def in_utc(instant: datetime | None) -> datetime | None:
    """The same in UTC, where the first year begins and the last one ends."""
    try:
        return None if instant is None else instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected an instant from the year 1 to 9999 of UTC") from None


def of_a_market(instant: datetime) -> datetime:
    """The instant in UTC, which is what it is of without a zone. Raises ValueError."""
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    if not OLDEST <= aware < NEWEST:
        raise ValueError("expected an instant from 1970 to 2099")
    return aware.astimezone(UTC)
