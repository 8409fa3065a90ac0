import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from app.domain.api_keys import API_KEYS_MAX
from tests.conftest import Installation, Person, make_administrator
from tests.integration.accounts import api_key, with_key
from tests.integration.api.test_conventions import assert_is_error, routes

IN_AN_HOUR = datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    "changes",
    [{"name": ""}, {"name": " "}, {"name": "x" * 101}, {"name": "a\0"}, {"scopes": []},
     {"scopes": ["write"]}, {"scopes": ["read", "read"]}, {"scopes": "read"}, {"scopes": None},
     {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "2030-01-01"},
     {"expires_at": "9999-12-31T23:59:59Z"}, {"expires_at": "0001-01-01T00:00:00+14:00"},
     {"expires_at": "tomorrow"}, {"expires_at": 1900000000}, {"expires_at": "1900000000"},
     {"expires_at": 1.9e9}, {"id": 1}, {"user_id": 1}, {"key": "gob_mine"},
     {"last_used_at": None}],
)  # fmt: skip
async def test_a_key_that_breaks_a_rule_is_422_and_none_is_made(
    bob: Person, changes: dict[str, object]
) -> None:
    body = {"name": "bot", "scopes": ["read"], **changes}
    assert_is_error(await bob.client.post("/auth/api-keys", json=body), 422)
    assert (await bob.client.get("/auth/api-keys")).json()["data"] == {"api_keys": []}


async def test_a_key_is_shown_once_and_afterwards_only_how_it_begins(bob: Person) -> None:
    made = await api_key(bob, "trade", "read", name="grid", expires_at=IN_AN_HOUR.isoformat())
    assert set(made) == {"id", "name", "prefix", "scopes", "created_at", "expires_at", "key"}
    assert made["key"].startswith("gob_")
    assert len(made["key"]) - len(made["prefix"]) >= 43, "256 bits that nobody is shown"
    assert made["scopes"] == ["read", "trade"]
    later = await api_key(bob, "read")
    assert "expires_at" not in later
    listed = (await bob.client.get("/auth/api-keys")).json()["data"]["api_keys"]
    assert listed == [{n: v for n, v in each.items() if n != "key"} for each in (later, made)]
    assert made["key"].startswith(made["prefix"])


async def test_a_key_speaks_for_its_owner_in_either_header(
    installation: Installation, bob: Person
) -> None:
    key = (await api_key(bob, "read"))["key"]
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer {key}"},
        {"X-API-Key": key},
        {"X-API-Key": key, "Authorization": f"Bearer {key}"},
        {"X-API-Key": key, "Authorization": "Basic of-a-proxy"},
    ):
        async with installation.client(**headers) as client:
            assert (await client.get("/users/me")).json()["data"]["id"] == bob.user.id


async def test_two_different_credentials_are_refused_whichever_is_right(
    installation: Installation, bob: Person
) -> None:
    first, second = (await api_key(bob))["key"], (await api_key(bob))["key"]
    token = bob.client.headers["Authorization"]
    for headers in (
        {"X-API-Key": first, "Authorization": token},
        {"X-API-Key": first, "Authorization": f"Bearer {second}"},
        {"X-API-Key": "gob_nonsense", "Authorization": token},
    ):
        async with installation.client(**headers) as client:
            assert_is_error(await client.get("/users/me"), 401, "conflicting_credentials")
    for name, ours, theirs in (
        ("Authorization", token, f"Bearer {first}"),
        ("X-API-Key", first, second),
    ):
        async with installation.client() as client:
            for pair in ((ours, theirs), (theirs, ours)):
                twice = httpx.Headers([(name, value) for value in pair])
                refused = await client.get("/users/me", headers=twice)
                assert_is_error(refused, 401, "conflicting_credentials")
            same = httpx.Headers([(name, ours), (name, ours)])
            assert (await client.get("/users/me", headers=same)).status_code == 200


async def test_what_is_no_key_opens_nothing(installation: Installation, bob: Person) -> None:
    key = (await api_key(bob))["key"]
    token = bob.client.headers["Authorization"].removeprefix("Bearer ")
    for wrong in ("gob_", "gob_nonsense", key[:-1], key + "A", key.swapcase(), token, "é", " "):
        async with installation.client() as client:
            headers = {b"X-API-Key": wrong.encode()}
            assert_is_error(await client.get("/users/me", headers=headers), 401)
            if wrong not in (token, " ", "é"):
                headers = {b"Authorization": b"Bearer " + wrong.encode()}
                assert_is_error(await client.get("/users/me", headers=headers), 401)


async def test_a_key_that_may_only_read_changes_nothing_on_any_route(
    installation: Installation, bob: Person
) -> None:
    client = with_key(installation, await api_key(bob, "read"))
    open_to_all = {"/auth/register", "/auth/login", "/auth/token", "/auth/refresh"}
    refused = 0
    for method, path in routes():
        if method == "GET" or path.rstrip("/") in open_to_all | {"/order/preview"}:
            continue
        response = await client.request(method, path, json={"nonsense": 1})
        code = "session_required" if path.startswith("/auth") else "scope_required"
        assert_is_error(response, 403, code)
        scope = "admin" if path.startswith("/admin") else "trade"
        assert code == "session_required" or scope in response.json()["message"]
        refused += 1
    assert refused > 30
    for path in ("/users/me", "/order", "/log", "/ledger/audit", "/events", "/auth/api-keys"):
        assert (await client.get(path)).status_code == 200, path
    preview = await client.post("/order/preview", json={"symbol": "BTCUSDT", "quantity": "1"})
    assert preview.status_code == 200


