"""The audit: clean books are clean, and every kind of tampering is named."""

import os
import re
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from decimal import Decimal

import asyncpg
import pytest
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.connection import Connection
from app.db.dao import audit, audit_orders
from app.db.database import open_database
from app.domain.audit import Discrepancy
from app.domain.users import UserId
from app.jobs.reconciler import reconcile
from app.replay import ReplayExchange
from app.services.audit import CHECKS, audit_everybody, audit_users
from tests.conftest import CloneDatabase, Installation, new_person, run_installation, settings_for
from tests.environment import database_variables
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.books import insert_small_books

# Each tampering is of user {me}; {other} is somebody else. The last text is what must be said.
TAMPERINGS = [
    (audit.get_wrong_accounts,
     ("UPDATE ledger_accounts SET balance = balance + 1 WHERE user_id = {me} AND kind = 'venue'"
     " AND asset = 'USD' AND epoch = 1"),
     (r"account venue USD \(id \d+, epoch 1\): its balance is -2\.89\d+, but its entries sum to"
     r" -3\.89\d+")),
    (audit.get_wrong_accounts,
     "UPDATE ledger_accounts SET balance = balance + 1 WHERE user_id = {me} AND kind = 'cash'",
     r"account cash USD \(id \d+, epoch 2\): its balance is [\d.]+, but its last entry left \d"),
    (audit.get_wrong_accounts,
     "UPDATE ledger_accounts SET version = 9 WHERE user_id = {me} AND kind = 'cash' AND epoch = 1",
     r"account cash USD .*: its version is 9, but it has 5 entries up to version 5"),
    (audit.get_wrong_accounts,
     ("DELETE FROM ledger_entries WHERE version = 3 AND account_id IN"
     " (SELECT id FROM ledger_accounts WHERE user_id = {me} AND kind = 'cash' AND epoch = 1)"),
     r"account cash USD .*: its version is 5, but it has 4 entries up to version 5"),
    (audit.get_wrong_accounts,
     "UPDATE ledger_entries SET version = 10 WHERE version = 5 AND user_id = {me}",
     r"account cash USD .*: its version is 5, but it has 5 entries up to version 10"),
    (audit.get_broken_chains,
     ("UPDATE ledger_entries SET balance_before = balance_before + 1,"
     " balance_after = balance_after + 1 WHERE version = 2 AND user_id = {me}"),
     (r"account cash USD \(id \d+, epoch 1\), entry version 2: it begins at 1001\.0+,"
     r" but the entry before ended at 1000\.0+$")),
    (audit.get_broken_chains,
     ("UPDATE ledger_entries SET balance_before = 5, balance_after = amount + 5"
     " WHERE version = 1 AND user_id = {me}"),
     r"entry version 1: it begins at 5\.0+, but the entry before ended at 0\.0+$"),
    (audit.get_broken_chains,
     ("ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_sum;"
     "UPDATE ledger_entries SET amount = 7 WHERE version = 1 AND user_id = {me} AND amount = 1000"),
     r"entry version 1: it ends at 1000\.0+, but 0\.0+ and 7\.0+ make 7\.0+$"),
    (audit.get_lopsided_transfers,
     "UPDATE ledger_transfers SET amount = 77 WHERE user_id = {me} AND cause = 'deposit'",
     (r"transfer \d+ \(deposit\): it has 2 entries, -0\.50+ at its source and 0\.50+ at its target,"
     r" but it moves 77\.0+ from account \d+ to account \d+$")),
    (audit.get_lopsided_transfers,
     ("INSERT INTO ledger_transfers (user_id, cause, asset, amount, source_account_id,"
     " target_account_id, event_at) SELECT {me}, 'deposit', 'USD', 3, min(id), max(id), now()"
     " FROM ledger_accounts WHERE user_id = {me}"),
     (r"transfer \d+ \(deposit\): it has 0 entries, 0 at its source and 0 at its target, but it"
     r" moves 3\.0+")),
    (audit.get_lopsided_transfers,
     ("UPDATE ledger_transfers SET source_account_id = target_account_id,"
     " target_account_id = source_account_id WHERE user_id = {me} AND cause = 'deposit'"),
     r"\(deposit\): it has 2 entries, 0\.50+ at its source and -0\.50+ at its target,"),
    (audit.get_lopsided_transfers,
     ("INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,"
     " balance_before, balance_after, event_at) SELECT {me}, source_account_id, 99, id, 0, 0, 0,"
     " now() FROM ledger_transfers WHERE user_id = {me} AND cause = 'deposit'"),
     r"\(deposit\): it has 3 entries, -0\.50+ at its source"),
    (audit.get_foreign_entries,
     "UPDATE ledger_entries SET user_id = {me} WHERE version = 2 AND user_id = {other}",
     r"entry \d+: it stands on account \d+ for transfer \d+, but the user has no such account"),
    (audit.get_foreign_entries,
     ("SET LOCAL session_replication_role = replica;"
     "DELETE FROM ledger_transfers WHERE user_id = {me} AND cause = 'deposit'"),
     r"entry \d+: it stands on account \d+ for transfer \d+, but the user has no such transfer"),
    (audit.get_unbalanced_assets,
     ("UPDATE ledger_accounts SET balance = balance - 0.25 WHERE user_id = {me}"
     " AND kind = 'venue' AND asset = 'BTCUSDT' AND epoch = 2"),
     r"asset BTCUSDT \(epoch 2\): its accounts sum to -0\.250+, but every transfer leaves"),
    (audit.get_wrong_balances,
     "UPDATE users SET balance = 1000000 WHERE id = {me}",
     r"users\.balance: it is 1000000\.0+, but account cash USD \(id \d+, epoch 2\) holds 50\d\."),
    (audit.get_wrong_balances,
     "UPDATE users SET epoch = 3 WHERE id = {me}",
     r"users\.balance: it is 50\d\.\d+, but epoch 3 has no cash account"),
    (audit_orders.get_wrong_holdings,
     "UPDATE transact SET quantity = 30 WHERE user_id = {me} AND status = 1 AND epoch = 2",
     (r"account holding ETHUSDT \(epoch 2\): it holds 0\.30+, but order \d+ is active with"
     r" quantity 30\.0+")),
    (audit_orders.get_wrong_holdings,
     "UPDATE transact SET status = 2, sell_price = 5 WHERE user_id = {me} AND status = 1",
     r"account holding ETHUSDT \(epoch 1\): it holds 0\.30+, but no order is active"),
    (audit_orders.get_wrong_holdings,
     "INSERT INTO transact (user_id, symbol, quantity, buy_price) VALUES ({me}, 'XRPUSDT', 4, 1)",
     r"account holding XRPUSDT \(epoch 1\): it holds 0, but order \d+ is active with quantity 4\."),
    (audit_orders.get_wrong_legs,
     "UPDATE transact SET buy_price = buy_price / 2 WHERE user_id = {me} AND status = 1",
     (r"order \d+ \(ETHUSDT\): of its 2 transfers 0 paid for it, 1 received it, 0 took it over,"
     r" 0 delivered it and 0 was its proceeds, but it is active: 1 \+ 1")),
    (audit_orders.get_wrong_legs,
     "UPDATE transact SET sell_price = sell_price * 2 WHERE user_id = {me} AND status = 2",
     (r"order \d+ \(BTCUSDT\): of its 4 transfers 1 paid for it, 1 received it, 0 took it over,"
     r" 1 delivered it and 0 was its proceeds, but it is closed")),
    (audit_orders.get_wrong_legs,
     ("INSERT INTO transact (user_id, symbol, quantity, buy_price, sell_price, status, updated_at)"
     " VALUES ({me}, 'XRPUSDT', 4, 1, 2, 2, clock_timestamp())"),
     r"order \d+ \(XRPUSDT\): of its 0 transfers 0 paid"),
    (audit_orders.get_wrong_legs,
     ("UPDATE transact SET created_at = '2020-01-01', updated_at = '2020-01-02'"
     " WHERE user_id = {me} AND status = 2;"
     "UPDATE ledger_transfers SET order_id = NULL WHERE user_id = {me}"),
     r"order \d+ \(BTCUSDT\): of its 0 transfers 0 paid"),
    (audit_orders.get_event_gaps,
     "DELETE FROM events WHERE user_id = {me} AND number = 3",
     r"events: there are 9 up to number 10, but users\.event_number is 10"),
    (audit_orders.get_event_gaps,
     "DELETE FROM events WHERE user_id = {me} AND number = 10",
     r"events: there are 9 up to number 9, but users\.event_number is 10"),
    (audit_orders.get_event_gaps,
     "UPDATE users SET event_number = 11 WHERE id = {me}",
     r"events: there are 10 up to number 10, but users\.event_number is 11"),
]  # fmt: skip

