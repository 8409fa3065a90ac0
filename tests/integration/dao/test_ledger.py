"""What the ledger's tables refuse, whoever asks."""

from decimal import Decimal

import asyncpg
import pytest
from app.db.connection import Connection
from app.db.sole_instance import sole_instance
from app.jobs.reconciler import LOCK_KEY
from app.replay import ReplayExchange
from app.services.accounts import open_account
from tests.conftest import CloneDatabase, new_person, run_installation, settings_for


async def funded(conn: Connection) -> int:
    user = await open_account(
        conn,
        email="ledger@example.com",
        password_hash="!",
        name="n",
        starting_balance=Decimal(10),
        request_id="test",
    )
    return user.id


@pytest.mark.parametrize("table", ["ledger_transfers", "ledger_entries", "events", "fills"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET request_id = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
async def test_history_is_only_ever_appended_to(conn: Connection, table: str, change: str) -> None:
    await funded(conn)
    if table == "ledger_entries":
        change = change.replace("request_id = 'x'", "amount = 0")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await conn.execute(change.format(table))


async def test_an_entry_that_does_not_add_up_is_refused(conn: Connection) -> None:
    user_id = await funded(conn)
    with pytest.raises(asyncpg.CheckViolationError, match="ledger_entries_sum"):
        await conn.execute(
            """
            INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
                balance_before, balance_after, event_at)
            SELECT user_id, account_id, version + 1, transfer_id, 1, 0, 2, now()
            FROM ledger_entries WHERE user_id = $1
            """,
            user_id,
        )


async def test_a_version_is_given_once(conn: Connection) -> None:
    user_id = await funded(conn)
    with pytest.raises(asyncpg.UniqueViolationError, match="ledger_entries_version_key"):
        await conn.execute(
            """
            INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
                balance_before, balance_after, event_at)
            SELECT user_id, account_id, version, transfer_id, 0, 0, 0, now()
            FROM ledger_entries WHERE user_id = $1
            """,
            user_id,
        )


async def test_cash_is_never_negative_and_nan_is_no_balance(conn: Connection) -> None:
    assert isinstance(conn, asyncpg.Connection)
    user_id = await funded(conn)
    for balance in ("-0.00000000000000000001", "NaN"):
        for table, constraint in (
            ("ledger_accounts SET balance = $2 WHERE kind = 'cash' AND user_id = $1", "range"),
            ("users SET balance = $2 WHERE id = $1", "balance_range"),
        ):
            savepoint = conn.transaction()
            await savepoint.start()
            with pytest.raises(asyncpg.CheckViolationError, match=constraint):
                await conn.execute("UPDATE " + table, user_id, Decimal(balance))
            await savepoint.rollback()


async def test_a_balance_that_its_ledger_contradicts_is_not_built_upon(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    async with (
        # The reconciler would see it too, and stop everybody: here it waits for its turn.
        sole_instance(address, key=LOCK_KEY, retry_seconds=0.01),
        run_installation(settings_for(address, exchange.base_url)) as running,
    ):
        person = await new_person(running, balance="100")
        async with running.resources.db.connection() as conn:
            await conn.execute("UPDATE users SET balance = 1000000 WHERE id = $1", person.user.id)
        for method, path, body in (
            ("POST", "/order", {"symbol": "BTCUSDT", "quantity": "0.0001"}),
            ("POST", "/users/me/withdraw", {"amount": "1"}),
            ("POST", "/users/me/deposit", {"amount": "1"}),
        ):
            response = await person.client.request(method, path, json=body)
            assert response.status_code == 503, response.text
            assert response.json()["meta"]["code"] == "ledger_disagrees"
        await person.client.aclose()
