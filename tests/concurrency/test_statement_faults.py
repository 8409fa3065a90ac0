"""The n-th statement of every request that writes fails, for every n and every kind of failure."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.db.address import DatabaseAddress
from app.db.dao import administration
from app.replay import ReplayExchange
from tests.concurrency.cases import (
    CASES,
    SETTLING,
    Case,
    Request,
    Rows,
    ask,
    post,
    rows_of,
    shape,
)
from tests.concurrency.conftest import patiently
from tests.concurrency.faults import (
    FAULTS,
    RARER_FAULTS,
    Fault,
    Faults,
    faulty_connections,
)
from tests.conftest import (
    Installation,
    Person,
    new_person,
    run_installation,
    settings_for,
)
from tests.integration.api.test_conventions import assert_is_error, routes

pytestmark = pytest.mark.usefixtures("watcher")
STATEMENTS_MAX = 60
SAFETY_SECONDS = 30
BAD = 400
RETRIED = {"40001", "40P01"}
MONEY = {case.name: case for case in CASES}
BY_STATE = {fault.state: fault for fault in FAULTS if fault.state is not None}
_keys = (f"fault-{number}" for number in itertools.count())


@dataclass(frozen=True)
class Fragile:
    """An installation whose connections fail on demand."""

    running: Installation
    pool: asyncpg.Pool
    faults: Faults
    after: dict[str, Rows] = field(default_factory=dict)
    """What a case leaves behind when nothing fails."""

    async def person(self) -> Person:
        return await new_person(self.running, balance="1000000")

    async def assert_nothing_is_leaked(self) -> None:
        async with asyncio.timeout(SAFETY_SECONDS):
            while self.pool.get_idle_size() != self.pool.get_size():  # noqa: ASYNC110 - a pool tells nobody
                await asyncio.sleep(0.001)


@pytest_asyncio.fixture(scope="module")
async def fragile(address: DatabaseAddress, exchange: ReplayExchange) -> AsyncIterator[Fragile]:
    faults = Faults()
    connection_class = faulty_connections(faults)
    settings = settings_for(address, exchange.base_url, price_max_age_seconds=60)
    async with (
        run_installation(settings) as running,
        patiently(running, size=3, connection_class=connection_class) as pool,
    ):
        async with running.resources.db.connection() as conn:
            await administration.claim_first_place(conn)  # so that all who register are equal
        yield Fragile(running=running, pool=pool, faults=faults)


PATHS = [
    *((case, None) for case in CASES),
    *((case, SETTLING) for case in CASES if case.is_settled and case.status < BAD),
]
SWEPT = [
    *((*path, fault) for path, fault in itertools.product(PATHS, FAULTS)),
    *(
        (case, None, fault)
        for case, fault in itertools.product((MONEY["buy"], MONEY["sell by path"]), RARER_FAULTS)
    ),
]
SWEPT_NAMES = [
    f"{case.name}{', overtaken' if overtaken else ''}-{fault.name}"
    for case, overtaken, fault in SWEPT
]


@pytest.mark.parametrize(("case", "overtaken_at", "fault"), SWEPT, ids=SWEPT_NAMES)
async def test_a_change_is_made_wholly_or_not_at_all_whichever_statement_fails(
    fragile: Fragile,
    watcher: asyncpg.Connection,
    case: Case,
    overtaken_at: str | None,
    fault: Fault,
) -> None:
    wanted = await clean_run(fragile, watcher, case)
    person, request = await ready(fragile, case)
    before = await rows_of(watcher, person.user.id)
    for n in range(1, STATEMENTS_MAX):
        key = next(_keys)
        fragile.faults.arm(fault, at=n, overtaken_at=overtaken_at)
        answer = await ask(person, request, key=key)
        await fragile.assert_nothing_is_leaked()
        fragile.faults.disarm()
        assert_is_expected(answer, fault, case.status)
        rows = await rows_of(watcher, person.user.id)
        if rows == before:
            assert answer.status_code == fault.status, "what was answered did not happen"
        else:
            assert shape(rows) == wanted, "half of it happened"
            again = await ask(person, request, key=key)
            assert again.status_code == case.status
            assert again.headers["idempotent-replayed"] == "true"
            assert await rows_of(watcher, person.user.id) == rows
            person, request = await ready(fragile, case)
            before = await rows_of(watcher, person.user.id)
        if not fragile.faults.has_struck:
            assert answer.status_code == case.status
            assert n > 2, "one reads and one writes"
            return
    pytest.fail("the request never came to an end")


def assert_is_expected(answer: httpx.Response, fault: Fault, *done: int) -> None:
    """One of the successes, or the error that this failure is for a caller."""
    assert answer.status_code in {fault.status, *done}, answer.text
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1


async def ready(fragile: Fragile, case: Case) -> tuple[Person, Request]:
    person = await fragile.person()
    return person, await case.prepare(person)


async def clean_run(fragile: Fragile, conn: asyncpg.Connection, case: Case) -> Rows:
    if case.name not in fragile.after:
        person, request = await ready(fragile, case)
        answer = await ask(person, request, key=next(_keys))
        assert answer.status_code == case.status, answer.text
        fragile.after[case.name] = shape(await rows_of(conn, person.user.id))
    return fragile.after[case.name]


@pytest.mark.parametrize("state", sorted(RETRIED))
@pytest.mark.parametrize("times", [1, 3, 4])
@pytest.mark.parametrize(
    "undone",
    [
        ("INTO idempotency_keys", post("/users/me/deposit", amount="1")),
        ("INTO idempotency_keys", post("/watchlist", symbol="BTCUSDT")),
        ("COMMIT;", post("/watchlist", symbol="BTCUSDT")),
    ],
)
async def test_what_a_deadlock_undid_is_done_again_three_times_at_most(
    fragile: Fragile,
    watcher: asyncpg.Connection,
    state: str,
    times: int,
    undone: tuple[str, Request],
) -> None:
    query, change = undone
    person, key = await fragile.person(), next(_keys)
    before = await rows_of(watcher, person.user.id)
    fragile.faults.arm(BY_STATE[state], at_query=query, times=times)
    answer = await ask(person, change, key=key)
    fragile.faults.disarm()
    if times <= 3:
        assert answer.is_success, answer.text
        assert await rows_of(watcher, person.user.id) != before
    else:
        assert_is_error(answer, 409, "concurrent_update")
        assert await rows_of(watcher, person.user.id) == before
        retried = await ask(person, change, key=key)
        assert retried.is_success, "that others stood in the way is not kept"
        assert "idempotent-replayed" not in retried.headers


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_registering_is_done_wholly_or_not_at_all_whichever_statement_fails(
    fragile: Fragile, watcher: asyncpg.Connection, fault: Fault
) -> None:
    """With a password hasher that costs nothing: hashing is not what is proven here."""
    running = fragile.running
    resources = running.app.state.resources
    running.app.state.resources = replace(resources, passwords=InstantHasher())
    shapes: list[Rows] = []
    async with running.client() as client:
        for n in range(STATEMENTS_MAX):
            email = f"{next(_keys)}@example.com"
            if n > 0:
                fragile.faults.arm(fault, at=n)
            answer = await register(client, email)
            await fragile.assert_nothing_is_leaked()
            fragile.faults.disarm()
            user_id = await watcher.fetchval("SELECT id FROM users WHERE email = $1", email)
            assert_is_expected(answer, fault, 201)
            if user_id is None:
                assert answer.status_code == fault.status
            else:
                shapes.append(shape(await rows_of(watcher, user_id)))
                assert shapes[-1] == shapes[0]
                assert (await register(client, email)).status_code == 400
            if n > 0 and not fragile.faults.has_struck:
                assert answer.status_code == 201
                break
    running.app.state.resources = resources
    assert len(shapes) >= 2


async def register(client: httpx.AsyncClient, email: str) -> httpx.Response:
    body = {"email": email, "password": "correct horse", "name": "Ada"}
    return await client.post("/auth/register", json=body)


class InstantHasher:
    """Stands where the PasswordHasher stands."""

    async def hash(self, password: str) -> str:
        return f"!{password}"

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        return hashed == f"!{password}", f"!{password}"


READS = ("/users/me", "/order", "/order/by-client-id/first", "/watchlist", "/log", "/strategy",
         "/trade-strategy", "/ledger/accounts", "/ledger/entries", "/ledger/audit")  # fmt: skip


@pytest.mark.parametrize("fault", [*FAULTS, *RARER_FAULTS], ids=lambda fault: fault.name)
async def test_a_read_answers_or_says_that_the_database_is_away(
    fragile: Fragile, fault: Fault
) -> None:
    person = await fragile.person()
    await person.client.request(**CASES[3].before[0])
    for url in READS:
        for n in range(1, STATEMENTS_MAX):
            fragile.faults.arm(fault, at=n)
            answer = await person.client.get(url)
            await fragile.assert_nothing_is_leaked()
            fragile.faults.disarm()
            assert_is_expected(answer, fault, 200, 404)
            if not fragile.faults.has_struck:
                break


BODIES: dict[str, Request] = {
    "/auth/register": {"json": {"email": "a@example.com", "password": "right horse", "name": "A"}},
    "/auth/login": {"json": {"email": "a@example.com", "password": "right horse"}},
    "/auth/token": {"data": {"username": "a@example.com", "password": "right horse"}},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_no_route_answers_500_or_nothing_when_its_first_statement_fails(
    fragile: Fragile, fault: Fault
) -> None:
    running = fragile.running
    resources = running.app.state.resources
    running.app.state.resources = replace(resources, passwords=InstantHasher())
    person = await fragile.person()
    struck = set()
    for method, spelling in routes():
        path = spelling.rstrip("/") or "/"
        if (method, path) in struck:
            continue
        fragile.faults.arm(fault, at=1)
        answer = await person.client.request(method, path, **BODIES.get(path, {}))
        await fragile.assert_nothing_is_leaked()
        fragile.faults.disarm()
        assert answer.status_code != 500
        if not fragile.faults.has_struck:  # it asks no database
            continue
        struck.add((method, path))
        if fault.state in RETRIED and answer.status_code in {201, 400}:
            continue  # done again: this address registers once
        if not (fault.is_carried_out and answer.is_success):
            # Health has no other word for a database that cannot answer now.
            is_vague = path.startswith("/health") and answer.status_code == 503
            told = replace(fault, status=503) if is_vague else fault
            assert_is_error(answer, told.status)
            assert_is_expected(answer, told)
    running.app.state.resources = resources
    assert len(struck) > 30
    assert {path for _, path in struck} >= {"/health", "/order", *BODIES}