DISABLE = """
    ALTER TABLE ledger_transfers DISABLE TRIGGER ledger_transfers_append_only;
    ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only;
    ALTER TABLE events DISABLE TRIGGER events_append_only;
"""
ENABLE = DISABLE.replace("DISABLE TRIGGER", "ENABLE TRIGGER")


async def everything(conn: Connection) -> list[Discrepancy]:
    return await audit_users(conn, first_id=UserId(1), last_id=UserId(2**62))


async def test_untouched_books_have_no_discrepancy(conn: Connection) -> None:
    first_id, last_id = await insert_small_books(conn), await insert_small_books(conn)
    assert await audit_users(conn, first_id=first_id, last_id=last_id) == []


@pytest.mark.parametrize(
    ("check", "tampering", "text"), TAMPERINGS, ids=lambda v: getattr(v, "__name__", "")
)
async def test_what_was_tampered_with_is_named_with_its_user_and_both_numbers(
    conn: Connection, check: object, tampering: str, text: str
) -> None:
    me, other = await insert_small_books(conn), await insert_small_books(conn)
    await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    await conn.execute(DISABLE)
    assert isinstance(conn, asyncpg.Connection)
    await conn.execute(tampering.format(me=me, other=other))
    assert check in CHECKS
    assert callable(check)
    found: list[Discrepancy] = await check(conn, first_id=me, last_id=me)
    assert any(re.search(text, discrepancy.text) for discrepancy in found), found
    assert {discrepancy.user_id for discrepancy in found} == {me}
    assert all(discrepancy.text.startswith(f"user {me}, ") for discrepancy in found)
    assert set(found) <= set(await everything(conn))


