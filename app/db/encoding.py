"""A copied result as a file, encoded while it is read: CSV, Parquet or an Arrow stream."""

import asyncio
import io
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final

from app.db.arrow import copied_schema, import_pyarrow, read_block
from app.db.copying import Copied
from app.domain.exports import ExportFormat

PIECE_BYTES: Final = 65_536
PARQUET_COMPRESSION: Final = "zstd"


async def encoded(
    copied: Copied, file_format: ExportFormat, *, seconds_max: float
) -> AsyncGenerator[bytes, None]:
    """The file in pieces. Raises what asyncpg raises, and ValueNotArrow."""
    if file_format is ExportFormat.CSV:
        async with aclosing(copied.spreadsheet(seconds_max=seconds_max)) as blocks:
            async for block in blocks:
                for piece in with_crlf(block):
                    yield piece
        return
    pa = import_pyarrow()
    schema = copied_schema(pa, copied.columns, exact=True)
    assert schema is not None, "every type of an export has its place in Arrow"
    outgoing = _Outgoing()
    with _WRITERS[file_format](pa, outgoing, schema) as writer:
        async with aclosing(copied.blocks(seconds_max=seconds_max)) as blocks:
            async for block in blocks:
                await asyncio.to_thread(_write, pa, writer, block, schema)
                yield outgoing.take()
    yield outgoing.take()


def with_crlf(block: bytes, *, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Rows that end as RFC 4180 has it; line breaks inside quotes are left as they are."""
    inside = 0
    for place in range(0, len(block), piece_bytes):
        parts = block[place : place + piece_bytes].split(b'"')
        parts[inside::2] = [outside.replace(b"\n", b"\r\n") for outside in parts[inside::2]]
        inside = (inside + len(parts) - 1) % 2
        yield b'"'.join(parts)


class _Outgoing(io.RawIOBase):
    """A file that is taken away while it is written; it knows how long it was."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._written_bytes += len(part)
        return len(part)

    def tell(self) -> int:
        return self._written_bytes

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _write(pa: Any, writer: Any, block: bytes, schema: Any) -> None:
    writer.write_table(read_block(pa, block, schema))


def _parquet(_: Any, outgoing: _Outgoing, schema: Any) -> Any:
    from pyarrow import parquet  # noqa: PLC0415 - an extra, like the rest of it

    return parquet.ParquetWriter(outgoing, schema, compression=PARQUET_COMPRESSION)


def _stream(pa: Any, outgoing: _Outgoing, schema: Any) -> Any:
    return pa.ipc.new_stream(outgoing, schema)


_WRITERS: Final[dict[ExportFormat, Callable[[Any, _Outgoing, Any], Any]]] = {
    ExportFormat.PARQUET: _parquet,
    ExportFormat.ARROW: _stream,
}
