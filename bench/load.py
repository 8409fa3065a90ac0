"""A closed-loop load client that costs little: bytes out, bytes in, no HTTP library.

Each client sends its next request when the last one was answered. It understands what
uvicorn sends (HTTP/1.1, Content-Length) and nothing else, so that on a machine with two cores
most of the time is the server's. How much was its own is measured and shown.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

DRAIN_SECONDS_MAX: Final = 30.0
"""Longest wait for the answers that are still on their way when the time is up."""

_LENGTH: Final = b"\r\ncontent-length: "


class UnexpectedAnswerError(Exception):
    """The server refused what was meant to succeed: a figure of it would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What some clients saw in some seconds."""

    seconds: float
    latencies_seconds: Sequence[float]
    """One for each answer."""
    client_share: float | None = None
    """How much of one core the load client itself used; None where there is no such client."""

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.latencies_seconds) / self.seconds

    def latency_ms(self, share: float) -> float:
        """The latency that this share of the answers did not exceed; 0.5 is the median."""
        ordered = sorted(self.latencies_seconds)
        if not ordered:
            return float("nan")
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


def request_bytes(
    method: str, path: str, *, token: str | None = None, body: object = None
) -> bytes:
    """One HTTP/1.1 request on a connection that stays open."""
    lines = [f"{method} {path} HTTP/1.1", "host: goblin"]
    if token is not None:
        lines.append(f"authorization: Bearer {token}")
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


async def drive(
    address: tuple[str, int], clients: Sequence[Iterator[bytes]], *, seconds: float
) -> Run:
    """Let every client send what it has to send, one after the other, for so long.

    What was sent is always answered before this returns, so that a client that alternates
    between buying and selling goes on in the next round where it stopped.
    """
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    cpu_before, begun = time.process_time(), time.perf_counter()
    connections = []
    for requests in clients:
        _, connection = await loop.create_connection(
            partial(_Client, requests, begun + seconds, latencies), *address
        )
        connections.append(connection)
    async with asyncio.timeout(seconds + DRAIN_SECONDS_MAX):
        await asyncio.gather(*(connection.finished for connection in connections))
    elapsed = time.perf_counter() - begun
    share = (time.process_time() - cpu_before) / elapsed
    return Run(seconds=elapsed, latencies_seconds=latencies, client_share=share)


class _Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, requests: Iterator[bytes], stop_at: float, latencies: list[float]) -> None:
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._stop_at = stop_at
        self._latencies = latencies
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass
        self._send(time.perf_counter())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        at = self._received.index(_LENGTH) + len(_LENGTH)
        length = int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) < head_end + 4 + length:
            return
        answer, self._received = self._received, b""
        if not answer.startswith(b"HTTP/1.1 2"):
            self._fail(UnexpectedAnswerError(answer.decode(errors="replace")))
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        self._send(now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or UnexpectedAnswerError("the server closed the connection"))

    def _send(self, now: float) -> None:
        assert self._transport is not None
        if now >= self._stop_at and self._sent_at:  # everybody sends something
            if not self.finished.done():
                self.finished.set_result(None)
            self._transport.close()
            return
        self._sent_at = now
        self._transport.write(next(self._requests))

    def _fail(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)
        if self._transport is not None:
            self._transport.close()
