"""The reconciler: one process audits for all, and every process obeys."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import cast

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from app.db.connection import Connection
from app.db.dao import ledger_alarms
from app.db.database import Database, open_database
from app.db.errors import DatabaseUnavailable
from app.db.sole_instance import sole_instance
from app.domain.audit import LedgerAlarm
from app.jobs import reconciler
from app.jobs.reconciler import BUSY_SHARE_MAX, LOCK_KEY, reconcile
from app.replay import ReplayExchange
from app.services.audit import audit_everybody
from tests.conftest import CloneDatabase, new_person, run_installation, settings_for
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.books import insert_small_books

SAFETY_SECONDS = 20.0


@asynccontextmanager
async def books(address: DatabaseAddress, *, people: int = 1) -> AsyncIterator[Database]:
    async with open_database(address, pool_size=4) as db:
        async with db.transaction() as conn:
            for _ in range(people):
                await insert_small_books(conn)
        yield db


async def tamper(db: Database, *, sign: int = 1) -> None:
    """Make the last user's balance wrong, or right again with `sign` -1."""
    async with db.connection() as conn:
        await conn.execute(
            "UPDATE users SET balance = balance + $1 WHERE id = (SELECT max(id) FROM users)", sign
        )


async def alarm(db: Database) -> LedgerAlarm | None:
    async with db.connection() as conn:
        return await ledger_alarms.get_standing_alarm(conn)


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(SAFETY_SECONDS):
        while True:
            outcome = condition()
            if asyncio.iscoroutine(outcome):
                outcome = await outcome
            if outcome:
                return
            await asyncio.sleep(0.02)
    raise AssertionError(what)


