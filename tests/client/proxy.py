"""A way to a server that breaks when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tests.serving import everybody_is_let_in

PIECE = 65_536


class Proxy:
    """Forwards TCP to `target`; an answer breaks off where `cut_after` says."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self.cut_after: Callable[[int], int | None] = lambda _: None
        """For the n-th connection: how many bytes of answers pass before it is cut."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self.cut_after(self.connections)
        self.connections += 1
        to = urlsplit(self.target)
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(to.hostname, to.port)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, far_writer, None))
                both.create_task(_copy(far_reader, writer, limit))
        except (OSError, ExceptionGroup):
            pass
        finally:
            for each in writers:
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def end(self) -> None:
        """Cut everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None
) -> None:
    """Raises ConnectionError when there is no more to copy, which ends the other way too."""
    while piece := await reader.read(PIECE):
        if limit is not None:
            piece = piece[:limit]
            limit -= len(piece)
        writer.write(piece)
        await writer.drain()
        if limit == 0:
            break
    raise ConnectionError


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        await everybody_is_let_in()
        server.close()
        await proxy.end()
