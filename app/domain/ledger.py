"""Double entry: every movement is a transfer between two accounts of one user.

The source falls by the amount and the target rises by it, so that all accounts of one asset
sum to zero at every instant. Each entry carries the balance before and after and the
account's version, which counts its entries from one without a gap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple, NewType

from app.domain.errors import Conflict, Invalid, NotFound, Refused
from app.domain.money import add, is_amount, subtract
from app.domain.orders import OrderId
from app.domain.users import UserId

AccountId = NewType("AccountId", int)
TransferId = NewType("TransferId", int)
EntryId = NewType("EntryId", int)
Asset = NewType("Asset", str)

CASH_ASSET: Final = Asset("USD")
"""Paper dollars: what balances, prices and profits are counted in."""


class AccountKind(StrEnum):
    """Whose side of the books an account stands on."""

    CASH = "cash"
    """What the user can spend, equal to users.balance."""
    HOLDING = "holding"
    """What the user bought and still holds of one symbol."""
    VENUE = "venue"
    """The other side of every order."""
    FUNDING = "funding"
    """Where deposits come from and withdrawals go to."""
    FEES = "fees"
    """What trading cost beside the price."""


class Cause(StrEnum):
    """Why a transfer was made."""

    OPENING = "opening"
    STARTING_BALANCE = "starting_balance"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    ORDER_OPENED = "order_opened"
    ORDER_CLOSED = "order_closed"
    RESET = "reset"
    REVERSAL = "reversal"


# Of these an order makes dozens, and a tuple is made in a quarter of a dataclass's time.


class AccountKey(NamedTuple):
    """What is unique about an account. `epoch` is the life of the user's paper account."""

    user_id: UserId
    epoch: int
    kind: AccountKind
    asset: Asset


