"""Which request a key belongs to: what may be spelled otherwise, and what may not differ."""

import itertools
from typing import Any

import asyncpg
import httpx
import pytest
from tests.concurrency.cases import CASES, NAMES, Case, ask, post, rows_of
from tests.concurrency.conftest import Pair
from tests.concurrency.test_idempotency import assert_is_replay
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error

pytestmark = pytest.mark.usefixtures("watcher")
_keys = (f"key-{number}" for number in itertools.count())


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ('{"amount": 1.0}', '{"amount": 1.00}', True),
        ('{"amount": 1.0}', '{"amount": "1"}', True),
        ('{"amount": 100}', '{"amount": 1e2}', True),
        ('{"amount": 1}', '{"amount": 1, "extra": 2}', True),
        ('{"amount": 1}', '{"amount": 1.00000000000000000001}', False),
        ('{"amount": 1}', '{"amount": 10}', False),
    ],
)
async def test_a_key_knows_its_amount_however_it_is_spelled(
    pair: Pair, first: str, second: str, *, is_same: bool
) -> None:
    here, _ = await pair.person()
    await assert_same(here, "/users/me/deposit", first, second, is_same=is_same)


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ('{"a": 1, "b": {"c": 2, "d": 3}}', '{"b": {"d": 3, "c": 2}, "a": 1.0}', True),
        ('{"a": 0}', '{"a": 0.000}', True),
        ('{"a": 1.5}', '{"a": "1.5"}', False),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 1}', '{"a": -1}', False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": null}', "{}", False),
        ('{"a": 7}', '{"a": {"number": [0, "7", 0]}}', False),
        ('{"a": 0}', '{"a": {"number": []}}', False),
        ('{"a": 0}', '{"a": {"number": [0, "", 0]}}', False),
        ('{"a": 1e-300}', '{"a": 1e-301}', False),
    ],
)
async def test_a_key_knows_its_json_whatever_the_order_of_members(
    pair: Pair, first: str, second: str, *, is_same: bool
) -> None:
    here, _ = await pair.person()
    body = '{{"symbol": "BTCUSDT", "action": "hold", "data": {}}}'
    swapped = '{{"data": {}, "action": "hold", "symbol": "btcusdt"}}'
    await assert_same(here, "/log", body.format(first), swapped.format(second), is_same=is_same)


async def assert_same(person: Person, url: str, first: str, second: str, *, is_same: bool) -> None:
    headers = {"Idempotency-Key": next(_keys), "Content-Type": "application/json"}
    made = await person.client.post(url, content=first, headers=headers)
    assert made.is_success, made.text
    again = await person.client.post(url, content=second, headers=headers)
    if is_same:
        assert_is_replay(again, made)
    else:
        assert_is_error(again, 422, "idempotency_key_reused")
        assert again.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]


OTHERWISE = {
    "symbol": "XRPUSDT",
    "amount": "3",
    "balance": "3",
    "quantity": "3",
    "client_order_id": "yours",
    "action": "sell",
    "data": {},
    "name": "Another",
    "strategy_id": 2**40,
    "timestamp": "4h",
}


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_a_key_knows_every_member_of_the_body_it_was_sent_with(
    pair: Pair, watcher: asyncpg.Connection, case: Case
) -> None:
    here, there = await pair.person(balance="1000000")
    request, key = await case.prepare(here), next(_keys)
    first = await ask(here, request, key=key)
    after = await rows_of(watcher, here.user.id)
    body = request.get("json", {})
    for member in body:
        otherwise = {**request, "json": {**body, member: OTHERWISE[member]}}
        assert_is_error(await ask(there, otherwise, key=key), 422, "idempotency_key_reused")
    assert_is_replay(await ask(there, request, key=key), first)
    assert await rows_of(watcher, here.user.id) == after


async def test_a_number_of_a_billion_digits_is_compared_without_writing_it_out(
    pair: Pair,
) -> None:
    here, _ = await pair.person()
    body = '{"symbol": "BTCUSDT", "action": "hold", "data": {"a": 1e-999999999}}'
    headers = {"Idempotency-Key": next(_keys), "Content-Type": "application/json"}
    assert_is_error(await here.client.post("/log", content=body, headers=headers), 422)


async def test_a_key_belongs_to_one_route_and_one_user(pair: Pair) -> None:
    ada, _ = await pair.person(balance="100")
    bob, _ = await pair.person(balance="100")
    key = next(_keys)
    deposit = post("/users/me/deposit", amount="1")
    first = await ask(ada, deposit, key=key)
    assert_is_error(
        await ask(ada, post("/users/me/withdraw", amount="1"), key=key),
        422, "idempotency_key_reused",
    )  # fmt: skip
    made = await ask(bob, deposit, key=key)
    assert "idempotent-replayed" not in made.headers
    assert await ada.balance() == await bob.balance() == 101
    assert_is_replay(await ask(ada, {**deposit, "url": "/users/me/deposit/"}, key=key), first)


@pytest.mark.parametrize("key", ["", "é", "a b", "a" * 65, "order:mine", "a\n"])
async def test_a_key_of_another_spelling_is_422_and_changes_nothing(pair: Pair, key: str) -> None:
    here, _ = await pair.person()
    headers = {"Idempotency-Key": key.encode()}
    request: Any = {"url": "/users/me/deposit", "json": {"amount": "1"}, "headers": headers}
    assert_is_error(await here.client.post(**request), 422)
    assert await here.balance() == 0


async def test_two_keys_of_one_request_are_422_and_change_nothing(pair: Pair) -> None:
    here, _ = await pair.person()
    for keys in (["one", "two"], ["two", "one"]):
        headers = httpx.Headers([("Idempotency-Key", key) for key in keys])
        url, body = "/users/me/deposit", {"amount": "1"}
        assert_is_error(await here.client.post(url, json=body, headers=headers), 422)
    assert await here.balance() == 0
