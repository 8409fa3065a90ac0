"""Which of several media types a caller would rather have."""

import re
from collections.abc import Sequence
from typing import Final, TypeVar

Offered = TypeVar("Offered", bound=str)

_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)


def preferred(accept: str | None, offered: Sequence[Offered]) -> Offered | None:
    """The offered media type that Accept prefers, the first of equals; None if it allows none."""
    if accept is None or not accept.strip():
        return offered[0]
    ranges: dict[str, float] = {}
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        spelled = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        ranges[name] = float(spelled) if _QUALITY.fullmatch(spelled) else 0.0

    def quality(kind: str) -> float:
        for name in (kind, kind.partition("/")[0] + "/*", "*/*"):
            if name in ranges:
                return ranges[name]
        return 0.0

    best = max(offered, key=quality)
    return best if quality(best) else None
