"""How often one may ask, and who is counted."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from typing import Any

import httpx
import pytest
import pytest_asyncio
from app.core.config import load_settings
from app.db.address import DatabaseAddress
from app.http.rate_limit import RateLimit
from app.replay import ReplayExchange
from starlette.types import Message
from tests.conftest import Installation, new_person, run_installation, settings_for
from tests.integration.api.test_conventions import assert_is_error

LIMIT = 5
"""A minute, so one would come back every 12 seconds, if time went on."""


@pytest_asyncio.fixture
async def limited(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    settings = settings_for(postgres, exchange.base_url, rate_limit_per_minute=LIMIT)
    async with run_installation(settings) as running:
        counting: object = RateLimit
        (limit,) = [part for part in running.app.user_middleware if part.cls is counting]
        limit.kwargs["monotonic"] = lambda: 0.0
        yield running


def client_at(installation: Installation, address: str, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(installation.app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://goblin", headers=headers)


async def authorization(installation: Installation) -> str:
    person = await new_person(installation, balance="10")
    await person.client.aclose()
    return person.client.headers["Authorization"]


async def test_who_asks_too_often_is_told_how_long_to_wait(limited: Installation) -> None:
    async with client_at(limited, "192.0.2.1") as client:
        for left in reversed(range(LIMIT)):
            response = await client.get("/users/me")
            assert_is_error(response, 401)
            assert response.headers["ratelimit-policy"] == '"address";q=5;w=60'
            assert response.headers["ratelimit"].startswith(f'"address";r={left};t=')
            assert response.headers["ratelimit-limit"] == "5"
            assert response.headers["ratelimit-remaining"] == str(left)
            assert 0 < int(response.headers["ratelimit-reset"]) <= 60
        refused = await client.get("/users/me")
        assert_is_error(refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 12
        assert refused.headers["ratelimit-remaining"] == "0"
        assert refused.headers["cache-control"] == "no-store"


async def test_tokens_that_are_made_up_count_for_the_address_and_reach_no_database(
    limited: Installation,
) -> None:
    async with client_at(limited, "192.0.2.2") as client:
        for number in range(LIMIT):
            headers = {"Authorization": f"Bearer made.up.{number}"}
            assert (await client.get("/users/me", headers=headers)).status_code == 401
        for number in range(20):
            for headers in (
                {"Authorization": f"Bearer other.{number}"},
                {"X-API-Key": f"gob_{number}"},
                {"X-Forwarded-For": f"192.0.2.{number}"},
            ):
                assert_is_error(await client.get("/users/me", headers=headers), 429)
            assert_is_error(await client.post("/auth/login", content=b"{"), 429)


async def test_a_good_credential_has_a_quota_of_its_own_wherever_it_comes_from(
    limited: Installation,
) -> None:
    good = await authorization(limited)
    async with client_at(limited, "192.0.2.3", Authorization=good) as client:
        first = await client.get("/users/me")
        assert first.headers["ratelimit-policy"] == '"address";q=5;w=60', "not known before"
        assert (await client.get("/users/me")).headers["ratelimit-policy"] == (
            '"credential";q=5;w=60'
        )
    async with client_at(limited, "192.0.2.4", Authorization=good) as client:
        third = await client.get("/users/me")
        assert third.headers["ratelimit"].startswith('"credential";r=3;')
    async with client_at(limited, "192.0.2.3") as neighbour:
        for _ in range(LIMIT - 1):
            assert (await neighbour.get("/users/me")).status_code == 401
        assert_is_error(await neighbour.get("/users/me"), 429)
    async with client_at(limited, "192.0.2.3", Authorization=good) as client:
        for _ in range(LIMIT - 2):
            assert (await client.get("/users/me")).status_code == 200, "its neighbour is refused"
        assert_is_error(await client.get("/users/me"), 429)


async def test_a_credential_is_known_by_what_it_has_moved_too(limited: Installation) -> None:
    good = await authorization(limited)
    async with client_at(limited, "192.0.2.8", Authorization=good) as client:
        await client.post("/users/me/withdraw", json={"amount": "11"})  # it has ten
        answered = await client.post("/users/me/deposit", json={"amount": "1"})
    assert answered.headers["ratelimit-policy"] == '"credential";q=5;w=60'


async def test_a_credential_that_was_revoked_counts_for_the_address_again(
    limited: Installation,
) -> None:
    token = await authorization(limited)
    async with client_at(limited, "192.0.2.5", Authorization=token) as client:
        assert (await client.post("/auth/logout")).status_code == 200
        counted = [(await client.get("/users/me")).headers["ratelimit-policy"] for _ in range(2)]
    assert counted == ['"credential";q=5;w=60', '"address";q=5;w=60']


async def test_a_user_gains_nothing_by_spelling_the_same_token_in_many_ways(
    limited: Installation,
) -> None:
    token = (await authorization(limited)).removeprefix("Bearer ")
    served = 0
    async with client_at(limited, "192.0.2.5") as client:
        for number in range(40):
            spelled = f"{'Bearer' if number % 2 else 'bearer'} {' ' * (number // 4)}{token}"
            response = await client.get("/users/me", headers={"Authorization": spelled})
            served += response.status_code == 200
    assert served <= 2 * LIMIT, "one quota for the user and one for the address"


async def test_the_greeting_and_the_health_routes_are_never_refused(
    limited: Installation,
) -> None:
    async with client_at(limited, "192.0.2.6") as client:
        for path in ("/", "/health", "/health/live", "/health/ready"):
            for _ in range(2 * LIMIT):
                response = await client.get(path)
                assert response.status_code == 200
                assert "ratelimit" not in response.headers


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.8", "::ffff:192.0.2.9", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
async def test_whoever_has_a_whole_network_of_addresses_is_counted_once(
    limited: Installation, first: str, second: str, *, is_same: bool
) -> None:
    async with client_at(limited, first) as client:
        for _ in range(LIMIT):
            await client.get("/users/me")
    async with client_at(limited, second) as client:
        response = await client.get("/users/me")
    assert response.status_code == (429 if is_same else 401)


async def test_a_websocket_over_the_limit_is_refused_before_it_opens(
    limited: Installation,
) -> None:
    async with client_at(limited, "192.0.2.10") as client:
        for _ in range(LIMIT):
            await client.get("/users/me")
    sent: list[Message] = []
    scope: dict[str, Any] = {
        "type": "websocket", "path": "/ws/events", "headers": [(b"host", b"goblin")],
        "client": ("192.0.2.10", 1), "scheme": "ws", "query_string": b"", "root_path": "",
        "extensions": {"websocket.http.response": {}}, "http_version": "1.1", "subprotocols": [],
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await limited.app(scope, receive, send)
    assert sent[0]["type"] == "websocket.http.response.start"
    assert sent[0]["status"] == 429
    assert b"retry-after" in dict(sent[0]["headers"])


async def test_with_zero_nobody_is_counted(installation: Installation) -> None:
    async with client_at(installation, str(IPv4Address(3221226219))) as client:
        for _ in range(20):
            response = await client.get("/users/me")
            assert response.status_code == 401
            assert "ratelimit" not in response.headers


def test_a_bot_may_ask_a_hundred_times_a_second_unless_the_owner_says_otherwise() -> None:
    assert load_settings(env_file=None).rate_limit_per_minute == 100 * 60