class Account(NamedTuple):
    """An account as its last entry left it; venue and funding accounts go below zero."""

    id: AccountId
    key: AccountKey
    balance: Decimal
    version: int
    is_new: bool = False
    """Known by its id alone so far: the booking that first uses it also writes it."""

    def entered(self, balance: Decimal) -> "Account":
        """The account with one more entry, which left this balance."""
        return Account(self.id, self.key, balance, self.version + 1, self.is_new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """An amount (>= 0, at most 20 decimals) that leaves `source` and reaches `target`."""

    cause: Cause
    source: AccountKey
    target: AccountKey
    amount: Decimal
    order_id: OrderId | None = None
    reverses_transfer_id: TransferId | None = None

    def __post_init__(self) -> None:
        assert (self.cause is Cause.REVERSAL) == (self.reverses_transfer_id is not None)
        assert is_amount(self.amount), "amounts are exact and bounded"
        assert self.source != self.target, "a transfer has two sides"
        assert self.source.asset == self.target.asset, "assets are not exchanged, only moved"
        assert self.source.user_id == self.target.user_id, "users never pay each other"


class Posting(NamedTuple):
    """A transfer with both accounts as they were just before it."""

    transfer: Transfer
    source: Account
    target: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTransfer:
    """A transfer as it was written, and the one that reversed it, if any."""

    id: TransferId
    transfer: Transfer
    reversed_by: TransferId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One side of a transfer, as it was written."""

    id: EntryId
    transfer_id: TransferId
    cause: Cause
    kind: AccountKind
    asset: Asset
    epoch: int
    version: int
    amount: Decimal
    balance_before: Decimal
    balance_after: Decimal
    order_id: OrderId | None
    reverses_transfer_id: TransferId | None
    request_id: str | None
    event_at: datetime
    created_at: datetime


class BeforeTheLedger(Invalid):
    """Nothing is known of this account at an instant before its ledger began."""

    code = "as_of_too_early"
    where = ("query", "as_of")

    def __init__(self, first_at: datetime) -> None:
        first = first_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        super().__init__(f"as_of lies before the account's first record of {first}")
        self.first_at = first_at


class TransferMissing(NotFound):
    """There is no transfer with this id."""

    code = "transfer_missing"

    def __init__(self, transfer_id: TransferId) -> None:
        super().__init__(f"transfer {transfer_id} does not exist")
        self.transfer_id = transfer_id


class TransferReversed(Conflict):
    """A transfer is reversed once; a reversal too can be reversed, once."""

    code = "transfer_reversed"

    def __init__(self, transfer_id: TransferId, reversed_by: TransferId) -> None:
        super().__init__(f"transfer {transfer_id} was reversed already, by transfer {reversed_by}")
        self.transfer_id = transfer_id
        self.reversed_by = reversed_by


class TransferNotReversible(Refused):
    """Reversing it alone would leave something half done; the text says what to do."""

    code = "transfer_not_reversible"


def post(
    transfers: Sequence[Transfer], accounts: Mapping[AccountKey, Account]
) -> tuple[list[Posting], dict[AccountKey, Account]]:
    """Each transfer with the balances it found, in order, and the accounts it all leaves behind.

    `accounts` holds every account that a transfer names; only changed ones are returned.
    """
    changed: dict[AccountKey, Account] = {}
    postings = []
    for transfer in transfers:
        source = changed.get(transfer.source) or accounts[transfer.source]
        target = changed.get(transfer.target) or accounts[transfer.target]
        postings.append(Posting(transfer, source, target))
        changed[source.key] = source.entered(subtract(source.balance, transfer.amount))
        changed[target.key] = target.entered(add(target.balance, transfer.amount))
    return postings, changed


def keys_of(transfers: Iterable[Transfer]) -> list[AccountKey]:
    """Every account that the transfers name, once each."""
    return list(dict.fromkeys(key for t in transfers for key in (t.source, t.target)))


def cash_of(user_id: UserId, epoch: int) -> AccountKey:
    """The account that users.balance mirrors."""
    return AccountKey(user_id, epoch, AccountKind.CASH, CASH_ASSET)


def funding_of(user_id: UserId, epoch: int) -> AccountKey:
    """Where the user's paper cash comes from."""
    return AccountKey(user_id, epoch, AccountKind.FUNDING, CASH_ASSET)


def holding_of(user_id: UserId, epoch: int, asset: str) -> AccountKey:
    """What the user holds of one symbol."""
    return AccountKey(user_id, epoch, AccountKind.HOLDING, Asset(asset))


def venue_of(user_id: UserId, epoch: int, asset: str) -> AccountKey:
    """The venue's side of the user's orders, for cash or for one symbol."""
    return AccountKey(user_id, epoch, AccountKind.VENUE, Asset(asset))


def buying(
    *, user_id: UserId, epoch: int, symbol: str, order_id: OrderId, quantity: Decimal, cost: Decimal
) -> list[Transfer]:
    """Cash goes to the venue, and the quantity comes from it."""
    return [
        Transfer(
            cause=Cause.ORDER_OPENED,
            source=cash_of(user_id, epoch),
            target=venue_of(user_id, epoch, CASH_ASSET),
            amount=cost,
            order_id=order_id,
        ),
        Transfer(
            cause=Cause.ORDER_OPENED,
            source=venue_of(user_id, epoch, symbol),
            target=holding_of(user_id, epoch, symbol),
            amount=quantity,
            order_id=order_id,
        ),
    ]


def selling(
    *,
    user_id: UserId,
    epoch: int,
    symbol: str,
    order_id: OrderId,
    quantity: Decimal,
    proceeds: Decimal,
) -> list[Transfer]:
    """The quantity goes back to the venue, and cash comes from it."""
    return [
        Transfer(
            cause=Cause.ORDER_CLOSED,
            source=holding_of(user_id, epoch, symbol),
            target=venue_of(user_id, epoch, symbol),
            amount=quantity,
            order_id=order_id,
        ),
        Transfer(
            cause=Cause.ORDER_CLOSED,
            source=venue_of(user_id, epoch, CASH_ASSET),
            target=cash_of(user_id, epoch),
            amount=proceeds,
            order_id=order_id,
        ),
    ]
