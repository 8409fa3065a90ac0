"""Registering, logging in, paper cash in and out, and beginning anew."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import assert_never

from app.db.connection import Connection
from app.db.dao import administration, ledger, users
from app.db.dao.users import Credentials
from app.db.database import Database
from app.domain.access import Role, UserDisabled
from app.domain.events import EventType
from app.domain.ledger import BeforeTheLedger, Cause, Transfer, cash_of, funding_of
from app.domain.money import ZERO
from app.domain.registration import Registration, RegistrationClosed, RegistrationMode
from app.domain.users import (
    EmailTaken,
    LockedUser,
    User,
    UserId,
    WrongCredentials,
)
from app.services.attempts import check_password, count_registration
from app.services.booking import Movement, book, require_agreement
from app.services.passwords import PasswordHasher


async def register(
    db: Database,
    hasher: PasswordHasher,
    *,
    email: str,
    password: str,
    name: str,
    starting_balance: Decimal,
    request_id: str,
    registration: Registration,
    address: str,
    per_hour_max: int,
) -> User:
    """A new account, for somebody at this address, who may ask for so many an hour.

    The first of an installation is its administrator's. Raises EmailTaken, also when two
    requests race for one e-mail; RegistrationClosed, TooManyRegistrations, PasswordsBusy.
    """
    await _require_open(db, registration)
    await count_registration(db, address=address, per_hour_max=per_hour_max)
    password_hash = await hasher.hash(password)

    async def work(conn: Connection) -> User:
        is_first = registration.makes_administrator and await administration.claim_first_place(conn)
        if registration.mode is RegistrationMode.FIRST and not is_first:
            await _require_nobody(conn)
        user = await open_account(
            conn,
            email=email,
            password_hash=password_hash,
            name=name,
            starting_balance=starting_balance,
            request_id=request_id,
        )
        if is_first:
            await administration.update_role(conn, user_id=user.id, role=Role.ADMINISTRATOR)
        return user

    return await db.run_in_transaction(work)


async def _require_open(db: Database, registration: Registration) -> None:
    """Refuse before a password is hashed for nothing."""
    match registration.mode:
        case RegistrationMode.OPEN:
            return
        case RegistrationMode.CLOSED:
            raise RegistrationClosed
        case RegistrationMode.FIRST:
            async with db.connection() as conn:
                await _require_nobody(conn)
        case _ as never:
            assert_never(never)


async def _require_nobody(conn: Connection) -> None:
    if await administration.has_first_user(conn):
        raise RegistrationClosed


async def open_account(
    conn: Connection,
    *,
    email: str,
    password_hash: str,
    name: str,
    starting_balance: Decimal,
    request_id: str,
) -> User:
    """A user with ledger accounts and what the installation gives everybody to start with."""
    user = await users.insert_user(conn, email=email, password_hash=password_hash, name=name)
    if user is None:
        raise EmailTaken
    cash, funding = cash_of(user.id, user.epoch), funding_of(user.id, user.epoch)
    opened = await ledger.insert_accounts(conn, keys=[cash, funding])
    gift = Transfer(
        cause=Cause.STARTING_BALANCE, source=funding, target=cash, amount=starting_balance
    )
    balances = await book(
        conn,
        locked={user.id: LockedUser(user=user, event_number=0)},
        movements=[
            Movement(
                user_id=user.id,
                epoch=user.epoch,
                type=EventType.ACCOUNT_OPENED,
                data={"balance": starting_balance},
                request_id=request_id,
                transfers=[gift] if starting_balance > ZERO else [],
            )
        ],
        known={account.key: account for account in opened},
    )
    return replace(user, balance=balances[user.id])


async def log_in(
    db: Database, hasher: PasswordHasher, *, email: str, password: str, address: str
) -> Credentials:
    """The user these credentials belong to, as somebody at this address claims.

    No connection is held while the password is checked; that the user is disabled is told only
    to who knows it. Raises WrongCredentials, UserDisabled, TooManyLogins (nothing is checked),
    PasswordsBusy.
    """
    checked = await check_password(db, hasher, email=email, password=password, address=address)
    if checked is None:
        raise WrongCredentials
    found, renewed = checked
    if found.is_disabled:
        raise UserDisabled
    if renewed is None:
        return found
    async with db.connection() as conn:
        is_renewed = await users.update_password_hash(
            conn, user_id=found.user.id, old_hash=found.password_hash, new_hash=renewed
        )
    if not is_renewed:  # another login was first, or the password is another one by now
        return await log_in(db, hasher, email=email, password=password, address=address)
    return replace(found, password_hash=renewed)


async def reset(conn: Connection, locked: LockedUser, *, balance: Decimal, request_id: str) -> User:
    """Begin a new epoch with this balance; the old one stays readable and untouched.

    Raises LedgerStopped.
    """
    require_agreement([locked])
    user = replace(locked.user, epoch=locked.user.epoch + 1, balance=ZERO)
    await users.update_epoch(conn, user_id=user.id, epoch=user.epoch)
    cash, funding = cash_of(user.id, user.epoch), funding_of(user.id, user.epoch)
    opened = await ledger.insert_accounts(conn, keys=[cash, funding])
    transfer = Transfer(cause=Cause.RESET, source=funding, target=cash, amount=balance)
    balances = await book(
        conn,
        locked={user.id: LockedUser(user=user, event_number=locked.event_number)},
        movements=[
            Movement(
                user_id=user.id,
                epoch=user.epoch,
                type=EventType.ACCOUNT_RESET,
                data={"epoch": user.epoch, "balance": balance},
                request_id=request_id,
                transfers=[transfer],
            )
        ],
        known={account.key: account for account in opened},
    )
    return replace(user, balance=balances[user.id])


async def get_user_at(db: Database, *, user: User, at: datetime) -> User:
    """The user with the balance of an instant. Raises BeforeTheLedger."""
    async with db.connection() as conn:
        epoch, balance = await epoch_and_cash_at(conn, user_id=user.id, at=at)
    return replace(user, epoch=epoch, balance=balance)


async def epoch_and_cash_at(
    conn: Connection, *, user_id: UserId, at: datetime
) -> tuple[int, Decimal]:
    """Which epoch it was at an instant, and the cash then. Raises BeforeTheLedger."""
    cash = await ledger.get_cash_at(conn, user_id=user_id, at=at)
    if cash is None:
        raise BeforeTheLedger(await ledger.get_first_opened_at(conn, user_id=user_id))
    return cash.key.epoch, cash.balance
