import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from app.core.security import hash_secret
from app.jobs.purge_sessions import purge
from tests.conftest import SECRET, Installation, Person
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
from tests.integration.api.test_conventions import assert_is_error


def part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def ada(installation: Installation) -> Person:
    return await with_password(installation)


async def test_a_login_says_for_how_long_and_what_it_allows_and_every_token_is_unique(
    installation: Installation, ada: Person
) -> None:
    logins = [await log_in(installation, ada) for _ in range(2)]
    tokens = logins[0].tokens
    assert set(tokens) == {
        "access_token", "token_type", "user", "expires_in", "refresh_token", "scope",
    }  # fmt: skip
    assert (tokens["expires_in"], tokens["scope"]) == (3600, "read trade")
    claims = [jwt.decode(each.tokens["access_token"], SECRET, ["HS256"]) for each in logins]
    assert set(claims[0]) == {"sub", "uid", "sid", "typ", "iat", "exp", "jti"}
    assert claims[0]["jti"] != claims[1]["jti"]
    assert claims[0]["sid"] != claims[1]["sid"]
    assert logins[0].refresh_token != logins[1].refresh_token


async def test_a_token_that_was_tampered_with_or_not_signed_by_us_opens_nothing(
    installation: Installation, ada: Person
) -> None:
    """S2, S3 and S4 of the checklist: each begins from claims that are true of Ada."""
    good = (await log_in(installation, ada)).tokens["access_token"]
    claims = jwt.decode(good, SECRET, ["HS256"])
    header, body, signature = good.split(".")
    forged = [
        *(f"{part({'alg': alg, 'typ': 'JWT'})}.{body}.{signed}"
          for alg in ("none", "NONE", "nOnE", "HS512", "RS256", "") for signed in ("", signature)),
        f"{header}.{body}.", f"{header}.{body}", f"{header}.{body}.{signature}.x",
        f"{header}.{part({**claims, 'uid': claims['uid'] + 1})}.{signature}",
        jwt.encode(claims, SECRET * 2, algorithm="HS384"),
        jwt.encode(claims, "-----BEGIN PUBLIC KEY----- of somebody else's", algorithm="HS256"),
        *(jwt.encode(claims, SECRET, headers=extra)
          for extra in ({"kid": "../../dev/null"}, {"jku": "http://127.0.0.1/keys"},
                        {"x5u": "http://127.0.0.1/"}, {"jwk": {"kty": "oct", "k": ""}},
                        {"crit": ["exp"]})),
        *(jwt.encode({name: claims[name] for name in claims if name != left_out}, SECRET)
          for left_out in claims),
        *(jwt.encode({**claims, **change}, SECRET)
          for change in ({"typ": "refresh"}, {"aud": "others"}, {"sub": ""}, {"uid": "1"},
                         {"sid": str(claims["sid"])}, {"sid": 2**63}, {"jti": 7},
                         {"nbf": claims["exp"]}, {"iat": claims["exp"]}, {"exp": 1})),
        "x" * 1_000_000,
    ]  # fmt: skip
    async with installation.client() as client:
        for token in forged:
            response = await client.get("/users/me", headers=bearer(token))
            assert_is_error(response, 401)
            assert response.headers["www-authenticate"] == "Bearer"
        assert (await client.get("/users/me", headers=bearer(good))).status_code == 200


async def test_a_refresh_token_is_never_an_access_token_nor_the_other_way_round(
    installation: Installation, ada: Person
) -> None:
    login = await log_in(installation, ada)
    async with installation.client() as client:
        for headers in (bearer(login.refresh_token), {"X-API-Key": login.refresh_token}):
            assert_is_error(await client.get("/users/me", headers=headers), 401)
    refused = await refresh(installation, login.tokens["access_token"])
    assert_is_error(refused, 401, "invalid_refresh_token")


