"""What is revoked in one process is refused by the other, and races have one winner."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.jobs import check_streams
from app.replay import ReplayExchange
from tests.concurrency.conftest import Pair, at_once
from tests.conftest import (
    CloneDatabase,
    Installation,
    Person,
    make_administrator,
    new_person,
    run_installation,
    settings_for,
)
from tests.integration.accounts import (
    PASSWORD,
    api_key,
    log_in,
    refresh,
    try_to_log_in,
    with_key,
    with_password,
    with_tokens,
)
from tests.integration.api.sockets import SAFETY_SECONDS
from tests.integration.api.streaming import Served, eventually, serving, sse_lines
from tests.integration.api.test_conventions import assert_is_error


def codes(answers: list[httpx.Response]) -> Counter[str]:
    return Counter(a.json()["meta"]["code"] if a.is_error else "success" for a in answers)


async def test_who_logs_out_in_one_process_is_logged_out_in_the_other(pair: Pair) -> None:
    ada = await with_password(pair.first)
    login = await log_in(pair.first, ada)
    elsewhere = with_tokens(pair.second, login.tokens).client
    assert (await elsewhere.get("/users/me")).status_code == 200
    assert (await login.client.post("/auth/logout")).status_code == 200
    assert_is_error(await elsewhere.get("/users/me"), 401, "token_revoked")
    assert_is_error(await elsewhere.post("/order", json={}), 401, "token_revoked")
    assert_is_error(await refresh(pair.second, login.refresh_token), 401, "invalid_refresh_token")


async def test_a_new_password_and_a_deleted_key_count_in_every_process(pair: Pair) -> None:
    ada = await with_password(pair.first)
    login, kept, deleted = await log_in(pair.first, ada), await api_key(ada), await api_key(ada)
    kept_bot, deleted_bot = with_key(pair.second, kept), with_key(pair.second, deleted)
    session = with_tokens(pair.second, login.tokens).client
    await ada.client.delete(f"/auth/api-keys/{deleted['id']}")
    assert_is_error(await deleted_bot.get("/users/me"), 401, "invalid_api_key")
    assert (await kept_bot.get("/users/me")).status_code == 200
    body = {"old_password": PASSWORD, "new_password": "staple wrong battery"}
    assert (await ada.client.post("/auth/password", json=body)).status_code == 200
    assert_is_error(await session.get("/users/me"), 401, "token_revoked")
    assert_is_error(await kept_bot.get("/users/me"), 401, "invalid_api_key")


async def test_of_many_refreshes_of_one_token_at_once_exactly_one_wins(pair: Pair) -> None:
    for _ in range(5):
        ada = await with_password(pair.first)
        login = await log_in(pair.first, ada)
        answers = await at_once(
            [
                partial(refresh, running, login.refresh_token)
                for running in (pair.first, pair.second) * 4
            ]
        )
        assert codes(answers) == {"success": 1, "refresh_token_reused": 7}
        (winner,) = (answer for answer in answers if answer.is_success)
        ended = with_tokens(pair.first, winner.json()["data"])
        assert_is_error(await ended.client.get("/users/me"), 401, "token_revoked")


async def test_no_login_survives_a_change_of_password_at_the_same_moment(pair: Pair) -> None:
    """Its session began before the change and was revoked by it, or it was refused."""
    for _ in range(5):
        ada = await with_password(pair.first)
        body = {"old_password": PASSWORD, "new_password": "staple wrong battery"}
        changed, *logins = await at_once(
            [
                partial(ada.client.post, "/auth/password", json=body),
                *[partial(try_to_log_in, pair.second, ada)] * 6,
            ]
        )
        assert changed.status_code == 200
        for login in logins:
            if login.is_success:
                client = with_tokens(pair.second, login.json()["data"]).client
                assert_is_error(await client.get("/users/me"), 401, "token_revoked")
            else:
                assert_is_error(login, 401, "invalid_credentials")


async def test_two_changes_of_one_password_at_once_do_not_both_succeed(pair: Pair) -> None:
    ada = await with_password(pair.first)
    logins = [await log_in(pair.first, ada) for _ in range(2)]
    answers = await at_once(
        [
            partial(
                login.client.post,
                "/auth/password",
                json={"old_password": PASSWORD, "new_password": f"staple wrong {number}"},
            )
            for number, login in enumerate(logins)
        ]
    )
    assert codes(answers)["success"] == 1


async def test_the_limit_of_keys_holds_for_many_requests_at_once(pair: Pair) -> None:
    here, there = await pair.person()
    body = {"name": "bot", "scopes": ["read"]}
    # One after the other at first: who waits for an account for more than 2 seconds is refused.
    for _ in range(40):
        assert (await here.client.post("/auth/api-keys", json=body)).status_code == 201
    answers = await at_once(
        [partial(person.client.post, "/auth/api-keys", json=body) for person in (here, there) * 10]
    )
    assert codes(answers) == {"success": 10, "too_many_api_keys": 10}


@pytest_asyncio.fixture
async def fresh(clone: CloneDatabase, exchange: ReplayExchange) -> AsyncIterator[Pair]:
    """Two processes of an installation without a user."""
    settings = settings_for(await clone(), exchange.base_url)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(run_installation(settings))
        second = await stack.enter_async_context(run_installation(settings))
        yield Pair(first=first, second=second)


def registering(running: Installation, number: int) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def register() -> httpx.Response:
        async with running.client() as client:
            body = {"email": f"p{number}@example.com", "password": PASSWORD, "name": "P"}
            return await client.post("/auth/register", json=body)

    return register


async def administrators(running: Installation) -> list[int]:
    conn = await asyncpg.connect(**running.address.connect_arguments())
    rows = await conn.fetch("SELECT id FROM users WHERE role = 'administrator'")
    await conn.close()
    return [row["id"] for row in rows]


async def test_of_many_first_registrations_at_once_one_makes_the_administrator(
    fresh: Pair,
) -> None:
    answers = await at_once([registering((fresh.first, fresh.second)[n % 2], n) for n in range(6)])
    assert codes(answers) == {"success": 6}
    (one,) = await administrators(fresh.first)
    assert one in {answer.json()["data"]["id"] for answer in answers}
    assert (await registering(fresh.first, 99)()).status_code == 201
    assert await administrators(fresh.first) == [one]


async def test_a_failed_first_registration_leaves_the_place_to_the_next(fresh: Pair) -> None:
    demo = await new_person(fresh.first)
    async with fresh.first.client() as client:
        body = {"email": demo.user.email, "password": PASSWORD, "name": "P"}
        assert_is_error(await client.post("/auth/register", json=body), 400)
    assert await administrators(fresh.first) == []
    response = await registering(fresh.first, 1)()
    assert await administrators(fresh.first) == [response.json()["data"]["id"]]


async def test_two_administrators_who_disable_each_other_do_not_both_succeed(
    pair: Pair,
) -> None:
    for _ in range(5):
        conn = await asyncpg.connect(**pair.first.address.connect_arguments())
        await conn.execute("UPDATE users SET role = 'user'")
        await conn.close()
        ada, bob = await new_person(pair.first), await new_person(pair.second)
        for person in (ada, bob):
            await make_administrator(pair.first, person)
        answers = await at_once(
            [
                partial(ada.client.post, f"/admin/users/{bob.user.id}/disable"),
                partial(bob.client.post, f"/admin/users/{ada.user.id}/disable"),
            ]
        )
        assert codes(answers)["success"] == 1, [answer.text for answer in answers]
        (lost,) = (answer for answer in answers if answer.is_error)
        assert lost.json()["meta"]["code"] in {"last_administrator", "user_disabled"}


@pytest_asyncio.fixture
async def elsewhere(pair: Pair) -> AsyncIterator[Served]:
    """The second process on a socket; its job looks for streams that may not go on."""
    async with serving(pair.second) as served:
        job = asyncio.create_task(check_streams.run(pair.second.resources.db, served.feed))
        yield served
        job.cancel()
        await asyncio.wait([job])


async def log_out(pair: Pair, person: Person) -> None:  # noqa: ARG001 - one of several ways
    assert (await person.client.post("/auth/logout")).status_code == 200


async def change_password(pair: Pair, person: Person) -> None:
    await with_password(pair.first, person)
    body = {"old_password": PASSWORD, "new_password": "staple wrong battery"}
    assert (await person.client.post("/auth/password", json=body)).status_code == 200


async def disable(pair: Pair, person: Person) -> None:
    admin = await new_person(pair.first)
    await make_administrator(pair.first, admin)
    disabled = await admin.client.post(f"/admin/users/{person.user.id}/disable")
    assert disabled.status_code == 200


@pytest.mark.parametrize(
    ("end", "by_key", "said"),
    [
        (log_out, False, "Token revoked"),
        (change_password, False, "Token revoked"),
        (change_password, True, "Invalid API key"),
        (disable, False, "User is disabled"),
        (disable, True, "User is disabled"),
    ],
)
async def test_every_open_stream_ends_soon_after_its_credential_was_revoked_elsewhere(
    pair: Pair,
    elsewhere: Served,
    end: Callable[[Pair, Person], Coroutine[Any, Any, None]],
    *,
    by_key: bool,
    said: str,
) -> None:
    person, other = await new_person(pair.first), await new_person(pair.first)
    secret = person.client.headers["Authorization"].removeprefix("Bearer ")
    if by_key:
        secret = (await api_key(person, "read"))["key"]
    headers = {"Authorization": f"Bearer {secret}"}
    async with (
        httpx.AsyncClient(base_url=elsewhere.url, headers=headers, timeout=40) as client,
        elsewhere.client(other) as other_client,
        elsewhere.websocket() as websocket,
        aclosing(sse_lines(client)) as lines,
        aclosing(sse_lines(other_client)) as others,
        asyncio.timeout(SAFETY_SECONDS),
    ):
        polling = asyncio.create_task(client.get("/events?after=1&wait_seconds=30"))
        await websocket.send(json.dumps({"token": secret, "after": 1}))
        for stream in (lines, others):
            assert await anext(stream) == "retry: 1000"
        await eventually(lambda: elsewhere.feed.count == 4)
        await end(pair, person)
        assert [line async for line in lines][-1] == f": {said}"
        await websocket.wait_closed()
        assert websocket.close_code == 4401
        assert_is_error(await polling, 401)
        await eventually(lambda: elsewhere.feed.count == 1)
        assert (await other_client.get("/users/me")).status_code == 200, "and nobody else's"
