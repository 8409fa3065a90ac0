"""One key, one effect, one answer: however often, wherever and whenever it is asked again."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.http.changes import get_change, get_money_change
from app.jobs.purge_idempotency_keys import purge
from app.main import ROUTERS
from app.replay import ReplayExchange
from fastapi.routing import APIRoute
from tests.concurrency.cases import CASES, NAMES, Case, Request, ask, post, rows_of, shape
from tests.concurrency.conftest import Pair, at_once, patiently
from tests.concurrency.faults import LOST_ANSWER, Faults, faulty_connections
from tests.integration.api.test_conventions import assert_is_error

TICKERS = "/v5/market/tickers"
BUY = post("/order", symbol="BTCUSDT", quantity="0.5")
pytestmark = pytest.mark.usefixtures("watcher")
_keys = (f"key-{number}" for number in itertools.count())


def assert_is_replay(again: httpx.Response, first: httpx.Response) -> None:
    assert again.status_code == first.status_code
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_every_route_that_takes_a_key_is_proven_here() -> None:
    taking = {
        (method, route.path.rstrip("/"))
        for route in itertools.chain.from_iterable(router.routes for router in ROUTERS)
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if any(part.call in {get_change, get_money_change} for part in route.dependant.dependencies)
    }
    assert taking == {case.route for case in CASES}


def test_every_route_that_changes_something_of_the_callers_takes_a_key() -> None:
    exempt = {"/order/preview"}
    writing = {
        (method, route.path.rstrip("/"))
        for route in itertools.chain.from_iterable(router.routes for router in ROUTERS)
        if isinstance(route, APIRoute)
        for method in (route.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}
        if route.path.rstrip("/") not in exempt
        and not route.path.startswith(("/auth/", "/admin/"))  # secrets are not kept in answers
    }
    assert writing == {case.route for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_the_same_key_again_is_answered_as_the_first_time_and_changes_nothing(
    pair: Pair, watcher: asyncpg.Connection, case: Case
) -> None:
    here, there = await pair.person(balance="1000000")
    request, key = await case.prepare(here), next(_keys)
    first = await ask(here, request, key=key)
    assert first.status_code == case.status, first.text
    after = await rows_of(watcher, here.user.id)
    for person in (here, there, here):
        assert_is_replay(await ask(person, request, key=key), first)
    assert await rows_of(watcher, here.user.id) == after


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_twenty_twins_at_two_processes_have_one_effect_and_one_answer(
    pair: Pair, watcher: asyncpg.Connection, case: Case
) -> None:
    model, _ = await pair.person(balance="1000000")
    await ask(model, await case.prepare(model), key="model")
    here, there = await pair.person(balance="1000000")
    request, key = await case.prepare(here), next(_keys)
    answers = await at_once([partial(ask, who, request, key=key) for who in (here, there) * 10])
    (first,) = [a for a in answers if "idempotent-replayed" not in a.headers]
    assert first.status_code == case.status, first.text
    for answer in answers:
        if answer is not first:
            assert_is_replay(answer, first)
    assert shape(await rows_of(watcher, here.user.id)) == shape(
        await rows_of(watcher, model.user.id)
    )


@pytest_asyncio.fixture
async def forgetful(pair: Pair, faults: Faults) -> AsyncIterator[Pair]:
    """Where the commit is carried out and its acknowledgement lost, if the faults say so."""
    connection_class = faulty_connections(faults)
    async with patiently(pair.first, size=4, connection_class=connection_class):
        yield pair


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_an_answer_that_was_lost_after_the_commit_is_given_again(
    forgetful: Pair, faults: Faults, watcher: asyncpg.Connection, case: Case
) -> None:
    here, there = await forgetful.person(balance="1000000")
    request, key = await case.prepare(here), next(_keys)
    faults.arm(LOST_ANSWER, at_query=case.commits_with)
    lost = await ask(here, request, key=key)
    assert faults.has_struck
    assert_is_error(lost, 503, "database_unavailable")
    after = await rows_of(watcher, here.user.id)
    again = await ask(there, request, key=key)
    assert again.status_code == case.status, again.text
    assert again.headers["idempotent-replayed"] == "true"
    assert await rows_of(watcher, here.user.id) == after, "the first request had its effect"


async def test_a_refusal_is_given_again_even_when_it_would_succeed_by_now(pair: Pair) -> None:
    here, there = await pair.person()
    order, close, key = next(_keys), next(_keys), {"method": "DELETE", "url": "/order/BTCUSDT"}
    refused = await ask(here, BUY, key=order)
    assert_is_error(refused, 400, "insufficient_balance")
    nothing = await ask(here, key, key=close)
    assert_is_error(nothing, 400, "order_not_found")
    await here.client.post("/users/me/deposit", json={"amount": "1000000"})
    assert_is_replay(await ask(there, BUY, key=order), refused)
    assert (await ask(here, BUY, key=next(_keys))).status_code == 201
    assert_is_replay(await ask(there, key, key=close), nothing)


async def test_what_says_nothing_about_the_request_is_not_kept(
    pair: Pair, exchange: ReplayExchange, watcher: asyncpg.Connection
) -> None:
    here, _ = await pair.person(balance="1000000")
    key = next(_keys)
    wrong = await ask(here, post("/order", symbol="BTCUSDT", quantity="-1"), key=key)
    assert_is_error(wrong, 422)
    for kind, status in (("status_500", 503), ("price_negative", 502), ("drop", 503)):
        exchange.faults.add(kind, times=1, path=TICKERS)
        assert_is_error(await ask(here, BUY, key=key), status)
    assert (
        await watcher.fetchval(
            "SELECT count(*) FROM idempotency_keys WHERE user_id = $1", here.user.id
        )
        == 0
    )
    made = await ask(here, BUY, key=key)
    assert made.status_code == 201
    exchange.faults.add("status_500", times=1, path=TICKERS)
    assert_is_replay(await ask(here, BUY, key=key), made)
    exchange.faults.clear()


async def test_two_closes_with_one_key_pay_once_and_answer_twice(
    pair: Pair, exchange: ReplayExchange
) -> None:
    here, there = await pair.person(balance="1000000")
    await ask(here, BUY)
    close, key = {"method": "DELETE", "url": "/order/BTCUSDT"}, next(_keys)
    first = await ask(here, close, key=key)
    balance = await here.balance()
    exchange.clock.advance(3_600_000)
    assert_is_replay(await ask(there, close, key=key), first)
    assert await there.balance() == balance
    assert_is_error(await ask(there, close, key=next(_keys)), 400, "order_not_found")


async def test_a_client_order_id_makes_an_order_safe_to_send_again(pair: Pair) -> None:
    here, there = await pair.person(balance="1000000")
    order = post("/order", symbol="BTCUSDT", quantity="0.5", client_order_id="bot-1")
    answers = await at_once([partial(ask, who, order) for who in (here, there) * 5])
    (first,) = [a for a in answers if "idempotent-replayed" not in a.headers]
    assert first.status_code == 201
    for answer in answers:
        if answer is not first:
            assert_is_replay(answer, first)
    changed = post("/order", symbol="BTCUSDT", quantity="0.6", client_order_id="bot-1")
    refused = await ask(here, changed)
    assert_is_error(refused, 422, "idempotency_key_reused")
    assert refused.json()["detail"][0]["loc"] == ["body", "client_order_id"], "no key was sent"
    found = await here.client.get("/order/by-client-id/bot-1")
    assert found.json()["data"]["id"] == first.json()["data"]["id"]
    assert found.json()["data"]["client_order_id"] == "bot-1"
    other, _ = await pair.person()
    assert_is_error(await other.client.get("/order/by-client-id/bot-1"), 404)


async def test_a_client_order_id_is_unique_for_ever(
    pair: Pair, watcher: asyncpg.Connection
) -> None:
    here, there = await pair.person(balance="1000000")
    order = post("/order", symbol="BTCUSDT", quantity="0.5", client_order_id="once")
    first = await ask(here, order)
    await watcher.execute("DELETE FROM idempotency_keys WHERE user_id = $1", here.user.id)
    await here.client.delete("/order/BTCUSDT")
    await here.client.post("/users/me/reset", json={"balance": "1000000"})
    assert_is_error(await ask(here, order), 409, "client_order_id_used")
    other = post("/order", symbol="ETHUSDT", quantity="1", client_order_id="once")
    assert_is_error(await ask(there, other, key=next(_keys)), 409, "client_order_id_used")
    found = await there.client.get("/order/by-client-id/once")
    assert found.json()["data"]["id"] == first.json()["data"]["id"], "also of an earlier life"
    assert await here.balance() == 1_000_000


async def test_an_id_whose_key_is_purged_says_so_before_anything_else_is_refused(
    pair: Pair, watcher: asyncpg.Connection
) -> None:
    here, there = await pair.person(balance="1000000")
    order = post("/order", symbol="BTCUSDT", quantity="0.5", client_order_id="once")
    await ask(here, order)
    await watcher.execute("DELETE FROM idempotency_keys WHERE user_id = $1", here.user.id)
    assert_is_error(await ask(there, order), 409, "client_order_id_used")
    await here.client.post("/users/me/withdraw", json={"amount": str(await here.balance())})
    await watcher.execute("DELETE FROM idempotency_keys WHERE user_id = $1", here.user.id)
    assert_is_error(await ask(there, order), 409, "client_order_id_used")
    other_key = await ask(there, order, key=next(_keys))
    assert_is_error(other_key, 409, "client_order_id_used")
    preview = await here.client.post("/order/preview", json=order["json"])
    assert preview.json()["data"]["refusal_code"] == "client_order_id_used"


@pytest.mark.parametrize(("age", "is_kept"), [("23:59", True), ("24:01", False)])
async def test_a_key_lives_a_day(
    pair: Pair, watcher: asyncpg.Connection, age: str, *, is_kept: bool
) -> None:
    here, _ = await pair.person()
    deposit, key = post("/users/me/deposit", amount="1"), next(_keys)
    first = await ask(here, deposit, key=key)
    await age_keys(watcher, here.user.id, age)
    await purge(pair.first.resources.db)
    again = await ask(here, deposit, key=key)
    if is_kept:
        assert_is_replay(again, first)
    else:
        assert "idempotent-replayed" not in again.headers
    assert await here.balance() == (1 if is_kept else 2)


async def test_old_keys_are_purged_however_many_there_are(
    pair: Pair, watcher: asyncpg.Connection
) -> None:
    here, _ = await pair.person()
    await watcher.execute(
        """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body, created_at)
        SELECT $1, 'old-' || n, '', 200, '{}', now() - interval '2 days'
        FROM generate_series(1, 2500) AS n
        """,
        here.user.id,
    )
    purged = await asyncio.gather(purge(pair.first.resources.db), purge(pair.second.resources.db))
    assert sum(purged) >= 2500
    assert (
        await watcher.fetchval(
            "SELECT count(*) FROM idempotency_keys WHERE user_id = $1", here.user.id
        )
        == 0
    )


async def age_keys(conn: asyncpg.Connection, user_id: int, age: str) -> None:
    await conn.execute(
        "UPDATE idempotency_keys SET created_at = now() - $2::text::interval WHERE user_id = $1",
        user_id,
        age,
    )


@pytest.mark.parametrize(
    "request_of_twin",
    [
        post("/users/me/deposit", amount="1"),
        post("/order", symbol="ETHUSDT", quantity="1", client_order_id="slow"),
        {"method": "DELETE", "url": "/order/ETHUSDT"},
    ],
    ids=["deposit", "buy", "sell nothing"],
)
async def test_a_twin_waits_for_the_first_and_is_told_when_that_takes_too_long(
    hasty: Pair, watcher: asyncpg.Connection, request_of_twin: Request
) -> None:
    here, there = await hasty.person(balance="1000000")
    key = None if "client_order_id" in request_of_twin.get("json", {}) else next(_keys)
    async with watcher.transaction():
        await watcher.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", here.user.id)
        waiting = asyncio.create_task(ask(here, request_of_twin, key=key))
        assert_is_error(await ask(there, request_of_twin, key=key), 409, "request_in_progress")
        assert_is_error(await waiting, 409, "request_in_progress")
    made = await ask(there, request_of_twin, key=key)
    assert "idempotent-replayed" not in made.headers
    assert made.status_code in {200, 201, 400}


async def test_a_twin_that_waits_a_little_gets_the_first_answer(
    pair: Pair, watcher: asyncpg.Connection
) -> None:
    here, there = await pair.person()
    deposit, key = post("/users/me/deposit", amount="1"), next(_keys)
    async with watcher.transaction():
        await watcher.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", here.user.id)
        waiting = [asyncio.create_task(ask(who, deposit, key=key)) for who in (here, there)]
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in waiting)
    first, again = await asyncio.gather(*waiting)
    if "idempotent-replayed" in first.headers:
        first, again = again, first
    assert_is_replay(again, first)
    assert await here.balance() == 1


async def test_without_a_key_a_held_account_is_a_conflict_and_nothing_is_done(
    hasty: Pair, watcher: asyncpg.Connection
) -> None:
    here, _ = await hasty.person()
    async with watcher.transaction():
        await watcher.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", here.user.id)
        refused = await ask(here, post("/users/me/deposit", amount="1"))
    assert_is_error(refused, 409, "concurrent_update")
    assert await here.balance() == 0
