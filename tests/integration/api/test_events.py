import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.core.security import create_access_token
from app.db.address import DatabaseAddress
from app.db.dao.users import Credentials
from app.domain.access import SessionId
from app.replay import ReplayExchange
from app.services.event_feed import StreamLimits
from app.services.sessions import begin_session
from tests.conftest import Installation, Person, new_person, run_installation, settings_for
from tests.integration.accounts import api_key
from tests.integration.api.streaming import (
    SAFETY_SECONDS,
    Served,
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

IMPATIENT = StreamLimits(
    per_user=2, per_process=3, keep_alive_seconds=0.05, send_seconds=0.3, opening_seconds=0.3,
    recheck_seconds=0.1,
)  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def served(installation: Installation) -> AsyncIterator[Served]:
    async with serving(installation) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def impatient(installation: Installation) -> AsyncIterator[Served]:
    async with serving(installation, IMPATIENT) as running:
        yield running


async def deposit(client: httpx.AsyncClient, amount: str = "1") -> None:
    response = await client.post("/users/me/deposit", json={"amount": amount})
    assert response.status_code == 200, response.text


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


async def closing_code(served: Served, message: str | bytes | None) -> int | None:
    """The code that a socket is closed with after this first message, or after none."""
    async with served.websocket() as websocket, asyncio.timeout(SAFETY_SECONDS):
        if message is not None:
            await websocket.send(message)
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        return websocket.close_code


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=9223372036854775808", "after=x", "after=1.5", "limit=0", "limit=1001",
     "wait_seconds=-1", "wait_seconds=30.1", "wait_seconds=nan", "wait_seconds=inf"],
)  # fmt: skip
async def test_a_question_for_events_that_means_nothing_is_422(ada: Person, query: str) -> None:
    assert_is_error(await ada.client.get(f"/events?{query}"), 422, "validation_error")


@pytest.mark.parametrize("number", [b"-1", b"x", b"9223372036854775808", b"7;8", "٧".encode()])
async def test_a_last_event_id_that_is_no_number_is_422(ada: Person, number: bytes) -> None:
    response = await ada.client.get("/events/stream", headers={b"Last-Event-ID": number})
    assert_is_error(response, 422, "validation_error")


def test_the_stream_is_declared_as_one_and_its_errors_as_json(installation: Installation) -> None:
    answers = installation.app.openapi()["paths"]["/events/stream"]["get"]["responses"]
    assert list(answers["200"]["content"]) == ["text/event-stream"]
    assert {status for status in answers if status != "200"} == {"401", "403", "422", "429", "503"}
    for status in ("401", "403", "422", "429", "503"):
        assert list(answers[status]["content"]) == ["application/json"]


async def test_everything_that_happens_is_told_once_in_order_with_money_as_text(
    ada: Person,
) -> None:
    await ada.client.post("/users/me/deposit", json={"amount": 2.5}, headers={"X-Request-ID": "d1"})
    await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "0.5"})
    closed = (await ada.client.delete("/order/BTCUSDT")).json()["data"]
    await ada.client.post("/watchlist", json={"symbol": "ETHUSDT"})
    refused = await ada.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "999999999"})
    assert refused.status_code == 400, "a refusal is no event"
    data = (await ada.client.get("/events")).json()["data"]
    assert data["last_number"] == 5
    assert [(event["number"], event["type"]) for event in data["events"]] == [
        (1, "account_opened"), (2, "deposited"), (3, "order_opened"), (4, "order_closed"),
        (5, "symbol_watched"),
    ]  # fmt: skip
    assert data["events"][1]["data"] == {"amount": "2.50000000000000000000"}
    assert data["events"][1]["request_id"] == "d1"
    assert data["events"][3]["data"]["proceeds"] == closed["sellAggregate"]
    assert data["events"][3]["event_at"] == closed["updated_at"]
    assert {event["epoch"] for event in data["events"]} == {1}


async def test_pages_follow_each_other_without_a_gap_or_a_repetition(ada: Person) -> None:
    for _ in range(6):
        await deposit(ada.client)
    numbers: list[int] = []
    while True:
        after = numbers[-1] if numbers else 0
        page = (await ada.client.get(f"/events?after={after}&limit=3")).json()["data"]
        assert page["last_number"] == 7
        if not page["events"]:
            break
        numbers += [event["number"] for event in page["events"]]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]


async def test_a_long_poll_answers_at_once_when_there_is_something(ada: Person) -> None:
    page = (await ada.client.get("/events?wait_seconds=30")).json()["data"]
    assert [event["number"] for event in page["events"]] == [1]


