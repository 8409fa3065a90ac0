"""The application behind the server that `goblin serve` runs, spoken to byte by byte."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.http.connection import ConnectionLimits
from app.serving import DEFAULT_LIMITS, Server, server_config
from fastapi import FastAPI

SAFETY_SECONDS = 45
"""Far more than anything here takes; reaching it is a failure."""


@dataclass(frozen=True)
class Address:
    """Where the application listens."""

    port: int
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def answer(self, request: bytes) -> bytes:
        """Everything that the server says to these bytes before it closes the connection."""
        reader, writer = await self.open()
        try:
            writer.write(request)
            async with asyncio.timeout(SAFETY_SECONDS):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def served_as_goblin_serves(
    app: FastAPI,
    *,
    end_streams: Callable[[], None] = lambda: None,
    connections: ConnectionLimits = DEFAULT_LIMITS,
) -> AsyncIterator[Address]:
    """The application, whose resources are open already, on a port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = Server(server_config(app, limits=connections), end_streams=end_streams)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.up.wait()
        try:
            yield Address(listener.getsockname()[1], server)
        finally:
            server.should_exit = True
            async with asyncio.timeout(SAFETY_SECONDS):
                await serving
