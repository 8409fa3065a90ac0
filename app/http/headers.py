"""What every answer tells a browser: guess nothing, keep nothing, embed nothing."""

from collections.abc import Iterable
from typing import Final

Header = tuple[bytes, bytes]

_ALWAYS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_OVER_TLS: Final[tuple[Header, ...]] = (
    *_ALWAYS,
    (b"strict-transport-security", b"max-age=31536000"),
)
"""A browser that heard this over plain HTTP would have to ignore it."""


def security_headers(present: Iterable[Header], *, scheme: str) -> list[Header]:
    """What an answer has to say besides what it says itself; a page's own policy wins."""
    named = {name.lower() for name, _ in present}
    wanted = _OVER_TLS if scheme == "https" else _ALWAYS
    return [header for header in wanted if header[0] not in named]
