"""Reversing transfers: the only way to put a mistake right."""

import os
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from decimal import Decimal

import pytest
from app.__main__ import main
from app.core.config import PROJECT
from app.db.connection import Connection
from app.db.dao import users
from app.domain.errors import GoblinError
from app.domain.ledger import (
    TransferId,
    TransferMissing,
    TransferNotReversible,
    TransferReversed,
)
from app.domain.users import BalanceLimitExceeded, InsufficientBalance, LockedUser, UserId
from app.services import corrections
from app.services.audit import audit_users
from app.services.booking import LedgerDisagrees
from app.services.corrections import Reversal, reverse_transfer
from app.services.decisions import Deposit, Withdrawal
from tests.conftest import Installation, Person, new_person
from tests.environment import database_variables
from tests.integration.books import insert_small_books, settle_one


async def lock(conn: Connection, user_id: UserId) -> LockedUser:
    return (await users.lock_users(conn, user_ids=[user_id]))[user_id]


async def transfer_of(conn: Connection, user_id: UserId, cause: str) -> TransferId:
    found = await conn.fetchval(
        "SELECT max(id) FROM ledger_transfers WHERE user_id = $1 AND cause = $2", user_id, cause
    )
    return TransferId(found)


async def reverse(conn: Connection, user_id: UserId, transfer_id: TransferId) -> Reversal:
    return await reverse_transfer(
        conn,
        await lock(conn, user_id),
        transfer_id=transfer_id,
        reason="typed one zero too many",
        request_id="owner",
    )


async def test_a_reversal_sends_the_amount_back_names_what_it_reverses_and_says_why(
    conn: Connection,
) -> None:
    user_id = await insert_small_books(conn)
    before = (await lock(conn, user_id)).user.balance
    deposit = await transfer_of(conn, user_id, "deposit")
    done = await reverse(conn, user_id, deposit)
    assert done.user.balance == before - Decimal("0.5")
    row = await conn.fetchrow(
        """
        SELECT reversal.reverses_transfer_id, reversal.cause, reversal.amount, reversal.request_id,
            reversal.source_account_id = wrong.target_account_id
                AND reversal.target_account_id = wrong.source_account_id AS is_opposite
        FROM ledger_transfers AS reversal, ledger_transfers AS wrong
        WHERE reversal.cause = 'reversal' AND reversal.user_id = $1 AND wrong.id = $2
        """,
        user_id,
        deposit,
    )
    assert row is not None
    assert tuple(row) == (deposit, "reversal", Decimal("0.5"), "owner", True)
    event = await conn.fetchval(
        "SELECT type || data FROM events WHERE user_id = $1 ORDER BY number DESC LIMIT 1", user_id
    )
    assert "transfer_reversed" in event
    assert "typed one zero too many" in event
    assert (await lock(conn, user_id)).user.balance == done.user.balance
    assert await audit_users(conn, first_id=user_id, last_id=user_id) == []


async def test_a_transfer_is_reversed_once_but_its_reversal_can_be_reversed(
    conn: Connection,
) -> None:
    user_id = await insert_small_books(conn)
    before = (await lock(conn, user_id)).user.balance
    deposit = await transfer_of(conn, user_id, "deposit")
    await reverse(conn, user_id, deposit)
    reversal = await transfer_of(conn, user_id, "reversal")
    with pytest.raises(TransferReversed, match=f"already, by transfer {reversal}$"):
        await reverse(conn, user_id, deposit)
    assert (await reverse(conn, user_id, reversal)).user.balance == before
    with pytest.raises(TransferReversed):
        await reverse(conn, user_id, reversal)
    assert await audit_users(conn, first_id=user_id, last_id=user_id) == []


async def test_no_reversal_brings_cash_below_zero_or_to_ten_billion(conn: Connection) -> None:
    user_id = await insert_small_books(conn)
    withdraw = Withdrawal(user_id=user_id, amount=Decimal(100), request_id="test")
    await settle_one(conn, withdraw)
    gift = await transfer_of(conn, user_id, "reset")
    with pytest.raises(InsufficientBalance):
        await reverse(conn, user_id, gift)
    withdrawal = await transfer_of(conn, user_id, "withdrawal")
    most = Decimal(9_999_999_999) - (await lock(conn, user_id)).user.balance
    deposit = Deposit(user_id=user_id, amount=most, request_id="test")
    await settle_one(conn, deposit)
    with pytest.raises(BalanceLimitExceeded):
        await reverse(conn, user_id, withdrawal)
    assert await audit_users(conn, first_id=user_id, last_id=user_id) == []


