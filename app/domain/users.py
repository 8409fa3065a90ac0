"""People with a paper account."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NewType

from app.domain.errors import NotFound, Refused, Unauthenticated
from app.domain.money import LIMIT, add, is_amount, subtract

UserId = NewType("UserId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account and what it can spend. The password's hash is not part of it."""

    id: UserId
    email: str
    name: str
    balance: Decimal
    created_at: datetime
    epoch: int = 1
    """Which life of the paper account this is; a reset begins the next."""

    def __post_init__(self) -> None:
        assert is_amount(self.balance), "the schema bounds every balance"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedUser:
    """A user whose row this transaction has locked, and the number of their last event."""

    user: User
    event_number: int
    is_ledger_stopped: bool = False
    """Whether a ledger alarm stands, of whichever user."""


class EpochMissing(NotFound):
    """The account has not lived so often."""

    code = "epoch_missing"

    def __init__(self, epoch: int, current: int) -> None:
        super().__init__(f"epoch {epoch} does not exist: the current one is {current}")
        self.epoch = epoch
        self.current = current


class EmailTaken(Refused):
    """Somebody registered this address already, in whatever case."""

    code = "email_already_registered"

    def __init__(self) -> None:
        super().__init__("Email already registered")


class WrongCredentials(Unauthenticated):
    """Unknown e-mail or wrong password; which of the two is nobody's business."""

    code = "invalid_credentials"

    def __init__(self) -> None:
        super().__init__("Invalid email or password")


class WrongPassword(Refused):
    """The old password, which has to be given to set a new one, is another."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("the old password is wrong")


class UserGone(Unauthenticated):
    """A valid token of an account that is no longer there."""

    code = "user_gone"

    def __init__(self) -> None:
        super().__init__("User no longer exists")


class InsufficientBalance(Refused):
    """The account holds less than the movement needs."""

    code = "insufficient_balance"

    def __init__(self, *, balance: Decimal, needed: Decimal) -> None:
        super().__init__("insufficient balance")
        self.balance = balance
        self.needed = needed


class BalanceLimitExceeded(Refused):
    """The movement would bring the account to 10^10 or beyond, which no column can hold."""

    code = "balance_limit_exceeded"

    def __init__(self, *, balance: Decimal, added: Decimal) -> None:
        super().__init__("balance limit exceeded")
        self.balance = balance
        self.added = added


def epoch_of(asked: int | None, *, current: int) -> int:
    """The epoch that is asked for, without one the current. Raises EpochMissing."""
    if asked is not None and asked > current:
        raise EpochMissing(asked, current)
    return current if asked is None else asked


def credit(balance: Decimal, amount: Decimal) -> Decimal:
    """The balance after receiving `amount` (>= 0, at most 20 decimals); exact."""
    after = add(balance, amount)
    if after >= LIMIT:
        raise BalanceLimitExceeded(balance=balance, added=amount)
    return after


def debit(balance: Decimal, amount: Decimal) -> Decimal:
    """The balance after spending `amount` (>= 0, at most 20 decimals); exact."""
    if balance < amount:
        raise InsufficientBalance(balance=balance, needed=amount)
    return subtract(balance, amount)
