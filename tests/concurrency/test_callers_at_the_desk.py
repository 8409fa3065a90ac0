"""The statement that reads the books also finds out whose they are, and nobody else gets in."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import asyncpg
import pytest
from app.domain.access import SessionId
from app.services.sessions import end_session
from tests.concurrency.cases import CASES, Case, Request, ask, post
from tests.concurrency.conftest import Pair, at_once
from tests.conftest import Person
from tests.integration.accounts import api_key, with_key
from tests.integration.api.test_conventions import assert_is_error

_keys = (f"caller-{number}" for number in itertools.count())
MONEY: Final = [case for case in CASES if case.is_settled]
DEPOSIT: Final = post("/users/me/deposit", amount="1")
OTHERWISE_WRONG: Final[dict[str, Request]] = {
    "no such symbol": post("/order", symbol="NOSUCHUSDT", quantity="1"),
    "nothing to sell": {"method": "DELETE", "url": "/order/SOLUSDT"},
    "no symbol": {"method": "DELETE", "url": "/order"},
    "two symbols": {"method": "DELETE", "url": "/order?symbol=A&symbol=B"},
    "no quantity": post("/order", symbol="BTCUSDT"),
    "no number": post("/users/me/deposit", amount="much"),
    "too much": post("/users/me/withdraw", amount="9000000000"),
}


async def end(conn: asyncpg.Connection, person: Person) -> None:
    await conn.execute("UPDATE sessions SET revoked_at = now() WHERE user_id = $1", person.user.id)


async def disable(conn: asyncpg.Connection, person: Person) -> None:
    await conn.execute("UPDATE users SET disabled_at = now() WHERE id = $1", person.user.id)


async def rename(conn: asyncpg.Connection, person: Person) -> None:
    await conn.execute("UPDATE users SET email = 'was.' || email WHERE id = $1", person.user.id)


ENDS: Final[dict[str, Callable[[asyncpg.Connection, Person], Awaitable[None]]]] = {
    "token_revoked": end,
    "user_disabled": disable,
    "user_gone": rename,
}


async def written(conn: asyncpg.Connection, person: Person) -> list[Any]:
    """Everything that a request for money writes."""
    row = await conn.fetchrow(
        """
        SELECT balance, event_number,
            (SELECT array_agg(o ORDER BY id) FROM transact AS o WHERE user_id = users.id),
            (SELECT count(*) FROM ledger_entries WHERE user_id = users.id),
            (SELECT count(*) FROM idempotency_keys WHERE user_id = users.id)
        FROM users WHERE id = $1
        """,
        person.user.id,
    )
    return list(row)


@pytest.mark.parametrize("code", ENDS)
@pytest.mark.parametrize("case", MONEY, ids=lambda case: case.name)
async def test_whoever_has_no_right_any_more_moves_nothing_and_leaves_no_key(
    case: Case, code: str, pair: Pair, books: asyncpg.Connection
) -> None:
    person = (await pair.person(balance="1000000"))[0]
    request = await case.prepare(person)
    await ENDS[code](books, person)
    before = await written(books, person)
    for key in (None, next(_keys)):
        refused = await ask(person, request, key=key)
        assert_is_error(refused, 401)
        assert refused.json()["meta"]["code"] == code
        assert refused.headers["www-authenticate"].startswith("Bearer")
    assert await written(books, person) == before


@pytest.mark.parametrize("problem", OTHERWISE_WRONG)
async def test_who_asks_is_found_out_before_what_is_wrong_with_it(
    problem: str, pair: Pair, books: asyncpg.Connection
) -> None:
    person = (await pair.person(balance="10"))[0]
    request = OTHERWISE_WRONG[problem]
    allowed = await ask(person, request)
    assert allowed.status_code in {400, 404, 422}
    await end(books, person)
    for key in (None, next(_keys), "not a key"):
        refused = await ask(person, request, key=key)
        assert refused.json()["meta"]["code"] == "token_revoked", (key, refused.text)


async def test_whoever_is_refused_at_the_desk_stands_in_nobodys_way(
    pair: Pair, books: asyncpg.Connection
) -> None:
    people = [(await pair.person())[0] for _ in range(12)]
    for stranger, leave in zip(people[::4], ENDS.values(), strict=True):
        await leave(books, stranger)
    answers = await at_once([partial(ask, person, DEPOSIT) for person in people])
    assert [answer.status_code for answer in answers] == [401, 200, 200, 200] * 3


async def test_a_session_that_ends_while_its_order_waits_for_the_user_buys_nothing(
    pair: Pair, books: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    person = (await pair.person(balance="1000000"))[0]
    before = await written(books, person)
    async with watcher.transaction():
        await watcher.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", person.user.id)
        waiting = asyncio.create_task(ask(person, post("/order", symbol="BTCUSDT", quantity="1")))
        await asyncio.sleep(0.1)
        session_id = await watcher.fetchval(
            "SELECT id FROM sessions WHERE user_id = $1", person.user.id
        )
        await end_session(pair.second.resources.db, session_id=SessionId(session_id))
    assert_is_error(await waiting, 401)
    assert await written(books, person) == before


async def test_who_asks_is_found_out_also_where_the_desk_cannot_have_their_user(
    hasty: Pair, books: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    """Of two in one batch one is overtaken, so that both are settled under locks, if at all."""
    people = [(await hasty.person())[0] for _ in range(2)]
    await end(books, people[0])
    async with watcher.transaction():
        await watcher.execute(
            "SELECT FROM users WHERE id = ANY($1) FOR UPDATE", [p.user.id for p in people]
        )
        answers = await at_once([partial(ask, person, DEPOSIT) for person in people])
    assert [answer.status_code for answer in answers] == [401, 409]


async def test_another_users_session_is_nobodys_proof(
    pair: Pair, books: asyncpg.Connection
) -> None:
    """As if a token named them both: its session goes on, and is not theirs."""
    ada, bob = [(await pair.person())[0] for _ in range(2)]
    await books.execute(
        "UPDATE sessions SET user_id = $1 WHERE user_id = $2", bob.user.id, ada.user.id
    )
    refused = await ask(ada, DEPOSIT)
    assert refused.json()["meta"]["code"] == "token_revoked"
    assert (await ask(bob, DEPOSIT)).status_code == 200


async def test_a_key_that_is_known_is_asked_about_at_the_desk_and_the_others_before(
    pair: Pair, books: asyncpg.Connection
) -> None:
    """Each ends another way, and both times it is said as it always was."""
    person = (await pair.person())[0]
    ends = {
        "invalid_api_key": "DELETE FROM api_keys WHERE id = $1",
        "api_key_expired": "UPDATE api_keys SET expires_at = now() WHERE id = $1",
        "scope_required": "UPDATE api_keys SET scopes = '{read}' WHERE id = $1",
    }
    for code, statement in ends.items():
        made = await api_key(person)
        before = await written(books, person)
        async with with_key(pair.first, made) as bot, with_key(pair.second, made) as elsewhere:
            assert [(await bot.request(**DEPOSIT)).status_code for _ in range(2)] == [200, 200]
            assert await written(books, person) != before
            await books.execute(statement, made["id"])
            before = await written(books, person)
            for client in (bot, elsewhere):
                refused = await client.request(**DEPOSIT, headers={"Idempotency-Key": next(_keys)})
                assert refused.json()["meta"]["code"] == code, refused.text
                assert refused.status_code == (403 if code == "scope_required" else 401)
        assert await written(books, person) == before


async def test_a_key_that_is_another_users_meanwhile_moves_nobodys_money(
    pair: Pair, books: asyncpg.Connection
) -> None:
    """As after a restored backup: the same ids, other keys."""
    ada, bob = [(await pair.person())[0] for _ in range(2)]
    made, other = [await api_key(person) for person in (ada, bob)]
    swap = "UPDATE api_keys SET key_hash = $2 WHERE id = $1"
    async with with_key(pair.first, made) as bot:
        assert (await bot.request(**DEPOSIT)).status_code == 200
        before = [await written(books, person) for person in (ada, bob)]
        mine, theirs = [
            await books.fetchval("SELECT key_hash FROM api_keys WHERE id = $1", each["id"])
            for each in (made, other)
        ]
        await books.execute(swap, made["id"], bytes(32))
        await books.execute(swap, other["id"], mine)
        await books.execute(swap, made["id"], theirs)
        assert_is_error(await bot.request(**DEPOSIT), 401)
    assert [await written(books, person) for person in (ada, bob)] == before


async def test_what_a_key_is_used_for_at_the_desk_is_a_use(
    pair: Pair, books: asyncpg.Connection
) -> None:
    person = (await pair.person())[0]
    made = await api_key(person)
    uses, db = pair.first.resources.api_key_uses, pair.first.resources.db
    set_used = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1"
    await books.execute(set_used, made["id"], datetime.now(UTC))
    async with with_key(pair.first, made) as bot:
        assert (await bot.get("/users/me")).status_code == 200, "from now on it is known"
        for is_noted in (True, False):
            await books.execute(set_used, made["id"], None)
            assert (await bot.request(**DEPOSIT)).status_code == 200
            await uses.write_down(db)
            used_at = await books.fetchval(
                "SELECT last_used_at FROM api_keys WHERE id = $1", made["id"]
            )
            assert (used_at is not None) == is_noted, "once a minute is enough"
