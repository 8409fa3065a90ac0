"""Versions as Flyway orders them."""

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Final, Self

PATTERN: Final = re.compile(r"[0-9]+(?:[._][0-9]+)*", re.ASCII)


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """`1_10` is written 1.10 and comes after 1.9; 1, 01 and 1.0 are the same version."""

    parts: tuple[int, ...]
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read digits that are separated by single dots or underscores, else ValueError."""
        if PATTERN.fullmatch(text) is None:
            message = f"{text!r} is not a version such as 3 or 1.10"
            raise ValueError(message)
        dotted = text.replace("_", ".")
        parts = [int(part) for part in dotted.split(".")]
        while len(parts) > 1 and parts[-1] == 0:
            parts.pop()
        return cls(tuple(parts), dotted)

    def __lt__(self, other: "Version") -> bool:
        return self.parts < other.parts

    def __str__(self) -> str:
        return self.text
