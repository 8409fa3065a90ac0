"""Two exports to one file at the same time, as by a program that is started every hour."""

import asyncio
from pathlib import Path
from typing import cast

import goblin
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.client.conftest import AT_ONCE, token_of
from tests.client.test_frames import files_in
from tests.conftest import Installation, Person
from tests.serving import served


class Halving:
    """Sends half of the first export, and the rest when it is told to go on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_first = True
        self.goes_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_first, self._is_first = self._is_first, False

        async def send_halves(message: Message) -> None:
            body = message.get("body", b"")
            if is_first and body:
                middle = len(body) // 2
                await send({**message, "body": body[:middle], "more_body": True})
                await self.goes_on.wait()
                message = {**message, "body": body[middle:]}
            await send(message)

        await self._app(scope, receive, send_halves)


async def test_each_of_two_exports_to_one_file_leaves_a_whole_one(
    installation: Installation, somebody: Person, tmp_path: Path
) -> None:
    halving = Halving(installation.app)
    file = tmp_path / "events.csv"
    async with (
        served(cast("FastAPI", halving)) as url,
        goblin.AsyncClient(url, api_key=token_of(somebody), retries=AT_ONCE) as client,
    ):
        slow = asyncio.create_task(client.export_file("events", file))
        while not files_in(tmp_path):  # noqa: ASYNC110 - nobody tells when it is begun
            await asyncio.sleep(0.001)
        await client.export_file("events", file)
        whole = file.read_bytes()
        halving.goes_on.set()
        await slow
    assert file.read_bytes() == whole
    assert files_in(tmp_path) == {file.name}
