"""Long pages, put into their wire form without stopping everybody else meanwhile."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

SLICE: Final = 100
"""A millisecond or two of work; then others have their turn."""

T = TypeVar("T")
U = TypeVar("U")


async def in_slices(values: Sequence[T], wire: Callable[[T], U]) -> list[U]:
    """What `[wire(value) for value in values]` makes, a slice at a time."""
    made: list[U] = []
    for start in range(0, len(values), SLICE):
        if start:
            await asyncio.sleep(0)
        made += [wire(value) for value in values[start : start + SLICE]]
    return made