async def test_a_long_poll_answers_as_soon_as_something_happens(
    served: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with served.client(person) as client:
        asked = asyncio.create_task(client.get("/events?after=1&wait_seconds=30"))
        await eventually(lambda: person.user.id in served.feed.followed())
        await deposit(client)
        async with asyncio.timeout(SAFETY_SECONDS):
            page = (await asked).json()["data"]
    assert [event["number"] for event in page["events"]] == [2]
    assert page["last_number"] == 2


async def test_a_long_poll_that_waited_in_vain_answers_with_nothing(ada: Person) -> None:
    page = (await ada.client.get("/events?after=1&wait_seconds=0.2")).json()["data"]
    assert page == {"events": [], "last_number": 1}
    ahead = (await ada.client.get("/events?after=99&wait_seconds=0.1")).json()["data"]
    assert ahead == {"events": [], "last_number": 1}


async def test_a_long_poll_whose_caller_left_does_not_go_on(
    served: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with served.client(person) as client:
        asked = asyncio.create_task(client.get("/events?after=1&wait_seconds=30"))
        await eventually(lambda: person.user.id in served.feed.followed())
        asked.cancel()
    await eventually(lambda: person.user.id not in served.feed.followed())


async def test_those_who_wait_hold_no_database_connection(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> None:
    settings = settings_for(postgres, exchange.base_url, db_pool_size=2)
    async with run_installation(settings) as small, serving(small) as served:
        person = await new_person(small)
        async with served.client(person) as client:
            waiting = [
                asyncio.create_task(client.get("/events?after=1&wait_seconds=30"))
                for _ in range(10)
            ]
            async with aclosing(sse(client)) as events:
                await take(events, 1)
                await deposit(client)
                assert (await take(events, 1))[0]["number"] == 2
            async with asyncio.timeout(SAFETY_SECONDS):
                answers = await asyncio.gather(*waiting)
    assert {answer.json()["data"]["last_number"] for answer in answers} == {2}


async def test_the_stream_tells_the_past_and_then_what_happens(
    served: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with served.client(person) as client:
        await deposit(client)
        async with aclosing(sse(client)) as events:
            past = await take(events, 2)
            await deposit(client, "0.00000000000000000001")
            news = await take(events, 1)
        listed = (await client.get("/events")).json()["data"]["events"]
    assert past + news == listed
    assert news[0]["data"] == {"amount": "0.00000000000000000001"}


async def test_the_stream_resumes_after_the_last_event_id_which_is_stronger_than_after(
    served: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with served.client(person) as client:
        for _ in range(4):
            await deposit(client)
        async with aclosing(sse(client, last=3, after=1)) as events:
            assert [event["number"] for event in await take(events, 2)] == [4, 5]
        async with aclosing(sse(client, after=4)) as events:
            assert [event["number"] for event in await take(events, 1)] == [5]


async def test_the_stream_is_never_stored_nor_silent(
    impatient: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    async with impatient.client(person) as client:
        async with client.stream("GET", "/events/stream?after=1") as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert "no-store" in response.headers["cache-control"]
        async with aclosing(sse_lines(client, after=1)) as lines, asyncio.timeout(SAFETY_SECONDS):
            assert [await anext(lines) for _ in range(3)] == [
                "retry: 1000", ": keep-alive", ": keep-alive",
            ]  # fmt: skip


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
    assert await closing_code(impatient, None) == 4401, "too late"


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


async def test_a_stream_ends_when_its_token_expires(
    impatient: Served, installation: Installation
) -> None:
    person = await new_person(installation)
    key = replace(installation.resources.token_key, lifetime=timedelta(seconds=2))
    login = Credentials(user=person.user, password_hash="!")
    issued = await begin_session(installation.resources.db, login, key=key)
    person.client.headers["Authorization"] = f"Bearer {issued.access_token}"
    async with impatient.client(person) as client, impatient.websocket() as websocket:
        await open_events(websocket, person)
        async with asyncio.timeout(SAFETY_SECONDS):
            lines = [line async for line in sse_lines(client)]
            assert json.loads(await websocket.recv())["number"] == 1
            await websocket.wait_closed()
        assert lines[-1] == ": Token expired"
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
            conn = await asyncpg.connect(**installation.address.connect_arguments())
            await conn.execute(
                "UPDATE users SET email = 'gone.' || email WHERE id = $1", person.user.id
            )
            await conn.close()
            assert [line async for line in lines][-1] == ": User no longer exists"
            await websocket.recv()
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