async def test_a_discrepancy_in_the_last_slice_raises_one_alarm_that_only_a_clean_run_clears(
    clone: CloneDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    async with books(await clone(), people=5) as db:
        assert await reconcile(db, users_per_slice_max=2, pause_seconds=0) == []
        assert await alarm(db) is None
        await tamper(db)
        (found,) = await reconcile(db, users_per_slice_max=2, pause_seconds=0)
        raised = await alarm(db)
        assert raised is not None
        assert raised.discrepancy == found.text
        await reconcile(db, pause_seconds=0)
        assert await alarm(db) == raised, "the alarm that stands is not raised again"
        lines = [record for record in caplog.records if record.levelno == logging.CRITICAL]
        assert [line.getMessage().split(":")[0] for line in lines] == [
            "ledger discrepancy", "the ledger disagrees",
        ] * 2  # fmt: skip
        assert vars(lines[0])["user_id"] == found.user_id
        assert vars(lines[0])["discrepancy"] == found.text
        assert vars(lines[1])["discrepancies"] == 1
        await tamper(db, sign=-1)
        assert await alarm(db) == raised, "putting it right is not enough: somebody must look"
        assert await reconcile(db, pause_seconds=0) == []
        assert await alarm(db) is None
        *_, last = [r.getMessage() for r in caplog.records if r.name == reconciler.__name__]
        assert last == "the ledger agrees again: order entry goes on"
        async with db.connection() as conn:
            assert await conn.fetchval("SELECT count(*) FROM ledger_alarms") == 1, "kept to be read"


async def test_a_run_that_is_cut_short_clears_nothing(clone: CloneDatabase) -> None:
    slices_seen = 0

    async def lose_the_lock() -> None:
        nonlocal slices_seen
        slices_seen += 1
        if slices_seen == 2:
            raise DatabaseUnavailable

    async with books(await clone(), people=3) as db:
        async with db.connection() as conn:
            await ledger_alarms.insert_alarm(conn, discrepancy="seen before")
        with pytest.raises(DatabaseUnavailable):
            await reconcile(db, check_sole=lose_the_lock, users_per_slice_max=1, pause_seconds=0)
        assert slices_seen == 2
        assert await alarm(db) is not None


async def test_a_second_process_looks_on_until_the_first_is_gone_and_then_takes_over(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    async with books(address) as db:
        await tamper(db)
        async with sole_instance(address, key=LOCK_KEY, retry_seconds=0.01) as check_first:
            second = asyncio.create_task(
                reconciler.run(db, address, interval_seconds=0.01, retry_seconds=0.01)
            )

            async def the_second_has_asked_in_vain() -> bool:
                async with db.connection() as conn:
                    connections: int = await conn.fetchval(
                        """
                        SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND state = 'idle'
                            AND query LIKE '%pg_try_advisory_lock%'
                            AND application_name LIKE 'goblin sole instance%'
                        """
                    )
                return connections == 2

            await until(the_second_has_asked_in_vain, "the second process asks for the role")
            await asyncio.sleep(0.1)
            await check_first()
            assert await alarm(db) is None, "the second one acted beside the first"

        async def it_is_alarmed() -> bool:
            return await alarm(db) is not None

        await until(it_is_alarmed, "the second process takes over")
        await tamper(db, sign=-1)

        async def it_is_clear() -> bool:
            return await alarm(db) is None

        await until(it_is_clear, "the reconciler goes on, run after run")
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)


async def test_a_process_whose_connection_broke_learns_that_it_lost_the_role(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    admin = await asyncpg.connect(**address.connect_arguments())
    async with sole_instance(address, key=LOCK_KEY, retry_seconds=0.01) as check_sole:
        await check_sole()
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'goblin sole%'"
        )
        with pytest.raises(DatabaseUnavailable):
            await check_sole()
        async with sole_instance(address, key=LOCK_KEY, retry_seconds=0.01) as check_next:
            await check_next()
    await admin.close()


async def test_a_database_that_is_away_is_an_error_and_not_a_role() -> None:
    nowhere = DatabaseAddress(host="127.0.0.1", port=1, database="x", user="x")
    with pytest.raises(DatabaseUnavailable):
        async with sole_instance(nowhere, key=LOCK_KEY, retry_seconds=0.01):
            raise AssertionError("nobody holds a role without a database")


async def test_an_alarm_stops_money_in_every_process_and_nothing_else(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    settings = settings_for(await clone(), exchange.base_url)
    async with run_installation(settings) as first, run_installation(settings) as second:

        async def one_has_run() -> bool:
            pages = []
            for running in (first, second):
                async with running.client() as client:
                    pages.append((await client.get("/metrics")).text)
            return any('last_success_timestamp_seconds{job="reconciler"}' in p for p in pages)

        await until(one_has_run, "what began before the discrepancy clears no alarm")
        ada = await new_person(first, balance="1000000")
        order = {"symbol": "ETHUSDT", "quantity": "1", "client_order_id": "before"}
        opened = await ada.client.post("/order", json=order)
        assert opened.status_code == 201
        async with first.resources.db.transaction() as conn:
            stranger = await insert_small_books(conn)
        await tamper(first.resources.db)
        (found,) = await reconcile(first.resources.db)
        assert found.user_id == stranger
        token = ada.client.headers["Authorization"]
        async with second.client(Authorization=token) as elsewhere:
            for client in (ada.client, elsewhere):
                for method, path, body in (
                    ("POST", "/order", {"symbol": "BTCUSDT", "quantity": "1"}),
                    ("POST", "/order", {"symbol": "BTCUSDT", "quantity": "999999"}),
                    ("POST", "/order/preview", {"symbol": "BTCUSDT", "quantity": "1"}),
                    ("DELETE", "/order", {"symbol": "ETHUSDT"}),
                    ("POST", "/users/me/deposit", {"amount": "1"}),
                    ("POST", "/users/me/withdraw", {"amount": "1"}),
                    ("POST", "/users/me/reset", {"balance": "1"}),
                ):
                    refused = await client.request(
                        method, path, json=body, headers={"Idempotency-Key": "k" + path[1:6]}
                    )
                    assert_is_error(refused, 503, "ledger_stopped")
                    assert refused.headers["retry-after"]
                    declared = second.app.openapi()["paths"][path][method.lower()]["responses"]
                    json_503 = declared["503"]["content"]["application/json"]
                    assert "ledger_stopped" in json_503["examples"], (method, path)
                    assert found.expected not in refused.text, "it is a stranger's business"
                ready = await client.get("/health/ready")
                assert_is_error(ready, 503, "ledger_stopped")
                assert found.expected not in ready.text
                assert (await client.get("/health/live")).status_code == 200
                assert (await client.get("/users/me")).status_code == 200
                assert (await client.get("/ledger/audit")).json()["data"]["agrees"] is True
            replayed = await elsewhere.post("/order", json=order)
            assert (replayed.status_code, replayed.content) == (201, opened.content)
            assert replayed.headers["idempotent-replayed"] == "true"
            watched = await elsewhere.post("/watchlist", json={"symbol": "BTCUSDT"})
            assert watched.status_code == 201
        await tamper(first.resources.db, sign=-1)
        assert await reconcile(first.resources.db) == []
        closed = await ada.client.request(
            "DELETE", "/order", json={"symbol": "ETHUSDT"}, headers={"Idempotency-Key": "korder"}
        )
        assert closed.status_code == 200, "a refusal of then is not the answer of now"
        assert "idempotent-replayed" not in closed.headers
        await ada.client.aclose()


async def test_a_running_server_reconciles_by_itself(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    async with books(address) as db:
        await tamper(db)
        async with run_installation(settings_for(address, exchange.base_url)) as running:

            async def it_is_red() -> bool:
                async with running.client() as client:
                    return (await client.get("/health/ready")).status_code == 503

            await until(it_is_red, "a discrepancy turns readiness red")


class TimedDatabase:
    """A database that knows when it was read in snapshots."""

    def __init__(self, db: Database) -> None:
        self.busy: list[tuple[float, float]] = []
        self._db = db

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        began_at = asyncio.get_running_loop().time()
        async with self._db.snapshot() as conn:
            yield conn
        self.busy.append((began_at, asyncio.get_running_loop().time()))


async def test_however_long_the_books_are_the_audit_leaves_most_of_the_time_to_orders(
    clone: CloneDatabase,
) -> None:
    """After each slice it is idle in proportion, however long a busy machine made the slice."""
    async with books(await clone(), people=4) as db:
        timed = TimedDatabase(db)
        slices = audit_everybody(
            cast("Database", timed), users_per_slice_max=1, busy_share_max=BUSY_SHARE_MAX
        )
        assert len([part async for part in slices]) == 4
        for (began_at, ended_at), (next_at, _) in pairwise(timed.busy):
            assert ended_at - began_at < 1.01 * BUSY_SHARE_MAX * (next_at - began_at)
