import asyncio
import itertools
import os

import httpx
import jwt
import pytest
from passlib.hash import bcrypt
from tests.conftest import SECRET, Installation, fill_pool
from tests.integration.api.test_conventions import assert_is_error

_numbers = itertools.count(1)


def registration(**changes: object) -> dict[str, object]:
    return {
        "email": f"auth{next(_numbers)}.{os.getpid()}@example.com",
        "password": "correct horse",
        "name": "Ada Lovelace",
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [{"email": "nobody"}, {"email": "a@b"}, {"password": "1234567"}, {"password": "é" * 37},
     {"password": "a" * 73}, {"name": ""}, {"name": "  "}, {"name": "x" * 101}],
)  # fmt: skip
async def test_a_registration_that_breaks_a_rule_is_422(
    anonymous: httpx.AsyncClient, changes: dict[str, str]
) -> None:
    assert_is_error(await anonymous.post("/auth/register", json=registration(**changes)), 422)


async def test_registering_logging_in_and_asking_who_am_i(anonymous: httpx.AsyncClient) -> None:
    sent = registration(email=f"Mixed.Case{os.getpid()}@Example.COM", unknown="ignored")
    registered = await anonymous.post("/auth/register", json=sent)
    assert registered.status_code == 201
    user = registered.json()["data"]
    assert set(user) == {"id", "email", "name", "balance", "created_at"}
    assert user["balance"] == "0.00000000000000000000"
    assert user["created_at"].endswith("Z")

    taken = await anonymous.post(
        "/auth/register", json={**sent, "email": str(sent["email"]).upper()}
    )
    assert_is_error(taken, 400, "email_already_registered")
    assert taken.json()["message"] == "Email already registered"

    login = await anonymous.post(
        "/auth/login", json={"email": user["email"].upper(), "password": "correct horse"}
    )
    assert login.status_code == 200
    session = login.json()["data"]
    assert session["token_type"] == "bearer"
    assert session["user"] == user
    claims = jwt.decode(session["access_token"], SECRET, algorithms=["HS256"])
    assert claims["sub"] == user["email"]
    assert claims["uid"] == user["id"]
    assert claims["exp"] - claims["iat"] == session["expires_in"] == 3600

    bearer = {"Authorization": f"bearer {session['access_token']}"}
    for path in ("/auth/profile", "/users/me"):
        assert (await anonymous.get(path, headers=bearer)).json()["data"] == user


async def test_wrong_password_and_unknown_email_get_the_same_answer(
    anonymous: httpx.AsyncClient,
) -> None:
    sent = registration()
    await anonymous.post("/auth/register", json=sent)
    wrong = await anonymous.post(
        "/auth/login", json={"email": sent["email"], "password": "wrong horse"}
    )
    unknown = await anonymous.post(
        "/auth/login", json={"email": "ghost@example.com", "password": "correct horse"}
    )
    not_even_an_email = await anonymous.post(
        "/auth/login", json={"email": "ghost", "password": "short"}
    )
    for response in (wrong, unknown, not_even_an_email):
        assert_is_error(response, 401, "invalid_credentials")
        assert response.json()["message"] == "Invalid email or password"


async def test_the_oauth2_form_gets_a_bare_token(anonymous: httpx.AsyncClient) -> None:
    sent = registration()
    await anonymous.post("/auth/register", json=sent)
    response = await anonymous.post(
        "/auth/token", data={"username": sent["email"], "password": sent["password"]}
    )
    assert response.status_code == 200
    assert set(response.json()) == {
        "access_token", "token_type", "expires_in", "refresh_token", "scope",
    }  # fmt: skip
    refused = await anonymous.post(
        "/auth/token", data={"username": sent["email"], "password": "wrong horse"}
    )
    assert_is_error(refused, 401, "invalid_credentials")


async def test_eight_simultaneous_registrations_of_one_address_make_one_account(
    installation: Installation,
) -> None:
    await fill_pool(installation)
    sent = registration()
    async with installation.client() as client:
        answers = await asyncio.gather(
            *(
                client.post("/auth/register", json={**sent, "email": spelled})
                for spelled in [str(sent["email"]), str(sent["email"]).upper()] * 4
            )
        )
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 7


async def test_a_plain_bcrypt_hash_is_renewed_by_logging_in(
    installation: Installation, anonymous: httpx.AsyncClient
) -> None:
    sent = registration()
    await anonymous.post("/auth/register", json=sent)
    async with installation.resources.db.connection() as conn:
        await conn.execute(
            "UPDATE users SET password = $2 WHERE email = $1",
            sent["email"],
            bcrypt.using(rounds=4).hash(str(sent["password"])),
        )
    credentials = {"email": sent["email"], "password": sent["password"]}
    for _ in range(2):
        assert (await anonymous.post("/auth/login", json=credentials)).status_code == 200
    async with installation.resources.db.connection() as conn:
        stored = await conn.fetchval("SELECT password FROM users WHERE email = $1", sent["email"])
    assert stored.startswith("$bcrypt-sha256$")
