"""Writing down what was decided: transfers, fills, events and balances, all at once.

The caller has locked the users, or has read them and finds out here whether that still holds:
every change of a user raises the number of their last event. A movement is what one request
does; a batch of them is written with a constant number of statements.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from pydantic_core import to_json

from app.db.connection import Connection
from app.db.dao import bookings, ledger
from app.db.errors import DatabaseBusy
from app.domain.answers import KeptAnswer
from app.domain.audit import LedgerStopped
from app.domain.errors import Unavailable
from app.domain.events import EventType, NumberedEvent
from app.domain.fills import Fill
from app.domain.ledger import Account, AccountKey, Transfer, cash_of, keys_of, post
from app.domain.money import format_amount
from app.domain.orders import Order
from app.domain.users import LockedUser, UserId


class Overtaken(DatabaseBusy):
    """A user was changed between being read and being written; nothing was written."""


class LedgerDisagrees(Unavailable):
    """A balance and its ledger account differ; nothing more is booked for this user."""

    code = "ledger_disagrees"

    def __init__(self, user_id: UserId) -> None:
        super().__init__("the account's balance and its ledger disagree: nothing was booked")
        self.user_id = user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What one request does to one user, and how it is told."""

    user_id: UserId
    epoch: int
    type: EventType
    data: Mapping[str, object]
    """Told with the event; Decimal values become strings with 20 decimals."""
    request_id: str
    transfers: Sequence[Transfer] = field(default=())
    fill: Fill | None = None


def require_agreement(locked: Iterable[LockedUser]) -> None:
    """Refuse to decide about money while the books are wrong. Raises LedgerStopped."""
    if any(holder.is_ledger_stopped for holder in locked):
        raise LedgerStopped


async def get_accounts(conn: Connection, keys: Sequence[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts that exist already, by key."""
    return {account.key: account for account in await ledger.get_accounts(conn, keys=keys)}


async def book(
    conn: Connection,
    *,
    locked: Mapping[UserId, LockedUser],
    movements: Sequence[Movement],
    known: Mapping[AccountKey, Account] | None = None,
    at: datetime | None = None,
    opened: Sequence[Order] = (),
    closed: Sequence[Order] = (),
    kept: Sequence[KeptAnswer] = (),
) -> dict[UserId, Decimal]:
    """Write the movements, in order, and return the balances they leave behind.

    `known` are all the accounts that the transfers name, as the caller has read or made them
    under the same lock; without it they exist and are read here. `opened` and `closed` are the
    orders that the movements are about, as they are from now on; `kept` are the answers to
    those that carried a key.
    Raises LedgerDisagrees and, where `locked` were only read, Overtaken.
    """
    transfers = [transfer for movement in movements for transfer in movement.transfers]
    accounts = await get_accounts(conn, keys_of(transfers)) if known is None else known
    _check_cash(locked, accounts)
    postings, changed = post(transfers, accounts)
    balances: dict[UserId, Decimal] = {}
    numbers: dict[UserId, int] = {}
    events: list[NumberedEvent] = []
    for movement in movements:
        holder = locked[movement.user_id]
        numbers[movement.user_id] = numbers.get(movement.user_id, holder.event_number) + 1
        cash = changed.get(cash_of(movement.user_id, movement.epoch))
        balances[movement.user_id] = holder.user.balance if cash is None else cash.balance
        events.append(
            NumberedEvent(
                user_id=movement.user_id,
                number=numbers[movement.user_id],
                type=movement.type,
                epoch=movement.epoch,
                data_json=_as_json(movement.data),
                request_id=movement.request_id,
            )
        )
    written_at = await bookings.insert_booking(
        conn,
        booking=bookings.Booking(
            postings=postings,
            accounts=changed,
            fills=[movement.fill for movement in movements if movement.fill is not None],
            events=events,
            balances=balances,
            event_numbers=numbers,
            read_numbers={user_id: holder.event_number for user_id, holder in locked.items()},
            request_ids=[m.request_id for m in movements for _ in m.transfers],
            opened=opened,
            closed=closed,
            kept=kept,
        ),
        at=at,
    )
    if written_at is None:
        raise Overtaken
    return balances


def _check_cash(
    locked: Mapping[UserId, LockedUser], accounts: Mapping[AccountKey, Account]
) -> None:
    """Refuse to build on a balance that its own ledger contradicts."""
    for user_id, holder in locked.items():
        cash = accounts.get(cash_of(user_id, holder.user.epoch))
        if cash is not None and cash.balance != holder.user.balance:
            raise LedgerDisagrees(user_id)


def _as_json(data: Mapping[str, object]) -> str:
    spelled = {
        name: format_amount(value) if isinstance(value, Decimal) else value
        for name, value in data.items()
    }
    return to_json(spelled).decode()