async def test_neither_half_an_order_nor_an_archived_epoch_nor_a_strangers_is_reversed(
    conn: Connection,
) -> None:
    user_id, other = await insert_small_books(conn), await insert_small_books(conn)
    for cause in ("order_opened", "order_closed"):
        with pytest.raises(TransferNotReversible, match="part of order"):
            await reverse(conn, user_id, await transfer_of(conn, user_id, cause))
    gift = await transfer_of(conn, user_id, "starting_balance")
    with pytest.raises(TransferNotReversible, match="belongs to epoch 1 of user"):
        await reverse(conn, user_id, gift)
    missing: list[TransferId] = [TransferId(2**62), await transfer_of(conn, other, "deposit")]
    for transfer_id in missing:
        with pytest.raises(TransferMissing):
            await reverse(conn, user_id, transfer_id)


async def test_a_correction_is_possible_while_order_entry_is_stopped(conn: Connection) -> None:
    user_id = await insert_small_books(conn)
    await conn.execute("INSERT INTO ledger_alarms (discrepancy) VALUES ('made for this test')")
    stopped = await lock(conn, user_id)
    assert stopped.is_ledger_stopped
    with pytest.raises(GoblinError, match="nothing is booked"):
        deposit = Deposit(user_id=user_id, amount=Decimal(1), request_id="test")
        await settle_one(conn, deposit)
    await reverse_transfer(
        conn,
        stopped,
        transfer_id=await transfer_of(conn, user_id, "deposit"),
        reason="a correction",
        request_id="owner",
    )


async def test_nothing_is_reversed_where_the_balance_and_its_ledger_disagree(
    conn: Connection,
) -> None:
    user_id = await insert_small_books(conn)
    deposit = await transfer_of(conn, user_id, "deposit")
    await conn.execute("UPDATE users SET balance = balance + 1 WHERE id = $1", user_id)
    before = await lock(conn, user_id)
    with pytest.raises(LedgerDisagrees, match="nothing was booked"):
        await reverse(conn, user_id, deposit)
    assert await transfer_of(conn, user_id, "reversal") is None
    assert await lock(conn, user_id) == before


async def test_a_reversal_is_committed_with_its_event_or_refused(
    installation: Installation,
) -> None:
    eve = await new_person(installation)
    await eve.client.post("/users/me/deposit", json={"amount": "100"})
    wrong = (await eve.client.get("/ledger/entries")).json()["data"]["entries"][0]["transfer_id"]
    db = installation.resources.db
    done = await corrections.reverse(db, transfer_id=wrong, reason="not yours", request_id="owner")
    assert done.user.balance == await eve.balance() == 0
    for transfer_id, refusal in ((wrong, TransferReversed), (2**62, TransferMissing)):
        with pytest.raises(refusal):
            await corrections.reverse(
                db, transfer_id=TransferId(transfer_id), reason="again", request_id="owner"
            )
    await eve.client.aclose()


async def command(running: Installation, *arguments: str) -> tuple[int | None, str]:
    address = running.address
    environment = {"PATH": os.environ["PATH"], **database_variables(address)}
    process = await create_subprocess_exec(
        sys.executable, "-m", "app", "reverse", *arguments,
        cwd=PROJECT, env=environment, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode() + err.decode()


async def test_the_owner_reverses_on_the_command_line_and_the_user_reads_it(
    installation: Installation,
) -> None:
    eve: Person = await new_person(installation)
    await eve.client.post("/users/me/deposit", json={"amount": "100"})
    wrong = (await eve.client.get("/ledger/entries")).json()["data"]["entries"][0]["transfer_id"]
    code, said = await command(installation, str(wrong), "--reason", "not yours")
    assert code == 0, said
    assert f"reversed transfer {wrong} (100.00000000000000000000) of user {eve.user.id}" in said
    assert await eve.balance() == 0
    newest = (await eve.client.get("/ledger/entries")).json()["data"]["entries"][0]
    assert newest["cause"] == "reversal"
    assert newest["reverses_transfer_id"] == wrong
    assert newest["request_id"].startswith("reverse-")
    code, said = await command(installation, str(wrong), "--reason", "not yours")
    assert (code, said) == (
        1, f"goblin: transfer {wrong} was reversed already, by transfer {newest['transfer_id']}\n",
    )  # fmt: skip
    await eve.client.aclose()


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "half a character \udcff", "x" * 1001])
def test_a_reason_that_nobody_can_read_reverses_nothing(
    reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["reverse", "1", "--reason", reason])
    assert "argument --reason: expected a line of text" in capsys.readouterr().err