@pytest.mark.parametrize(
    "body",
    [{}, {"refresh_token": 5}, {"refresh_token": None}, {"refresh_token": "a\0b"},
     {"refresh_token": "x", "user_id": 1}, []],
)  # fmt: skip
async def test_a_refresh_that_is_none_is_422(anonymous: httpx.AsyncClient, body: object) -> None:
    assert_is_error(await anonymous.post("/auth/refresh", json=body), 422)


async def test_a_refresh_token_that_nobody_was_given_is_refused(
    installation: Installation,
) -> None:
    for token in ("", "gor_", "gor_nonsense", "x" * 1000, "🚀"):
        assert_is_error(await refresh(installation, token), 401, "invalid_refresh_token")


async def test_refreshing_gives_new_tokens_of_the_same_session(
    installation: Installation, ada: Person
) -> None:
    login = await log_in(installation, ada)
    response = await refresh(installation, login.refresh_token)
    assert response.status_code == 200
    renewed = with_tokens(installation, response.json()["data"])
    assert set(renewed.tokens) == set(login.tokens) - {"user"}
    assert renewed.refresh_token != login.refresh_token
    before, after = (
        jwt.decode(each.tokens["access_token"], SECRET, ["HS256"]) for each in (login, renewed)
    )
    assert before["sid"] == after["sid"]
    assert before["jti"] != after["jti"]
    for each in (login, renewed):
        assert (await each.client.get("/users/me")).status_code == 200


async def test_a_refresh_token_used_twice_ends_the_session_for_both_holders(
    installation: Installation, ada: Person
) -> None:
    owner, elsewhere = await log_in(installation, ada), await log_in(installation, ada)
    stolen = owner.refresh_token
    thief = with_tokens(installation, (await refresh(installation, stolen)).json()["data"])
    assert (await thief.client.get("/users/me")).status_code == 200
    assert_is_error(await refresh(installation, stolen), 401, "refresh_token_reused")
    for each in (owner, thief):
        assert_is_error(await each.client.get("/users/me"), 401, "token_revoked")
    refused = await refresh(installation, thief.refresh_token)
    assert_is_error(refused, 401, "invalid_refresh_token")
    assert (await elsewhere.client.get("/users/me")).status_code == 200, "another session"


async def test_neither_refresh_tokens_nor_api_keys_can_be_read_from_the_database(
    installation: Installation, ada: Person
) -> None:
    login = await log_in(installation, ada)
    secrets = [login.refresh_token, (await api_key(ada))["key"], login.tokens["access_token"]]
    async with installation.resources.db.connection() as conn:
        for secret, query in zip(secrets, (
            "SELECT to_jsonb(t)::text FROM refresh_tokens AS t WHERE token_hash = $1",
            "SELECT to_jsonb(t)::text FROM api_keys AS t WHERE key_hash = $1",
        ), strict=False):  # fmt: skip
            stored = await conn.fetchval(query, hash_secret(secret))
            assert stored is not None
            assert secret not in stored
            assert secret[12:] not in stored
        everything = await conn.fetchval("""
            SELECT string_agg(row::text, '') FROM (
                SELECT to_jsonb(t) AS row FROM sessions AS t
                UNION ALL SELECT to_jsonb(t) FROM refresh_tokens AS t
                UNION ALL SELECT to_jsonb(t) FROM api_keys AS t
                UNION ALL SELECT to_jsonb(t) FROM events AS t WHERE user_id = $1
                UNION ALL SELECT to_jsonb(t) FROM idempotency_keys AS t WHERE user_id = $1
            ) AS stored
        """, ada.user.id)  # fmt: skip
    assert not [secret for secret in secrets if secret in everything]


