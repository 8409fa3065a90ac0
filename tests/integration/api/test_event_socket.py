"""WS /ws/events: who is let in, what is told, and what closes it."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from app.core.security import create_access_token
from app.domain.access import SessionId
from tests.conftest import Installation, new_person
from tests.integration.accounts import api_key
from tests.integration.api.conftest import IMPATIENT
from tests.integration.api.raw import UPGRADE, ask, connected
from tests.integration.api.sockets import SAFETY_SECONDS
from tests.integration.api.streaming import (
    Served,
    closing_code,
    deposit,
    open_events,
    serving,
    token_of,
)


async def test_the_socket_tells_the_past_and_then_what_happens(
    served: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with served.client(person) as client, served.websocket() as websocket:
        await deposit(client)
        await open_events(websocket, person, after=1)
        async with asyncio.timeout(SAFETY_SECONDS):
            messages = [await websocket.recv()]
            await deposit(client)
            messages.append(await websocket.recv())
        listed = (await client.get("/events?after=1")).json()["data"]["events"]
    assert [json.loads(message) for message in messages] == listed


async def test_the_socket_wants_a_token_that_counts(
    impatient: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    key = installation.resources.token_key
    expired = create_access_token(
        person.user,
        session_id=SessionId(1),
        key=key,
        now=datetime.now(UTC) - key.lifetime - timedelta(minutes=1),
    )
    for token in ("", "nonsense", expired, token_of(person)[:-2], "x" * 5000):
        assert await closing_code(impatient, json.dumps({"token": token})) == 4401, token
    in_a_hurry = replace(IMPATIENT, opening_seconds=0.3)
    async with serving(installation, in_a_hurry) as hurried:
        assert await closing_code(hurried, None) == 4401, "too late"


async def test_the_socket_takes_an_api_key_that_may_read_and_no_other(
    impatient: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    key = (await api_key(person, "read"))["key"]
    async with impatient.websocket() as websocket, asyncio.timeout(SAFETY_SECONDS):
        await websocket.send(json.dumps({"token": key}))
        assert json.loads(await websocket.recv())["number"] == 1
    trading = (await api_key(person, "trade"))["key"]
    assert await closing_code(impatient, json.dumps({"token": trading})) == 4403
    for wrong in ("gob_", "gob_nonsense", key[:-1], f"Bearer {key}"):
        assert await closing_code(impatient, json.dumps({"token": wrong})) == 4401


@pytest.mark.parametrize(
    "message",
    ["", "hello", "[]", "null", '{"after": 1}', '{"token": 5}', '{"token": null}', b'{"token":""}',
     '{"token": "x", "after": -1}', '{"token": "x", "after": "1"}', "[" * 10_000,
     r'{"token": "\ud800"}',
     '{"token": "x", "after": 1.5}', '{"token": "x", "after": 9223372036854775808}'],
)  # fmt: skip
async def test_a_first_message_that_is_no_such_json_closes_the_socket(
    served: Served, message: str | bytes
) -> None:
    assert await closing_code(served, message) == 4400


async def test_a_second_message_closes_the_socket(
    served: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with served.websocket() as websocket, asyncio.timeout(SAFETY_SECONDS):
        await open_events(websocket, person)
        await websocket.recv()
        await websocket.send("more")
        await websocket.wait_closed()
    assert websocket.close_code == 4400


def upgrade(*, line_bytes: int, longest: str) -> bytes:
    """A handshake whose longest line has this many bytes, the end of the line counted."""
    if longest == "header":
        return UPGRADE[:-2] + b"X: " + b"a" * (line_bytes - len(b"X: \r\n")) + b"\r\n\r\n"
    query = b"?" + b"a" * (line_bytes - len(b"GET /ws/events? HTTP/1.1\r\n"))
    return UPGRADE.replace(b" HTTP", query + b" HTTP", 1)


@pytest.mark.parametrize("longest", ["header", "URL"])
async def test_a_handshake_that_nobody_would_read_is_refused_and_does_not_stay_open_for_ever(
    served: Served, longest: str
) -> None:
    answer = await ask(served.url, upgrade(line_bytes=8193, longest=longest))
    answer.assert_is_refusal(431, "headers_too_large")
    async with connected(served.url) as connection:
        connection.send(upgrade(line_bytes=8192, longest=longest))
        assert (await connection.reader.readline()).startswith(b"HTTP/1.1 101 ")
