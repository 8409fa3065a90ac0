"""Recomputing the books from what they are made of, in one snapshot for each part."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.db.connection import Connection
from app.db.dao import audit, audit_orders, ledger
from app.db.dao.audit import Recomputed, UserRange
from app.db.database import Database
from app.domain.audit import Discrepancy
from app.domain.ledger import Account, Asset
from app.domain.money import ZERO, add
from app.domain.users import UserId

USERS_PER_SLICE_MAX: Final = 500
EVENTS_PER_SLICE_MAX: Final = 5_000
"""An event writes four entries at most; a user with more events is a slice alone. Few enough that
nobody notices: a slice has a core to itself, a quarter of a second for so many."""

CHECKS: Final = (
    audit.get_wrong_accounts,
    audit.get_broken_chains,
    audit.get_lopsided_transfers,
    audit.get_foreign_entries,
    audit.get_unbalanced_assets,
    audit.get_wrong_balances,
    audit_orders.get_wrong_holdings,
    audit_orders.get_wrong_legs,
    audit_orders.get_event_gaps,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedSlice:
    """What was looked at in one snapshot, and what was found."""

    users: UserRange
    entries: int
    discrepancies: Sequence[Discrepancy]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """All accounts of one user beside what their entries say."""

    accounts: Sequence[tuple[Account, Recomputed]]
    totals: dict[Asset, Decimal]
    """The recomputed balances of each asset, added up; anything but 0 is a discrepancy."""
    discrepancies: Sequence[Discrepancy]

    @property
    def agrees(self) -> bool:
        """Whether nothing in the books contradicts anything else."""
        return not self.discrepancies


async def audit_users(conn: Connection, *, first_id: UserId, last_id: UserId) -> list[Discrepancy]:
    """Everything that is wrong with these users' books; `conn` holds a snapshot."""
    found: list[Discrepancy] = []
    for check in CHECKS:
        found += await check(conn, first_id=first_id, last_id=last_id)
    return found


async def audit_everybody(
    db: Database,
    *,
    users_per_slice_max: int = USERS_PER_SLICE_MAX,
    events_per_slice_max: int = EVENTS_PER_SLICE_MAX,
    pause_seconds: float = 0.0,
    busy_share_max: float = 1.0,
) -> AsyncIterator[AuditedSlice]:
    """The whole installation in bounded slices, each in a short snapshot of its own.

    Between two it pauses for `pause_seconds`, and longer where the database would else be
    kept busy for more than `busy_share_max` of the time.
    """
    loop = asyncio.get_running_loop()
    after_id = 0
    while True:
        began_at = loop.time()
        async with db.snapshot() as conn:
            users = await audit.get_next_range(
                conn,
                after_id=after_id,
                users_max=users_per_slice_max,
                events_max=events_per_slice_max,
            )
            if users is None:
                return
            first_id, last_id = users.first_id, users.last_id
            entries = await audit.count_entries(conn, first_id=first_id, last_id=last_id)
            found = await audit_users(conn, first_id=first_id, last_id=last_id)
            following = await audit.get_next_range(
                conn, after_id=last_id, users_max=1, events_max=1
            )
        busy_seconds = loop.time() - began_at
        yield AuditedSlice(users=users, entries=entries, discrepancies=found)
        if following is None:  # no pause: what was found out counts from now on
            return
        after_id = last_id
        await asyncio.sleep(max(pause_seconds, busy_seconds * (1 / busy_share_max - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationAudit:
    """How much was looked at, and everything that was found."""

    users: int
    entries: int
    discrepancies: Sequence[Discrepancy]


async def audit_installation(db: Database) -> InstallationAudit:
    """Everybody's books, in the same slices as always."""
    slices = [part async for part in audit_everybody(db)]
    return InstallationAudit(
        users=sum(part.users.users for part in slices),
        entries=sum(part.entries for part in slices),
        discrepancies=[found for part in slices for found in part.discrepancies],
    )


async def get_trial_balance(db: Database, *, user_id: UserId) -> TrialBalance:
    """The user's accounts of every epoch, recomputed from their entries."""
    async with db.snapshot() as conn:
        accounts = await ledger.get_all_accounts(conn, user_id=user_id)
        recomputed = await audit.get_recomputed(conn, user_id=user_id)
        found = await audit_users(conn, first_id=user_id, last_id=user_id)
    empty = Recomputed(balance=ZERO, entries=0)
    beside = [(account, recomputed.get(account.id, empty)) for account in accounts]
    totals: dict[Asset, Decimal] = defaultdict(lambda: ZERO)
    for account, entries in beside:
        totals[account.key.asset] = add(totals[account.key.asset], entries.balance)
    return TrialBalance(accounts=beside, totals=dict(totals), discrepancies=found)
