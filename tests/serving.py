"""An application on a real socket of loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI


async def everybody_is_let_in() -> None:
    """To be awaited before a server closes: asyncio forgets the socket of who is let in just then.

    Python 3.11 accepts a connection in one turn of its loop and attaches it in the next; a socket
    that was forgotten warns when it is collected, in whichever test that is.
    """
    for _ in range(5):
        await asyncio.sleep(0)


class _Server(uvicorn.Server):
    """uvicorn inside a test, whose signals belong to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The base URL of the application, whose resources are open already."""
    # Named TCP, asyncio sends small answers at once; else each waits 40 ms for an acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, server_header=False
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
