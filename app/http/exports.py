"""Sending an export at its reader's pace, and which format a reader wants."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.domain.exports import EXTENSIONS, ExportFormat, FormatNotOffered
from app.http.media_types import preferred
from app.http.slow_readers import TooSlow, in_time

PIECE_BYTES: Final = 65_536
_log = logging.getLogger(__name__)


def wanted_format(accept: str | None, offered: Sequence[ExportFormat]) -> ExportFormat:
    """The offered format that Accept prefers, the first of equals. Raises FormatNotOffered."""
    best = preferred(accept, offered)
    if best is None:
        raise FormatNotOffered
    return best


class ExportResponse(StreamingResponse):
    """A file of any length; an error before its first byte is answered like any other."""

    def __init__(
        self,
        opening: AbstractAsyncContextManager[AsyncGenerator[bytes, None]],
        *,
        table: str,
        file_format: ExportFormat,
        send_seconds: float,
    ) -> None:
        is_csv = file_format is ExportFormat.CSV
        super().__init__(
            (),
            media_type=f"{file_format}; charset=utf-8; header=present" if is_csv else file_format,
            headers={
                "Content-Disposition": f'attachment; filename="{table}.{EXTENSIONS[file_format]}"',
                "Vary": "Accept",
            },
        )
        self._opening = opening
        self._table = table
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the reader leaves or takes nothing for too long."""
        send_in_time = in_time(send, seconds_max=self._send_seconds)
        async with self._opening as pieces, aclosing(_small(pieces)) as self.body_iterator:
            try:
                await super().__call__(scope, receive, send_in_time)
            except TooSlow:  # the unfinished answer makes the server close the connection
                _log.warning("a slow reader of an export was cut off", extra={"table": self._table})


async def _small(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A slow reader is measured by what it takes in some seconds, so that is never much."""
    async for piece in pieces:
        for place in range(0, len(piece), PIECE_BYTES):
            yield piece[place : place + PIECE_BYTES]
