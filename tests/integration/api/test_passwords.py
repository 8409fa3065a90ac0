"""Which passwords are taken, and that every byte of them counts."""

import itertools
import os

import httpx
import pytest
from passlib.hash import bcrypt
from tests.conftest import Installation
from tests.integration.api.test_conventions import assert_is_error

_numbers = itertools.count(1)


def registration(password: str) -> dict[str, str]:
    email = f"password{next(_numbers)}.{os.getpid()}@example.com"
    return {"email": email, "password": password, "name": "Ada"}


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("1234567", "at least 8 characters"),
        ("é" * 7, "at least 8 characters"),
        ("a" * 73, "at most 72 bytes"),
        ("a" * 200, "at most 72 bytes"),
        ("é" * 64, "at most 72 bytes"),
        ("12345678", "3,000 most common"),
        ("PassWord", "3,000 most common"),
        ("correct\0horse", "NUL"),
    ],
)
async def test_a_password_that_cannot_be_taken_is_422_and_says_what_would_be_right(
    anonymous: httpx.AsyncClient, password: str, expected: str
) -> None:
    refused = await anonymous.post("/auth/register", json=registration(password))
    assert_is_error(refused, 422, "validation_error")
    [problem] = refused.json()["detail"]
    assert problem["loc"] == ["body", "password"]
    assert expected in problem["msg"]


@pytest.mark.parametrize("password", ["a" * 72, "é" * 36, "        9"])
async def test_every_byte_of_a_password_counts_up_to_the_last(
    anonymous: httpx.AsyncClient, password: str
) -> None:
    person = registration(password)
    assert (await anonymous.post("/auth/register", json=person)).status_code == 201
    for wrong in (password[:-1], password[:-1] + "b", password + "a"):
        refused = await anonymous.post("/auth/login", json={**person, "password": wrong})
        assert_is_error(refused, 401, "invalid_credentials")
    assert (await anonymous.post("/auth/login", json=person)).status_code == 200


async def test_what_bcrypt_once_cut_off_is_a_wrong_password_of_an_old_hash(
    installation: Installation, anonymous: httpx.AsyncClient
) -> None:
    person = registration("a" * 72)
    await anonymous.post("/auth/register", json=person)
    async with installation.resources.db.connection() as conn:
        await conn.execute(
            "UPDATE users SET password = $2 WHERE email = $1",
            person["email"],
            bcrypt.using(rounds=4).hash("a" * 72),
        )
    for longer in ("a" * 73, "a" * 200):
        refused = await anonymous.post("/auth/login", json={**person, "password": longer})
        assert_is_error(refused, 401, "invalid_credentials")
    assert (await anonymous.post("/auth/login", json=person)).status_code == 200


@pytest.mark.parametrize("password", ["a\0b", "\0" * 8])
async def test_a_nul_in_a_password_is_422_wherever_it_is_sent(
    anonymous: httpx.AsyncClient, password: str
) -> None:
    person = registration(password)
    for path in ("/auth/register", "/auth/login"):
        assert_is_error(await anonymous.post(path, json=person), 422)
    form = {"username": person["email"], "password": password}
    assert_is_error(await anonymous.post("/auth/token", data=form), 422)


async def test_a_wrong_password_costs_as_many_hashes_whether_the_email_is_known_or_not(
    installation: Installation, anonymous: httpx.AsyncClient
) -> None:
    known, hasher = registration("correct horse"), installation.resources.passwords
    await anonymous.post("/auth/register", json=known)
    unknown = registration("correct horse")
    bodies = []
    for person in (known, unknown):
        begun = hasher.hashes_begun
        refused = await anonymous.post("/auth/login", json={**person, "password": "wrong horse"})
        assert hasher.hashes_begun == begun + 1
        assert refused.status_code == 401
        bodies.append({**refused.json(), "meta": refused.json()["meta"]["code"]})
    assert bodies[0] == bodies[1]