def test_every_check_was_proven_able_to_fail() -> None:
    assert {check for check, _, _ in TAMPERINGS} == set(CHECKS)


async def test_slices_cover_everybody_once_and_are_bounded_in_users_and_in_events(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    async with open_database(address, pool_size=2) as db:
        async with db.transaction() as conn:
            ids = [await insert_small_books(conn) for _ in range(7)]
            await conn.execute("UPDATE users SET id = id")  # ids need not be dense
        by_users = [part async for part in audit_everybody(db, users_per_slice_max=3)]
        by_events = [part async for part in audit_everybody(db, events_per_slice_max=15)]
        alone = [part async for part in audit_everybody(db, events_per_slice_max=1)]
    assert [part.users.users for part in by_users] == [3, 3, 1]
    assert [part.users.users for part in by_events] == [2, 2, 2, 1]
    assert [part.users.users for part in alone] == [1] * 7
    assert [part.users.first_id for part in alone] == ids
    for parts in (by_users, by_events, alone):
        assert sum(part.entries for part in parts) == 7 * 32
        assert not any(part.discrepancies for part in parts)


async def run_audit(address: DatabaseAddress) -> tuple[int | None, str, str]:
    environment = {"PATH": os.environ["PATH"], **database_variables(address)}
    command = await create_subprocess_exec(
        sys.executable, "-m", "app", "audit",
        cwd=PROJECT, env=environment, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await command.communicate()
    return command.returncode, out.decode(), err.decode()


async def test_a_changed_row_stops_orders_and_readiness_until_it_is_put_right(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    async with run_installation(settings_for(address, exchange.base_url)) as running:
        ada = await new_person(running, balance="1000000")
        tamper = await asyncpg.connect(**address.connect_arguments())
        assert await readiness(running) == 200

        await tamper.execute(DISABLE)
        change = "UPDATE ledger_entries SET amount = $1, balance_after = $1 WHERE amount = $2"
        await tamper.execute(change, Decimal(1_000_001), Decimal(1_000_000))
        code, out, err = await run_audit(address)
        assert (code, err) == (1, "")
        assert f"user {ada.user.id}, account cash USD" in out
        assert (
            "its balance is 1000000.00000000000000000000, "
            "but its entries sum to 1000001.00000000000000000000" in out
        )
        assert out.endswith("audited users: 1, entries: 2. discrepancies: 3\n")
        assert len(await reconcile(running.resources.db)) == 3
        assert await readiness(running) == 503
        order = {"symbol": "BTCUSDT", "quantity": "1"}
        assert_is_error(await ada.client.post("/order", json=order), 503, "ledger_stopped")
        seen = (await ada.client.get("/ledger/audit")).json()["data"]
        assert seen["agrees"] is False
        assert len(seen["discrepancies"]) == 3
        assert seen["totals"] == [{"asset": "USD", "total": "1.00000000000000000000"}]

        await tamper.execute(change, Decimal(1_000_000), Decimal(1_000_001))
        await tamper.execute(ENABLE)
        await tamper.close()
        assert await run_audit(address) == (
            0, "audited users: 1, entries: 2. the ledger agrees\n", "",
        )  # fmt: skip
        assert await reconcile(running.resources.db) == []
        assert await readiness(running) == 200
        assert (await ada.client.post("/order", json=order)).status_code == 201
        await ada.client.aclose()


async def readiness(running: Installation) -> int:
    async with running.client() as client:
        response = await client.get("/health/ready")
    if response.status_code == 200:
        assert response.json()["data"]["checks"]["ledger"] == "agrees"
    else:
        assert_is_error(response, 503, "ledger_stopped")
        assert "python -m app audit" in response.json()["message"]
    return response.status_code


async def test_auditing_a_database_without_the_schema_names_the_remedy(
    template: DatabaseAddress,
) -> None:
    code, out, err = await run_audit(template.with_database("postgres"))
    assert (code, out) == (1, "")
    assert "python -m app migrate" in err
