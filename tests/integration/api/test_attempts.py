"""How often somebody may try a password, or register."""

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
from app.db.address import DatabaseAddress
from app.domain.attempts import Purpose
from app.jobs.purge_attempts import run as purge
from app.main import create_app
from app.replay import ReplayExchange
from app.services.accounts import open_account
from app.services.passwords import PasswordHasher
from fastapi import FastAPI
from passlib.hash import bcrypt_sha256
from tests.conftest import CloneDatabase, Installation, fill_pool, run_installation, settings_for
from tests.integration.api.test_conventions import assert_is_error
from tests.serving import served

RIGHT, WRONG = "correct horse", "wrong horse"
CHEAP_ROUNDS = 4
CHEAP_HASH = bcrypt_sha256.using(rounds=CHEAP_ROUNDS).hash(RIGHT)
_numbers = itertools.count(1)


@pytest.fixture(autouse=True, scope="module")
def cheap_hashes(installation: Installation) -> Iterator[None]:
    """Hundreds of passwords are checked here, and outdated hashes renewed at the same price."""
    resources = installation.app.state.resources
    hasher = PasswordHasher(rounds=CHEAP_ROUNDS + 1)
    installation.app.state.resources = replace(resources, passwords=hasher)
    yield
    installation.app.state.resources = resources
    hasher.close()


def new_address() -> str:
    """An address that no other test comes from."""
    number = next(_numbers)
    return f"10.{os.getpid() % 256}.{number // 256}.{number % 256}"


def new_email() -> str:
    return f"attempt{next(_numbers)}.{os.getpid()}@example.com"


async def new_account(installation: Installation) -> str:
    """The e-mail of somebody whose password is cheap to check."""
    async with installation.resources.db.transaction() as conn:
        user = await open_account(
            conn,
            email=new_email(),
            password_hash=CHEAP_HASH,
            name="Somebody",
            starting_balance=Decimal(0),
            request_id="test",
        )
    return user.email


@dataclass(frozen=True)
class Caller:
    """Somebody at an address."""

    client: httpx.AsyncClient

    async def log_in(self, email: str, password: str) -> httpx.Response:
        return await self.client.post("/auth/login", json={"email": email, "password": password})

    async def fail(self, emails: Sequence[str]) -> None:
        """Wrong passwords, each answered as such."""
        for email in emails:
            assert_is_error(await self.log_in(email, WRONG), 401, "invalid_credentials")


