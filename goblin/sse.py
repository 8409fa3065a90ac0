"""Server-Sent Events out of bytes, however these are cut into pieces.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
Lines end at LF or CR LF, not wherever str.splitlines says: a JSON text may contain U+2028.
"""

from collections.abc import Iterator


class SseParser:
    """The `data` of each message of a stream."""

    def __init__(self) -> None:
        self._text = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The messages that end in this piece."""
        *lines, self._text = (self._text + piece).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if not line and self._data:
                yield b"\n".join(self._data)
                self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
