"""People who can log in, and the ways in that they use."""

from dataclasses import dataclass
from typing import Any

import httpx
from passlib.hash import bcrypt_sha256
from tests.conftest import Installation, Person, new_person

PASSWORD = "correct horse battery"
CHEAP_HASH: str = bcrypt_sha256.using(rounds=4).hash(PASSWORD)


@dataclass(frozen=True)
class Login:
    """Tokens that /auth/login gave, and a client that sends the first of them."""

    tokens: dict[str, Any]
    client: httpx.AsyncClient

    @property
    def refresh_token(self) -> str:
        return str(self.tokens["refresh_token"])


async def with_password(running: Installation, person: Person | None = None) -> Person:
    """Somebody who can log in with PASSWORD, whose hash costs next to nothing."""
    made = await new_person(running) if person is None else person
    async with running.resources.db.connection() as conn:
        await conn.execute("UPDATE users SET password = $2 WHERE id = $1", made.user.id, CHEAP_HASH)
    return made


async def try_to_log_in(
    running: Installation, person: Person, password: str = PASSWORD
) -> httpx.Response:
    async with running.client() as client:
        return await client.post(
            "/auth/login", json={"email": person.user.email, "password": password}
        )


async def log_in(running: Installation, person: Person) -> Login:
    response = await try_to_log_in(running, person)
    assert response.status_code == 200, response.text
    return with_tokens(running, response.json()["data"])


def with_tokens(running: Installation, tokens: dict[str, Any]) -> Login:
    client = running.client(Authorization=f"Bearer {tokens['access_token']}")
    return Login(tokens=tokens, client=client)


async def refresh(running: Installation, token: str) -> httpx.Response:
    async with running.client() as client:
        return await client.post("/auth/refresh", json={"refresh_token": token})


async def api_key(person: Person, *scopes: str, **more: object) -> dict[str, Any]:
    """A new key of the person's, with its secret."""
    response = await person.client.post(
        "/auth/api-keys", json={"name": "bot", "scopes": scopes or ["read", "trade"], **more}
    )
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()["data"]
    return made


def with_key(running: Installation, made: dict[str, Any]) -> httpx.AsyncClient:
    return running.client(Authorization=f"Bearer {made['key']}")
