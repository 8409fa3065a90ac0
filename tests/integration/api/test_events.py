"""GET /events and GET /events/stream: what happened, in order, once, and waited for."""

import asyncio
from contextlib import aclosing

import pytest
from app.db.address import DatabaseAddress
from app.replay import ReplayExchange
from tests.conftest import Installation, Person, new_person, run_installation, settings_for
from tests.integration.api.sockets import SAFETY_SECONDS
from tests.integration.api.streaming import (
    Served,
    deposit,
    eventually,
    serving,
    sse,
    sse_lines,
    take,
)
from tests.integration.api.test_conventions import assert_is_error


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
                for _ in range(5)  # more than there are connections, and soon answered by two
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
