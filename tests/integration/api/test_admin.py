from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import httpx
import pytest_asyncio
from app.domain.registration import Registration, RegistrationMode
from app.replay import ReplayExchange
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
)
from tests.integration.api.test_conventions import assert_is_error, routes

ADMIN = [(method, path) for method, path in routes() if path.startswith("/admin")]


@pytest_asyncio.fixture
async def own(clone: CloneDatabase, exchange: ReplayExchange) -> AsyncIterator[Installation]:
    """An installation without a user."""
    async with run_installation(settings_for(await clone(), exchange.base_url)) as running:
        yield running


@pytest_asyncio.fixture
async def owner(own: Installation) -> Person:
    """Its only administrator."""
    person = await new_person(own)
    await make_administrator(own, person)
    return person


async def test_who_is_no_administrator_reaches_no_route_of_theirs(
    installation: Installation, anonymous: httpx.AsyncClient, bob: Person
) -> None:
    assert len(ADMIN) >= 8
    for method, path in ADMIN:
        assert_is_error(await anonymous.request(method, path), 401, "not_authenticated")
        for client in (bob.client, with_key(installation, await api_key(bob))):
            refused = await client.request(method, path)
            assert_is_error(refused, 403, "scope_required")
            assert refused.json()["message"] == "this needs the scope 'admin'"
        other = "PUT" if method == "POST" else "DELETE"
        assert_is_error(await bob.client.request(other, path), 405, "method_not_allowed")


async def test_a_page_of_users_that_means_nothing_is_422(owner: Person) -> None:
    for query in ("limit=0", "limit=1001", "cursor=0", "cursor=x", "limit=x"):
        assert_is_error(await owner.client.get(f"/admin/users?{query}"), 422, "validation_error")


async def test_nobody_who_does_not_exist_is_disabled_or_enabled(owner: Person) -> None:
    for verb in ("disable", "enable"):
        for user_id in ("0", "-1", str(2**62), "9" * 30):
            response = await owner.client.post(f"/admin/users/{user_id}/{verb}")
            assert_is_error(response, 404, "user_not_found")


async def test_users_are_listed_newest_first_page_by_page_without_their_money_or_hash(
    own: Installation, owner: Person
) -> None:
    people = [owner, *[await new_person(own, balance="5") for _ in range(4)]]
    found: list[dict[str, object]] = []
    query: str | None = "limit=2"
    while query is not None:
        page = (await owner.client.get(f"/admin/users?{query}")).json()
        found += page["data"]["users"]
        cursor = page["meta"].get("next_cursor")
        query = None if cursor is None else f"limit=2&cursor={cursor}"
    assert [user["id"] for user in found] == [person.user.id for person in reversed(people)]
    assert {frozenset(user) for user in found} == {
        frozenset({"id", "email", "name", "role", "created_at"})
    }
    assert [user["role"] for user in found] == ["user"] * 4 + ["administrator"]


async def test_a_disabled_user_is_out_at_once_and_told_why_only_with_the_password(
    own: Installation, owner: Person
) -> None:
    bob = await with_password(own)
    login, key = await log_in(own, bob), await api_key(bob)
    bot = with_key(own, key)
    assert (await bot.get("/users/me")).status_code == 200

    path = f"/admin/users/{bob.user.id}"
    disabled = (await owner.client.post(f"{path}/disable")).json()["data"]
    assert disabled["disabled_at"].endswith("Z")
    assert (await owner.client.post(f"{path}/disable")).json()["data"] == disabled, "repeated"
    for client in (bob.client, login.client, bot):
        refused = await client.get("/users/me")
        assert_is_error(refused, 401, "user_disabled")
        assert refused.json()["message"] == "User is disabled"
    assert_is_error(await try_to_log_in(own, bob), 401, "user_disabled")
    assert_is_error(await try_to_log_in(own, bob, "wrong horse"), 401, "invalid_credentials")
    assert_is_error(await refresh(own, login.refresh_token), 401, "invalid_refresh_token")

    enabled = (await owner.client.post(f"{path}/enable")).json()["data"]
    assert "disabled_at" not in enabled
    for client in (bob.client, login.client):
        assert_is_error(await client.get("/users/me"), 401, "token_revoked")
    assert (await bot.get("/users/me")).status_code == 200, "keys slept"
    await log_in(own, bob)


