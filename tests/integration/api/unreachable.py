"""Places where a venue cannot be reached, each in its own way; they yield an address."""

import asyncio
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.clients.sockets import listening
from tests.unproven import unproven


@asynccontextmanager
async def nobody_listens() -> AsyncIterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def connecting_never_ends() -> AsyncIterator[str]:
    """A full queue of connections: the kernel drops the next handshakes."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(0)
        waiting = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(bound.getsockname())
            waiting.append(filler)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            for filler in waiting:
                filler.close()


@asynccontextmanager
async def no_tls() -> AsyncIterator[str]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ftp.example.org ready\r\n")
        await writer.drain()

    async with listening(greet) as url:
        yield url.replace("http:", "https:")


@asynccontextmanager
async def a_tls_handshake_never_ends() -> AsyncIterator[str]:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(hang) as url:
        yield url.replace("http:", "https:")


@asynccontextmanager
async def a_certificate_that_nobody_vouches_for() -> AsyncIterator[str]:
    """Somebody between us and the venue, who would answer every price they like."""
    openssl = shutil.which("openssl")
    if openssl is None:
        unproven("no openssl to make a false certificate")
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key.pem", f"{folder}/certificate.pem"
        made = await asyncio.create_subprocess_exec(
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", key, "-out", certificate, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await made.wait() == 0
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)

    async def read(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    heard: list[bytes] = []
    async with listening(read, tls=context) as url:
        yield url.replace("http:", "https:")
    assert b"".join(heard) == b"", "nothing was asked of a stranger"
