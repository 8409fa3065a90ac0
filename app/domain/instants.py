"""Instants as callers spell them."""

import re
from typing import Final

INSTANT_BEGINNING: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", re.ASCII)


def iso_instant(value: object) -> object:
    """What comes as text is ISO 8601; pydantic also reads numbers, as seconds since 1970."""
    if isinstance(value, str) and INSTANT_BEGINNING.match(value) is None:
        raise ValueError(
            "expected an instant as ISO 8601 with a zone, for example 2026-01-31T12:00:00Z"
        )
    return value