async def test_the_last_active_administrator_cannot_be_disabled(
    own: Installation, owner: Person
) -> None:
    other = await new_person(own)
    mine, theirs = (f"/admin/users/{person.user.id}" for person in (owner, other))
    assert_is_error(await owner.client.post(f"{mine}/disable"), 400, "last_administrator")
    await make_administrator(own, other)
    assert (await owner.client.post(f"{theirs}/disable")).status_code == 200
    assert_is_error(await owner.client.post(f"{mine}/disable"), 400, "last_administrator")
    await owner.client.post(f"{theirs}/enable")
    assert (await owner.client.post(f"{mine}/disable")).status_code == 200
    assert_is_error(await owner.client.get("/admin/users"), 401, "user_disabled")


async def test_an_administrator_reads_the_audit_of_everybodys_books(
    own: Installation, owner: Person
) -> None:
    bob = await new_person(own, balance="100")
    audit = (await owner.client.get("/admin/audit")).json()["data"]
    assert audit == {
        "agrees": True, "users": 2, "entries": 2, "discrepancy_count": 0, "discrepancies": [],
    }  # fmt: skip
    conn = await asyncpg.connect(**own.address.connect_arguments())
    await conn.execute("UPDATE users SET balance = balance + 1 WHERE id = $1", bob.user.id)
    await conn.close()
    audit = (await owner.client.get("/admin/audit")).json()["data"]
    assert (audit["agrees"], audit["discrepancy_count"]) == (False, 1)
    assert audit["discrepancies"][0].startswith(f"user {bob.user.id}, users.balance")


async def register(running: Installation, name: str) -> httpx.Response:
    async with running.client() as client:
        body = {"email": f"{name}@example.com", "password": PASSWORD, "name": name}
        return await client.post("/auth/register", json={**body, "role": "administrator"})


def ruled(running: Installation, rule: Registration) -> Installation:
    running.app.state.resources = replace(running.resources, registration=rule)
    return running


async def roles(running: Installation) -> list[str]:
    conn = await asyncpg.connect(**running.address.connect_arguments())
    rows = await conn.fetch("SELECT role FROM users ORDER BY id")
    await conn.close()
    return [row["role"] for row in rows]


async def test_the_first_user_is_the_administrator_and_nobody_becomes_one_by_asking(
    own: Installation,
) -> None:
    for name in ("ada", "bob"):
        assert (await register(own, name)).status_code == 201
    assert await roles(own) == ["administrator", "user"]


async def test_registration_for_the_first_lets_one_in_and_closed_nobody(
    own: Installation,
) -> None:
    ruled(own, Registration(mode=RegistrationMode.CLOSED))
    assert_is_error(await register(own, "ada"), 403, "registration_closed")
    ruled(own, Registration(mode=RegistrationMode.FIRST))
    assert (await register(own, "ada")).status_code == 201
    assert_is_error(await register(own, "bob"), 403, "registration_closed")
    assert await roles(own) == ["administrator"]


async def test_the_account_of_a_demo_is_never_the_administrators(own: Installation) -> None:
    for mode in (RegistrationMode.OPEN, RegistrationMode.FIRST):
        ruled(own, Registration(mode=mode, makes_administrator=False))
        assert (await register(own, f"demo-{mode}")).status_code == 201
    ruled(own, Registration(mode=RegistrationMode.FIRST))
    assert (await register(own, "ada")).status_code == 201
    assert await roles(own) == ["user", "user", "administrator"]


async def test_an_administrator_may_make_a_key_for_administration(
    own: Installation, owner: Person
) -> None:
    client = with_key(own, await api_key(owner, "admin"))
    assert (await client.get("/admin/users")).status_code == 200