async def test_a_key_that_may_only_trade_reads_nothing(
    installation: Installation, bob: Person
) -> None:
    client = with_key(installation, await api_key(bob, "trade"))
    assert (await client.post("/users/me/deposit", json={"amount": "5"})).status_code == 200
    for path in ("/users/me", "/order", "/events", "/events/stream", "/auth/api-keys"):
        response = await client.get(path)
        assert_is_error(response, 403, "scope_required")
        assert response.json()["message"] == "this needs the scope 'read'"


async def test_nobody_makes_a_key_that_can_do_more_than_they(bob: Person) -> None:
    response = await bob.client.post(
        "/auth/api-keys", json={"name": "bot", "scopes": ["read", "admin"]}
    )
    assert_is_error(response, 403, "scope_required")
    assert "'admin'" in response.json()["message"]
    assert (await bob.client.get("/auth/api-keys")).json()["data"] == {"api_keys": []}


async def test_an_admin_key_is_none_once_its_owner_is_no_administrator(
    installation: Installation, bob: Person
) -> None:
    await make_administrator(installation, bob)
    client = with_key(installation, await api_key(bob, "admin"))
    assert (await client.get("/admin/users")).status_code == 200
    assert_is_error(await client.get("/users/me"), 403, "scope_required")
    async with installation.resources.db.connection() as conn:
        await conn.execute("UPDATE users SET role = 'user' WHERE id = $1", bob.user.id)
    assert_is_error(await client.get("/admin/users"), 403, "scope_required")


async def test_a_key_can_neither_make_keys_nor_take_over_the_account(
    installation: Installation, bob: Person
) -> None:
    made = await api_key(bob, "read", "trade")
    client = with_key(installation, made)
    for method, path, body in (
        ("POST", "/auth/api-keys", {"name": "successor", "scopes": ["read"]}),
        ("DELETE", f"/auth/api-keys/{made['id']}", None),
        ("POST", "/auth/password", {"old_password": "!", "new_password": "a new password"}),
        ("POST", "/auth/logout", None),
    ):
        assert_is_error(await client.request(method, path, json=body), 403, "session_required")
    assert (await bob.client.get("/users/me")).status_code == 200


async def test_a_deleted_key_works_no_more(installation: Installation, bob: Person) -> None:
    made, other = await api_key(bob), await api_key(bob)
    client = with_key(installation, made)
    deleted = await bob.client.delete(f"/auth/api-keys/{made['id']}")
    assert (deleted.status_code, deleted.json()["data"]) == (200, {})
    refused = await client.get("/users/me")
    assert_is_error(refused, 401, "invalid_api_key")
    assert refused.json()["message"] == "Invalid API key"
    assert (await with_key(installation, other).get("/users/me")).status_code == 200


async def test_nobody_sees_or_deletes_somebody_elses_key(
    installation: Installation, ada: Person, bob: Person
) -> None:
    made = await api_key(ada)
    theirs = await bob.client.delete(f"/auth/api-keys/{made['id']}")
    nobodys = await bob.client.delete(f"/auth/api-keys/{2**62}")
    for response in (theirs, nobodys, await bob.client.delete(f"/auth/api-keys/{'9' * 30}")):
        assert_is_error(response, 404, "api_key_not_found")
    same = {theirs.json()["message"].replace(str(made["id"]), "?")}
    assert same == {nobodys.json()["message"].replace(str(2**62), "?")}
    assert (await bob.client.get("/auth/api-keys")).json()["data"] == {"api_keys": []}
    assert (await with_key(installation, made).get("/users/me")).status_code == 200


async def test_a_key_ends_when_its_time_is_over(installation: Installation, bob: Person) -> None:
    made = await api_key(bob, expires_at=IN_AN_HOUR.isoformat())
    client = with_key(installation, made)
    assert (await client.get("/users/me")).status_code == 200
    async with installation.resources.db.connection() as conn:
        await conn.execute("UPDATE api_keys SET expires_at = now() WHERE id = $1", made["id"])
    refused = await client.get("/users/me")
    assert_is_error(refused, 401, "api_key_expired")
    assert refused.json()["message"] == "API key expired"


async def test_an_account_has_fifty_keys_at_most(bob: Person) -> None:
    made = await api_key(bob, "read")
    for _ in range(API_KEYS_MAX - 1):
        await api_key(bob, "read")
    body = {"name": "one too many", "scopes": ["read"]}
    assert_is_error(await bob.client.post("/auth/api-keys", json=body), 400, "too_many_api_keys")
    await bob.client.delete(f"/auth/api-keys/{made['id']}")
    await api_key(bob, "read")


async def test_the_last_use_of_a_key_is_written_down_at_most_once_a_minute(
    installation: Installation, bob: Person
) -> None:
    resources = installation.resources
    made = await api_key(bob, "read")
    client = with_key(installation, made)

    async def used(client: httpx.AsyncClient) -> str | None:
        await client.get("/users/me")
        await resources.api_key_uses.write_down(resources.db)
        (listed,) = (await bob.client.get("/auth/api-keys")).json()["data"]["api_keys"]
        found: str | None = listed.get("last_used_at")
        return found

    assert await used(bob.client) is None, "listing keys is no use of one"
    first = await used(client)
    assert first is not None
    assert await used(client) == first, "within a minute"
    async with resources.db.connection() as conn:
        await conn.execute(
            "UPDATE api_keys SET last_used_at = last_used_at - interval '61 seconds' WHERE id = $1",
            made["id"],
        )
    second = await used(client)
    assert second is not None
    assert second >= first


async def test_no_answer_repeats_the_secret_of_a_key(bob: Person) -> None:
    made = await api_key(bob)
    answers = [
        await bob.client.get("/auth/api-keys"),
        await bob.client.delete(f"/auth/api-keys/{made['id']}"),
    ]
    assert not [answer for answer in answers if made["key"][12:] in json.dumps(answer.json())]
