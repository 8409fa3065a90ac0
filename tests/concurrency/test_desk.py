"""Money requests that wait anyway share a commit, and never each other's misfortune."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

import asyncpg
import pytest
import pytest_asyncio
from app.db.address import DatabaseAddress
from app.db.database import LOCK_SECONDS_MAX, Database, open_pool
from app.domain.answers import Answer
from app.domain.errors import GoblinError, Unavailable
from app.domain.users import UserGone, UserId
from app.replay import ReplayExchange
from app.services.decisions import Decision, Deposit
from app.services.desk import Desk, open_desk
from app.services.settlement import Asked
from tests.concurrency.cases import SETTLING, ask, post
from tests.concurrency.conftest import PATIENCE_SECONDS, Pair, at_once, patiently
from tests.concurrency.faults import FAULTS, Faults, faulty_connections, with_pool
from tests.conftest import Installation, Person, new_person, run_installation, settings_for
from tests.integration.api.test_conventions import assert_is_error

_keys = (f"desk-{number}" for number in itertools.count())
BUY = post("/order", symbol="BTCUSDT", quantity="0.01")
DEPOSIT = post("/users/me/deposit", amount="1")


@dataclass(frozen=True)
class Counted:
    """An installation whose statements are counted, and fail on demand."""

    running: Installation
    faults: Faults

    async def people(self, count: int) -> list[Person]:
        return [await new_person(self.running, balance="1000000") for _ in range(count)]


@pytest_asyncio.fixture(scope="module")
async def counted(address: DatabaseAddress, exchange: ReplayExchange) -> AsyncIterator[Counted]:
    faults = Faults()
    settings = settings_for(address, exchange.base_url, price_max_age_seconds=60)
    async with (
        run_installation(settings) as running,
        patiently(running, size=10, connection_class=faulty_connections(faults)),
    ):
        yield Counted(running=running, faults=faults)


@pytest_asyncio.fixture
async def hasty(counted: Counted) -> AsyncIterator[Counted]:
    """The same, which waits for a user no longer than goblin does."""
    before = counted.running.app.state.resources
    async with open_pool(counted.running.address, size=10) as pool:
        counted.running.app.state.resources = with_pool(
            before, pool, patience_seconds=PATIENCE_SECONDS
        )
        yield counted
        counted.running.app.state.resources = before


async def deposits_of(conn: asyncpg.Connection, person: Person) -> int:
    count: int = await conn.fetchval(
        "SELECT count(*) FROM ledger_transfers WHERE user_id = $1 AND cause = 'deposit'",
        person.user.id,
    )
    return count


async def test_a_lone_request_is_one_statement_that_reads_and_one_that_writes(
    counted: Counted,
) -> None:
    (person,) = await counted.people(1)
    desk = counted.running.app.state.resources.desk
    counted.faults.seen = 0
    await desk.ask(deposit_of(person, "1"))
    assert counted.faults.seen == 2
    counted.faults.seen = 0
    assert (await ask(person, DEPOSIT)).status_code == 200
    assert counted.faults.seen == 2, "who asks is found out by the same that reads"


async def test_fifty_at_once_need_hardly_more_statements_than_one(
    counted: Counted, books: asyncpg.Connection
) -> None:
    people = await counted.people(50)
    desk = counted.running.app.state.resources.desk
    counted.faults.seen = 0
    answers = await asyncio.gather(*(desk.ask(deposit_of(person, "1")) for person in people))
    assert len(answers) == 50
    assert counted.faults.seen <= 4, "two batches at the most"
    for person in people:
        assert await deposits_of(books, person) == 1


async def test_requests_that_share_nothing_are_written_side_by_side(
    counted: Counted, books: asyncpg.Connection
) -> None:
    people = await counted.people(4)
    async with open_desk(counted.running.app.state.resources.db, batch_max=1) as desk:
        async with books.transaction():
            await books.execute("LOCK TABLE ledger_accounts IN ACCESS EXCLUSIVE MODE")
            asked = [asyncio.create_task(desk.ask(deposit_of(p, "1"))) for p in people]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await _waiting_count(books) < len(people):  # noqa: ASYNC110 - of a database
                    await asyncio.sleep(0.01)
        await asyncio.gather(*asked)
    for person in people:
        assert await deposits_of(books, person) == 1


async def _waiting_count(conn: asyncpg.Connection) -> int:
    count: int = await conn.fetchval(
        """
        SELECT count(*) FROM pg_locks
        WHERE NOT granted AND relation = 'ledger_accounts'::regclass
        """
    )
    return count


async def test_what_one_user_asks_at_once_happens_in_that_order(counted: Counted) -> None:
    (person,) = await counted.people(1)
    desk = counted.running.app.state.resources.desk
    balances: list[Decimal] = []

    def remember(asked: Asked) -> Asked:
        def respond(decision: Decision) -> Answer:
            balances.append(decision.user.balance)
            return Answer(status=200, body="")

        return replace(asked, respond=respond)

    wanted = [Decimal(1_000_000 + n * (n + 1) // 2) for n in range(1, 21)]
    await asyncio.gather(*(desk.ask(remember(deposit_of(person, str(n)))) for n in range(1, 21)))
    assert balances == wanted


async def test_a_buy_a_close_and_another_buy_of_one_symbol_at_once_are_all_decided(
    counted: Counted, books: asyncpg.Connection
) -> None:
    (person,) = await counted.people(1)
    close = {"method": "DELETE", "url": "/order/BTCUSDT"}
    answers = await at_once([partial(ask, person, r) for r in (BUY, close, BUY, close, BUY)])
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 201, 400}
    active = await books.fetchval(
        "SELECT count(*) FROM transact WHERE user_id = $1 AND status = 1", person.user.id
    )
    assert statuses.count(201) - statuses.count(200) == active


async def test_a_request_that_cannot_be_written_is_refused_alone(
    counted: Counted, watcher: asyncpg.Connection, books: asyncpg.Connection
) -> None:
    people = await counted.people(12)
    cursed = people[7]
    await watcher.execute(f"""
        CREATE FUNCTION curse() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE check_violation USING MESSAGE = 'cursed'; END$$;
        CREATE TRIGGER curse BEFORE INSERT ON ledger_transfers
        FOR EACH ROW WHEN (NEW.user_id = {cursed.user.id}) EXECUTE FUNCTION curse();
    """)
    try:
        answers = await at_once([partial(ask, person, DEPOSIT) for person in people])
    finally:
        await watcher.execute("DROP TRIGGER curse ON ledger_transfers; DROP FUNCTION curse()")
    assert [answer.status_code for answer in answers] == [
        500 if person is cursed else 200 for person in people
    ]
    for person in people:
        assert await deposits_of(books, person) == (person is not cursed)


async def test_nobody_waits_for_a_user_whom_somebody_else_holds(
    hasty: Counted, books: asyncpg.Connection
) -> None:
    while not await others_are_served_while_some_are_held(hasty, books):
        pass  # the machine was away for so long that whoever waited had been refused


async def others_are_served_while_some_are_held(hasty: Counted, books: asyncpg.Connection) -> bool:
    """Whether it could be seen before those who wait were refused."""
    all_held, others = await hasty.people(3), await hasty.people(7)
    desk = hasty.running.app.state.resources.desk
    holder = await asyncpg.connect(**hasty.running.address.connect_arguments())
    loop = asyncio.get_running_loop()
    async with holder.transaction():
        ids = [person.user.id for person in all_held]
        await holder.execute("SELECT FROM users WHERE id = ANY($1) FOR UPDATE", ids)
        *stayed, left = all_held
        began_at = loop.time()
        leaving = asyncio.create_task(desk.ask(deposit_of(left, "1")))
        waiting = [asyncio.create_task(ask(held, DEPOSIT, key=next(_keys))) for held in stayed]
        for person in others[:3]:
            assert (await ask(person, DEPOSIT)).status_code == 200
        waiting += [asyncio.create_task(ask(held, DEPOSIT)) for held in stayed]
        leaving.cancel()
        for person in others[3:]:
            assert (await ask(person, DEPOSIT)).status_code == 200
        is_anybody_told = any(task.done() for task in waiting)
        is_in_time = loop.time() - began_at < LOCK_SECONDS_MAX
        assert not (is_anybody_told and is_in_time), "others were served meanwhile"
        answers = await asyncio.gather(*waiting)
    for first in answers[:2]:
        assert_is_error(first, 409, "request_in_progress")
    for second in answers[2:]:
        assert_is_error(second, 409, "concurrent_update")
    assert leaving.cancelled()
    for held in all_held:
        assert await deposits_of(books, held) == 0
        assert (await ask(held, DEPOSIT)).status_code == 200
        assert await deposits_of(books, held) == 1
    await holder.close()
    return is_in_time


async def test_a_user_who_is_released_in_time_is_served(
    counted: Counted, books: asyncpg.Connection
) -> None:
    (person,) = await counted.people(1)
    holder = await asyncpg.connect(**counted.running.address.connect_arguments())
    async with holder.transaction():
        await holder.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", person.user.id)
        tasks = [asyncio.create_task(ask(person, DEPOSIT)) for _ in range(5)]
        await asyncio.sleep(0.2)
    assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [200] * 5
    assert await deposits_of(books, person) == 5
    await holder.close()


async def test_whoever_was_overtaken_is_decided_anew_on_what_is_true_now(
    counted: Counted, watcher: asyncpg.Connection
) -> None:
    (person,) = await counted.people(1)
    counted.faults.arm(FAULTS[0], at=10_000, overtaken_at=SETTLING)
    answer = await ask(person, DEPOSIT, key=next(_keys))
    counted.faults.disarm()
    assert answer.status_code == 200
    assert await deposits_of(watcher, person) == 1


async def test_two_processes_that_serve_the_same_users_lose_and_double_nothing(
    pair: Pair, books: asyncpg.Connection
) -> None:
    people = [await pair.person() for _ in range(4)]
    calls = [
        lambda person=person: ask(person, DEPOSIT, key=next(_keys))
        for _ in range(25)
        for both in people
        for person in both
    ]
    answers = await at_once(calls)
    assert {answer.status_code for answer in answers} == {200}
    for here, there in people:
        assert await here.balance() == await there.balance() == 50
        assert await deposits_of(books, here) == 50


async def test_whoever_leaves_before_their_turn_gets_nothing_done(
    counted: Counted, watcher: asyncpg.Connection
) -> None:
    (person,) = await counted.people(1)
    desk = counted.running.app.state.resources.desk
    task = asyncio.create_task(desk.ask(deposit_of(person, "1")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await desk.ask(deposit_of(person, "2"))
    assert await deposits_of(watcher, person) == 1


async def test_a_closed_desk_finishes_what_is_being_written_and_refuses_the_rest(
    counted: Counted, watcher: asyncpg.Connection
) -> None:
    people = await counted.people(3)
    db: Database = counted.running.app.state.resources.db
    desk = Desk(db, batch_max=1, batches_at_once=1)
    tasks = [asyncio.create_task(desk.ask(deposit_of(person, "1"))) for person in people]
    for _ in range(3):
        await asyncio.sleep(0)
    await desk.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], Answer)
    assert [type(result) for result in results[1:]] == [Unavailable, Unavailable]
    assert [await deposits_of(watcher, person) for person in people] == [1, 0, 0]
    with pytest.raises(Unavailable, match="shutting down"):
        await desk.ask(deposit_of(people[0], "1"))


async def test_a_closed_desk_also_finishes_what_it_finds_held_while_it_closes(
    counted: Counted, watcher: asyncpg.Connection
) -> None:
    (person,) = await counted.people(1)
    db: Database = counted.running.app.state.resources.db
    desk = Desk(db, batch_max=1, batches_at_once=1)
    async with watcher.transaction():
        await watcher.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", person.user.id)
        asked = asyncio.create_task(desk.ask(deposit_of(person, "1")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(desk.aclose())
        await asyncio.sleep(0.2)
        assert not closing.done()
    await closing
    assert asked.done()
    assert isinstance(await asked, Answer)
    assert await deposits_of(watcher, person) == 1


async def test_whoever_waited_too_long_behind_a_database_that_hangs_is_told_so(
    counted: Counted, watcher: asyncpg.Connection
) -> None:
    first, second = await counted.people(2)
    db: Database = counted.running.app.state.resources.db
    desk = Desk(db, batch_max=1, batches_at_once=1, queue_seconds_max=0.05)
    async with watcher.transaction():
        await watcher.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.create_task(desk.ask(deposit_of(first, "1")))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(desk.ask(deposit_of(second, "1")))
        await asyncio.sleep(0.2)
    assert isinstance(await writing, Answer)
    with pytest.raises(Unavailable):
        await waiting
    await desk.aclose()
    assert await deposits_of(watcher, second) == 0


async def test_a_user_who_does_not_exist_is_gone_and_harms_nobody(
    counted: Counted, watcher: asyncpg.Connection
) -> None:
    (person,) = await counted.people(1)
    desk = counted.running.app.state.resources.desk
    ghost = replace(deposit_of(person, "1"), request=deposit(UserId(2**40), "1"))
    answers = await asyncio.gather(
        desk.ask(ghost), desk.ask(deposit_of(person, "1")), return_exceptions=True
    )
    assert isinstance(answers[0], UserGone)
    assert isinstance(answers[1], Answer)
    assert await deposits_of(watcher, person) == 1


def deposit(user_id: UserId, amount: str) -> Deposit:
    return Deposit(user_id=user_id, amount=Decimal(amount), request_id="desk")


def deposit_of(person: Person, amount: str) -> Asked:
    def refuse(error: GoblinError) -> Answer:
        raise AssertionError(error)

    return Asked(
        request=deposit(person.user.id, amount),
        keyed=None,
        respond=lambda _: Answer(status=200, body=""),
        refuse=refuse,
    )
