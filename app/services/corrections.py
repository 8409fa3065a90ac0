"""Putting a mistake right: history is never changed, a reversing transfer is added to it."""

from dataclasses import dataclass, replace
from decimal import Decimal

from app.db.connection import Connection
from app.db.dao import ledger, users
from app.db.database import Database
from app.domain.events import EventType
from app.domain.ledger import (
    AccountKind,
    Cause,
    RecordedTransfer,
    TransferId,
    TransferMissing,
    TransferNotReversible,
    TransferReversed,
)
from app.domain.users import LockedUser, User, credit, debit
from app.services.booking import Movement, book


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What was reversed, and the user as it left them."""

    reversed_transfer: RecordedTransfer
    user: User


async def reverse(
    db: Database, *, transfer_id: TransferId, reason: str, request_id: str
) -> Reversal:
    """Reverse a transfer in a transaction of its own. Raises what reverse_transfer raises."""
    async with db.transaction() as conn:
        recorded = await _get(conn, transfer_id)
        user_id = recorded.transfer.source.user_id
        locked = await users.lock_users(conn, user_ids=[user_id])
        return await reverse_transfer(
            conn,
            locked[user_id],
            transfer_id=transfer_id,
            reason=reason,
            request_id=request_id,
        )


async def reverse_transfer(
    conn: Connection,
    locked: LockedUser,
    *,
    transfer_id: TransferId,
    reason: str,
    request_id: str,
) -> Reversal:
    """Send the amount of a transfer back the way it came, naming what is reversed and why.

    Raises TransferMissing, TransferReversed (never twice), TransferNotReversible,
    InsufficientBalance (never below zero) and BalanceLimitExceeded.
    """
    recorded = await _get(conn, transfer_id)
    done, user = recorded.transfer, locked.user
    if done.source.user_id != user.id:
        raise TransferMissing(transfer_id)
    if recorded.reversed_by is not None:
        raise TransferReversed(transfer_id, recorded.reversed_by)
    if done.order_id is not None:
        raise TransferNotReversible(
            f"transfer {transfer_id} is part of order {done.order_id}, and half an order cannot "
            "be undone: close the order, then correct the cash by a deposit or a withdrawal"
        )
    if done.source.epoch != user.epoch:
        raise TransferNotReversible(
            f"transfer {transfer_id} belongs to epoch {done.source.epoch} of user {user.id}, "
            f"which a reset archived: only epoch {user.epoch} can be corrected"
        )
    _check_cash(user.balance, recorded)
    balances = await book(
        conn,
        locked={user.id: locked},
        movements=[
            Movement(
                user_id=user.id,
                epoch=user.epoch,
                type=EventType.TRANSFER_REVERSED,
                data={"transfer_id": transfer_id, "amount": done.amount, "reason": reason},
                request_id=request_id,
                transfers=[
                    replace(
                        done,
                        cause=Cause.REVERSAL,
                        source=done.target,
                        target=done.source,
                        reverses_transfer_id=transfer_id,
                    )
                ],
            )
        ],
    )
    return Reversal(reversed_transfer=recorded, user=replace(user, balance=balances[user.id]))


async def _get(conn: Connection, transfer_id: TransferId) -> RecordedTransfer:
    recorded = await ledger.get_transfer(conn, transfer_id=transfer_id)
    if recorded is None:
        raise TransferMissing(transfer_id)
    return recorded


def _check_cash(balance: Decimal, recorded: RecordedTransfer) -> None:
    """Only cash has a floor and a ceiling; funding goes below zero and beyond every limit."""
    done = recorded.transfer
    if done.target.kind is AccountKind.CASH:
        debit(balance, done.amount)
    if done.source.kind is AccountKind.CASH:
        credit(balance, done.amount)