@pytest.fixture
async def second_installation(
    clone: CloneDatabase, exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    """One on a database of its own."""
    async with run_installation(settings_for(await clone(), exchange.base_url)) as running:
        yield running


@asynccontextmanager
async def at(app: FastAPI, address: str, **headers: str) -> AsyncIterator[Caller]:
    transport = httpx.ASGITransport(app, client=(address, 4711), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://goblin", headers=headers
    ) as client:
        yield Caller(client)


def assert_waits(response: httpx.Response, *, seconds: int = 900) -> None:
    assert_is_error(response, 429, "too_many_logins")
    waiting = int(response.headers["retry-after"])
    assert seconds - 60 <= waiting <= seconds
    assert response.json()["message"].endswith(f"try again in {waiting} seconds")


async def test_after_ten_wrong_passwords_an_address_waits_and_the_owner_elsewhere_does_not(
    installation: Installation,
) -> None:
    email = await new_account(installation)
    hasher = installation.app.state.resources.passwords
    async with at(installation.app, new_address()) as guesser:
        await guesser.fail([email, email.upper()] * 5)
        assert (before := hasher.hashes_begun) >= 10
        assert_waits(await guesser.log_in(email, WRONG))
        assert_waits(await guesser.log_in(email.title(), RIGHT))
        form = {"username": email, "password": RIGHT}
        assert_waits(await guesser.client.post("/auth/token", data=form))
        assert hasher.hashes_begun == before, "whoever has to wait costs no hash"
        other = await new_account(installation)
        assert (await guesser.log_in(other, RIGHT)).status_code == 200
    async with at(installation.app, new_address()) as owner:
        assert (await owner.log_in(email, RIGHT)).status_code == 200


async def test_twenty_simultaneous_guesses_get_ten_answers(installation: Installation) -> None:
    await fill_pool(installation)
    email = await new_account(installation)
    async with at(installation.app, new_address()) as guesser:
        answers = await asyncio.gather(*(guesser.log_in(email, WRONG) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 10


async def test_twenty_simultaneous_right_passwords_are_all_right_while_their_hash_is_renewed(
    installation: Installation,
) -> None:
    """One of them renews it; the hash that the others have checked is gone then."""
    await fill_pool(installation)
    email = await new_account(installation)
    async with at(installation.app, new_address()) as owner:
        await owner.fail([email])
        answers = await asyncio.gather(*(owner.log_in(email, RIGHT) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20


async def test_an_unknown_email_is_throttled_exactly_like_a_known_one(
    installation: Installation,
) -> None:
    unknown = new_email()
    async with at(installation.app, new_address()) as guesser:
        answers = await asyncio.gather(*(guesser.log_in(unknown, WRONG) for _ in range(11)))
        assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429]
        assert_waits(await guesser.log_in(unknown, WRONG))


async def test_a_hundred_failures_over_all_accounts_make_an_address_wait(
    installation: Installation,
) -> None:
    emails = [await new_account(installation) for _ in range(11)]
    address = new_address()
    async with at(installation.app, address) as guesser, at(installation.app, address) as other:
        for email in emails[:10]:
            assert (await other.log_in(email, RIGHT)).status_code == 200, "successes do not count"
        for _ in range(10):
            assert (await other.log_in(emails[10], RIGHT)).status_code == 200
            await guesser.fail(emails[:10])
        assert_waits(await guesser.log_in(emails[10], RIGHT))
        assert_waits(await guesser.log_in(new_email(), RIGHT))
    async with at(installation.app, new_address()) as neighbour:
        assert (await neighbour.log_in(emails[0], RIGHT)).status_code == 200


async def test_a_right_password_clears_what_an_account_has_against_it_at_this_address_only(
    installation: Installation,
) -> None:
    email = await new_account(installation)
    async with (
        at(installation.app, new_address()) as owner,
        at(installation.app, new_address()) as guesser,
    ):
        await guesser.fail([email] * 10)
        await owner.fail([email] * 9)
        assert (await owner.log_in(email, RIGHT)).status_code == 200
        await owner.fail([email] * 10)
        assert_waits(await owner.log_in(email, RIGHT))
        assert_waits(await guesser.log_in(email, RIGHT))


async def let_time_pass(installation: Installation, origin: str, seconds: int) -> None:
    """Make every attempt of an origin so much older."""
    async with installation.resources.db.connection() as conn:
        await conn.execute(
            """
            UPDATE attempts
            SET tried_at = ARRAY(SELECT t - $2::interval FROM unnest(tried_at) AS t)
            WHERE origin = $1
            """,
            origin,
            timedelta(seconds=seconds),
        )


async def test_a_clock_that_was_a_day_ahead_locks_nobody_out_for_a_day(
    installation: Installation,
) -> None:
    email = await new_account(installation)
    address = new_address()
    async with at(installation.app, address) as owner:
        await owner.fail([email] * 10)
        await let_time_pass(installation, address, seconds=-86_400)
        assert (await owner.log_in(email, RIGHT)).status_code == 200
        await owner.fail([email] * 10)
        assert_waits(await owner.log_in(email, RIGHT))


async def test_retry_after_is_the_time_after_which_one_more_attempt_is_looked_at(
    installation: Installation,
) -> None:
    email, address = await new_account(installation), new_address()
    async with at(installation.app, address) as guesser:
        await guesser.fail([email])
        await let_time_pass(installation, address, 300)
        await guesser.fail([email] * 9)
        refused = await guesser.log_in(email, WRONG)
        assert_waits(refused, seconds=600)
        waiting = int(refused.headers["retry-after"])
        await let_time_pass(installation, address, waiting - 60)
        assert_waits(await guesser.log_in(email, WRONG), seconds=60)
        await let_time_pass(installation, address, 60)
        await guesser.fail([email])
        # The nine came 300 seconds after the first, and what making them took.
        assert_waits(await guesser.log_in(email, WRONG), seconds=330)


async def test_the_count_is_shared_by_processes_and_survives_their_end(
    installation: Installation, postgres: DatabaseAddress, exchange: ReplayExchange
) -> None:
    email, address = await new_account(installation), new_address()
    async with (
        run_installation(settings_for(postgres, exchange.base_url)) as second,
        at(second.app, address) as guesser,
    ):
        await guesser.fail([email] * 5)
    async with at(installation.app, address) as guesser:
        await guesser.fail([email] * 5)
        assert_waits(await guesser.log_in(email, RIGHT))


async def test_addresses_of_one_ipv6_network_count_as_one(installation: Installation) -> None:
    email = await new_account(installation)
    network = f"2001:db8:{os.getpid() % 65536:x}:{next(_numbers)}"
    for host in range(1, 11):
        async with at(installation.app, f"{network}::{host}") as guesser:
            await guesser.fail([email])
    async with at(installation.app, f"{network}:ffff::1") as guesser:
        assert_waits(await guesser.log_in(email, RIGHT))
    async with at(installation.app, f"2001:db8:{os.getpid() % 65536:x}:ffff::1") as owner:
        assert (await owner.log_in(email, RIGHT)).status_code == 200


async def test_whoever_makes_up_addresses_is_still_who_the_connection_comes_from(
    second_installation: Installation,
) -> None:
    """uvicorn with its own settings, which believe the header of anybody on this machine."""
    email = await new_account(second_installation)
    app = second_installation.app
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=45) as client:
        answers = [
            await client.post(
                "/auth/login",
                json={"email": email, "password": WRONG},
                headers={"X-Forwarded-For": f"203.0.113.{number}"},
            )
            for number in range(11)
        ]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    async with second_installation.resources.db.connection() as conn:
        origins = await conn.fetch("SELECT DISTINCT origin FROM attempts")
    assert [row["origin"] for row in origins] == ["127.0.0.1"]


async def test_behind_a_trusted_proxy_everybody_counts_for_themselves(
    installation: Installation, postgres: DatabaseAddress, exchange: ReplayExchange
) -> None:
    email, ours, proxy = await new_account(installation), new_address(), new_address()
    settings = settings_for(postgres, exchange.base_url, trusted_proxies=proxy)
    app = create_app(settings)
    app.state.resources = installation.resources
    async with at(app, proxy, **{"X-Forwarded-For": f"1.1.1.1, {ours}"}) as guesser:
        await guesser.fail([email] * 10)
        assert_waits(await guesser.log_in(email, RIGHT))
    async with at(app, proxy, **{"X-Forwarded-For": new_address()}) as owner:
        assert (await owner.log_in(email, RIGHT)).status_code == 200
    async with at(installation.app, ours) as direct:
        assert_waits(await direct.log_in(email, RIGHT))


async def test_an_address_may_register_so_often_in_an_hour_and_no_more(
    installation: Installation, postgres: DatabaseAddress, exchange: ReplayExchange
) -> None:
    app = create_app(settings_for(postgres, exchange.base_url))
    app.state.resources = replace(installation.resources, registrations_per_hour=2)
    address, taken = new_address(), await new_account(installation)
    hasher = installation.resources.passwords

    def person(email: str) -> dict[str, str]:
        return {"email": email, "password": RIGHT, "name": "Ada"}

    async with at(app, address) as caller:
        malformed = await caller.client.post("/auth/register", json=person("nobody"))
        assert_is_error(malformed, 422)
        used = await caller.client.post("/auth/register", json=person(taken))
        assert_is_error(used, 400, "email_already_registered")
        made = await caller.client.post("/auth/register", json=person(new_email()))
        assert made.status_code == 201
        before = hasher.hashes_begun
        refused = await caller.client.post("/auth/register", json=person(new_email()))
        assert_is_error(refused, 429, "too_many_registrations")
        assert 3540 <= int(refused.headers["retry-after"]) <= 3600
        assert hasher.hashes_begun == before
        assert (await caller.log_in(taken, RIGHT)).status_code == 200, "logins are not concerned"
        await let_time_pass(installation, address, 3600)
        made = await caller.client.post("/auth/register", json=person(new_email()))
        assert made.status_code == 201
    async with at(app, new_address()) as other:
        made = await other.client.post("/auth/register", json=person(new_email()))
        assert made.status_code == 201


async def test_a_password_that_was_not_looked_at_is_no_failure(installation: Installation) -> None:
    app = create_app(settings_for(installation.address, "http://127.0.0.1:9"))
    hasher = PasswordHasher(threads=1, waiting_max=0)
    app.state.resources = replace(installation.resources, passwords=hasher)
    email, address = await new_account(installation), new_address()
    async with at(app, address) as caller, hasher.turn():
        for _ in range(11):
            busy = await caller.log_in(email, WRONG)
            assert_is_error(busy, 503, "passwords_busy")
            assert int(busy.headers["retry-after"]) >= 1
        body = {"email": new_email(), "password": RIGHT, "name": "Ada"}
        busy = await caller.client.post("/auth/register", json=body)
        assert_is_error(busy, 503, "passwords_busy")
    async with at(installation.app, address) as caller:
        await caller.fail([email] * 10)
        assert_waits(await caller.log_in(email, RIGHT))
    async with at(app, address) as caller, hasher.turn():
        assert_waits(await caller.log_in(email, RIGHT))  # and stands in nobody's way meanwhile
    hasher.close()


async def test_what_is_remembered_and_logged_of_an_attempt_names_no_email_and_no_password(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    email, address = await new_account(installation), new_address()
    with caplog.at_level(logging.DEBUG):
        async with at(installation.app, address) as guesser:
            await guesser.fail([email] * 10)
            assert_waits(await guesser.log_in(email, WRONG))
    refusals = [record.__dict__ for record in caplog.records if record.msg == "attempt refused"]
    assert [(r["code"], r["origin"]) for r in refusals] == [("too_many_logins", address)]
    async with installation.resources.db.connection() as conn:
        stored = await conn.fetch("SELECT attempts::text AS row FROM attempts")
    said = str([record.__dict__ for record in caplog.records]) + str([r["row"] for r in stored])
    assert email not in said
    assert email.encode().hex() not in said
    assert WRONG not in said


async def test_the_purge_forgets_what_no_longer_counts_and_nothing_else(
    second_installation: Installation,
) -> None:
    db = second_installation.resources.db
    rows = {"old": [3601, 3700], "empty": [], "mixed": [5000, 3500], "new": [1]}
    async with db.connection() as conn:
        for origin, ages in rows.items():
            await conn.execute(
                """
                INSERT INTO attempts (purpose, origin, account, tried_at)
                SELECT $1, $2, '', ARRAY(
                    SELECT now() - age * interval '1 second' AS t FROM unnest($3::int[]) AS age
                    ORDER BY t
                )
                """,
                Purpose.LOGIN,
                origin,
                ages,
            )
    purging = asyncio.create_task(purge(db))
    async with asyncio.timeout(30):
        while True:
            async with db.connection() as conn:
                left = {row["origin"] for row in await conn.fetch("SELECT origin FROM attempts")}
            if left.isdisjoint({"old", "empty"}):  # its own job may have begun with some
                break
            await asyncio.sleep(0.01)
    purging.cancel()
    assert left == {"mixed", "new"}