async def test_logging_out_ends_this_session_and_no_other(
    installation: Installation, ada: Person
) -> None:
    here, elsewhere = await log_in(installation, ada), await log_in(installation, ada)
    answer = await here.client.post("/auth/logout")
    assert (answer.status_code, answer.json()["message"]) == (200, "Logged out")
    again = await here.client.post("/auth/logout")
    for refused in (again, await here.client.get("/order")):
        assert_is_error(refused, 401, "token_revoked")
        assert refused.json()["message"] == "Token revoked"
    assert_is_error(await refresh(installation, here.refresh_token), 401, "invalid_refresh_token")
    assert (await elsewhere.client.get("/users/me")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"old_password": PASSWORD}, {"new_password": "a new password"},
     {"old_password": PASSWORD, "new_password": "short"},
     {"old_password": PASSWORD, "new_password": "a" * 10_000},
     {"old_password": PASSWORD, "new_password": "a new password", "user_id": 1}],
)  # fmt: skip
async def test_a_change_of_password_that_breaks_a_rule_changes_nothing(
    installation: Installation, ada: Person, body: dict[str, str]
) -> None:
    assert_is_error(await ada.client.post("/auth/password", json=body), 422)
    assert (await ada.client.get("/users/me")).status_code == 200
    await log_in(installation, ada)


async def test_the_old_password_has_to_be_right(installation: Installation, ada: Person) -> None:
    body = {"old_password": "wrong horse", "new_password": "staple wrong battery"}
    refused = await ada.client.post("/auth/password", json=body)
    assert_is_error(refused, 400, "wrong_password")
    await log_in(installation, ada)


async def test_a_new_password_revokes_every_session_refresh_token_and_api_key(
    installation: Installation, ada: Person
) -> None:
    login, key = await log_in(installation, ada), await api_key(ada)
    bot = with_key(installation, key)
    assert (await bot.get("/users/me")).status_code == 200
    changed = await ada.client.post(
        "/auth/password", json={"old_password": PASSWORD, "new_password": "staple wrong battery"}
    )
    assert changed.status_code == 200, changed.text
    for client in (ada.client, login.client):
        assert_is_error(await client.get("/users/me"), 401, "token_revoked")
    assert_is_error(await bot.get("/users/me"), 401, "invalid_api_key")
    assert_is_error(await refresh(installation, login.refresh_token), 401)
    assert_is_error(await try_to_log_in(installation, ada), 401, "invalid_credentials")
    renewed = await try_to_log_in(installation, ada, "staple wrong battery")
    assert renewed.status_code == 200


async def test_sessions_that_are_over_are_forgotten_and_stay_over(
    installation: Installation, ada: Person
) -> None:
    over, going_on = await log_in(installation, ada), await log_in(installation, ada)
    sid = jwt.decode(over.tokens["access_token"], SECRET, ["HS256"])["sid"]
    async with installation.resources.db.connection() as conn:
        await conn.execute(
            "UPDATE sessions SET expires_at = $2 WHERE id = $1",
            sid,
            datetime.now(UTC) - timedelta(seconds=1),
        )
    assert await purge(installation.resources.db) >= 1
    async with installation.resources.db.connection() as conn:
        for query in (
            "SELECT count(*) FROM sessions WHERE id = $1",
            "SELECT count(*) FROM refresh_tokens WHERE session_id = $1",
        ):
            assert await conn.fetchval(query, sid) == 0
    assert_is_error(await over.client.get("/users/me"), 401, "token_revoked")
    assert_is_error(await refresh(installation, over.refresh_token), 401, "invalid_refresh_token")
    assert (await refresh(installation, going_on.refresh_token)).status_code == 200


async def test_a_refresh_token_that_is_too_old_is_refused_and_ends_nothing(
    installation: Installation, ada: Person
) -> None:
    login = await log_in(installation, ada)
    async with installation.resources.db.connection() as conn:
        await conn.execute(
            "UPDATE refresh_tokens SET expires_at = now() WHERE token_hash = $1",
            hash_secret(login.refresh_token),
        )
    refused = await refresh(installation, login.refresh_token)
    assert_is_error(refused, 401, "invalid_refresh_token")
    assert (await login.client.get("/users/me")).status_code == 200
