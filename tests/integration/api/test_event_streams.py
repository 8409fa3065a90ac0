"""Event streams of both kinds: whose they are, what ends them, how many there may be."""

import asyncio
import json
import time
from contextlib import aclosing, closing, suppress
from dataclasses import replace

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from app.services.authentication import Authenticator
from tests.conftest import Installation, Person, new_person
from tests.integration.api.conftest import IMPATIENT
from tests.integration.api.sockets import SAFETY_SECONDS
from tests.integration.api.streaming import (
    Served,
    closing_code,
    deposit,
    eventually,
    open_events,
    serving,
    sse,
    sse_lines,
    take,
    token_of,
)
from tests.integration.api.test_conventions import assert_is_error
from websockets.exceptions import ConnectionClosed


async def write_many(address: DatabaseAddress, person: Person, count: int) -> None:
    """Events of one kilobyte each, more than any socket's buffers hold."""
    conn = await asyncpg.connect(**address.connect_arguments())
    async with conn.transaction():  # or the reconciler finds numbers that nobody has counted
        await conn.execute(
            """
            INSERT INTO events (user_id, number, type, epoch, data, request_id, event_at)
            SELECT $1, number, 'deposited', 1, jsonb_build_object('x', repeat('y', 1000)), 'r',
                now()
            FROM generate_series(2, $2) AS number
            """,
            person.user.id,
            count,
        )
        await conn.execute(
            "UPDATE users SET event_number = $2 WHERE id = $1", person.user.id, count
        )
    await conn.close()


async def test_nobody_is_ever_told_somebody_elses_events(
    served: Served, installation: Installation
) -> None:
    ada, bob = await new_person(installation), await new_person(installation)
    async with (
        served.client(ada) as ada_client,
        served.client(bob) as bob_client,
        aclosing(sse(bob_client)) as events,
        served.websocket() as websocket,
    ):
        await open_events(websocket, bob)
        await take(events, 1)
        await websocket.recv()
        for amount in range(1, 6):
            await deposit(ada_client, str(amount))
        await deposit(bob_client, "77")
        (streamed,) = await take(events, 1)
        sent = json.loads(await websocket.recv())
        listed = (await bob_client.get("/events?after=1")).json()["data"]["events"]
    assert listed == [streamed] == [sent]
    assert streamed["data"] == {"amount": "77.00000000000000000000"}


async def test_a_stream_ends_when_its_token_expires(installation: Installation) -> None:
    person = await new_person(installation)
    resources, now = installation.resources, time.time()
    authenticator = Authenticator(
        resources.db, key=resources.token_key, uses=resources.api_key_uses, now=lambda: now
    )
    running = replace(installation, resources=replace(resources, authenticator=authenticator))
    async with (
        serving(running, IMPATIENT) as served,
        served.client(person) as client,
        served.websocket() as websocket,
        asyncio.timeout(SAFETY_SECONDS),
    ):
        await open_events(websocket, person)
        assert json.loads(await websocket.recv())["number"] == 1
        async with aclosing(sse_lines(client)) as lines:
            assert await anext(lines) == "retry: 1000"
            now += resources.token_key.lifetime.total_seconds()
            assert [line async for line in lines][-1] == ": Token expired"
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 4401
        assert_is_error(await client.get("/events/stream"), 401, "token_expired")


async def test_a_stream_ends_when_its_user_disappears(
    impatient: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with impatient.client(person) as client, impatient.websocket() as websocket:
        await open_events(websocket, person)
        async with aclosing(sse_lines(client)) as lines, asyncio.timeout(SAFETY_SECONDS):
            assert await anext(lines) == "retry: 1000"
            await websocket.recv()  # it was let in
            conn = await asyncpg.connect(**installation.address.connect_arguments())
            await conn.execute(
                "UPDATE users SET email = 'gone.' || email WHERE id = $1", person.user.id
            )
            await conn.close()
            assert [line async for line in lines][-1] == ": User no longer exists"
            await websocket.wait_closed()
        assert websocket.close_code == 4401


async def test_a_consumer_that_does_not_read_is_cut_off_and_can_go_on_later(
    impatient: Served, installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    person = await new_person(installation)
    count = 12_000
    await write_many(installation.address, person, count)
    authorization = person.client.headers["Authorization"]
    request = f"GET /events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"
    cut = "a slow consumer of events was cut off"
    received = 0
    with closing(impatient.lazy_socket()) as sock:
        sock.sendall(request.encode())
        async with impatient.websocket(impatient.lazy_socket()) as websocket:
            await open_events(websocket, person)
            await eventually(lambda: caplog.messages.count(cut) == 2)
            await eventually(lambda: person.user.id not in impatient.feed.followed())
            async with asyncio.timeout(SAFETY_SECONDS):
                with suppress(ConnectionClosed):
                    while True:
                        received = json.loads(await websocket.recv())["number"]
    assert 0 < received < count
    async with (
        impatient.client(person) as client,
        aclosing(sse(client, last=received)) as events,
    ):
        numbers = [event["number"] for event in await take(events, 3)]
    assert numbers == [received + 1, received + 2, received + 3]


async def test_the_streams_of_a_user_and_of_a_process_are_bounded(
    impatient: Served, installation: Installation
) -> None:
    ada, bob = await new_person(installation), await new_person(installation)
    async with (
        impatient.client(ada) as ada_client,
        impatient.client(bob) as bob_client,
        aclosing(sse(ada_client)) as first,
        aclosing(sse(ada_client)) as second,
    ):
        await take(first, 1)
        await take(second, 1)
        too_many = await ada_client.get("/events/stream")
        assert_is_error(too_many, 429, "too_many_streams")
        assert too_many.headers["retry-after"] == "5"
        assert_is_error(await ada_client.get("/events?wait_seconds=1"), 429, "too_many_streams")
        assert await closing_code(impatient, json.dumps({"token": token_of(ada)})) == 4429
        async with aclosing(sse(bob_client)) as third:
            await take(third, 1)
            refused = await bob_client.get("/events/stream")
            assert_is_error(refused, 503, "streams_exhausted")
            assert refused.headers["retry-after"] == "1"
            assert "poll GET /events" in refused.json()["message"]
            for who in (bob_client, ada_client):
                assert (await who.get("/events")).status_code == 200, "the advice is good"
            assert await closing_code(impatient, json.dumps({"token": token_of(bob)})) == 4503


async def test_streams_end_when_the_server_stops(installation: Installation) -> None:
    """uvicorn itself would wait for them without end."""
    person = await new_person(installation)
    async with serving(installation) as served:
        client = served.client(person)
        websocket = await served.websocket()
        await open_events(websocket, person)
        await websocket.recv()
        events = sse(client)
        await take(events, 1)
        polled = asyncio.create_task(client.get("/events?after=1&wait_seconds=30"))
        await eventually(lambda: served.feed.count == 3)
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    assert (await polled).json()["data"] == {"events": [], "last_number": 1}
    await websocket.wait_closed()
    assert websocket.close_code == 1012
    await client.aclose()
