"""The tables `ledger_accounts`, `ledger_transfers` and `ledger_entries`."""

from collections.abc import Sequence
from datetime import datetime

from app.db.connection import Connection, Row
from app.domain.ledger import (
    Account,
    AccountId,
    AccountKey,
    AccountKind,
    Asset,
    Cause,
    Entry,
    EntryId,
    RecordedTransfer,
    Transfer,
    TransferId,
)
from app.domain.orders import OrderId
from app.domain.users import UserId


def _account(row: Row) -> Account:
    return Account(
        id=AccountId(row["id"]),
        key=AccountKey(
            user_id=UserId(row["user_id"]),
            epoch=row["epoch"],
            kind=AccountKind(row["kind"]),
            asset=Asset(row["asset"]),
        ),
        balance=row["balance"],
        version=row["version"],
    )


def _entry(row: Row) -> Entry:
    reverses = row["reverses_transfer_id"]
    return Entry(
        id=EntryId(row["id"]),
        transfer_id=TransferId(row["transfer_id"]),
        cause=Cause(row["cause"]),
        kind=AccountKind(row["kind"]),
        asset=Asset(row["asset"]),
        epoch=row["epoch"],
        version=row["version"],
        amount=row["amount"],
        balance_before=row["balance_before"],
        balance_after=row["balance_after"],
        order_id=None if row["order_id"] is None else OrderId(row["order_id"]),
        reverses_transfer_id=None if reverses is None else TransferId(reverses),
        request_id=row["request_id"],
        event_at=row["event_at"],
        created_at=row["created_at"],
    )


async def get_accounts(conn: Connection, *, keys: Sequence[AccountKey]) -> list[Account]:
    """The accounts that exist, of users that this transaction has locked."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, epoch, kind, asset, balance, version
        FROM ledger_accounts
        WHERE (user_id, epoch, kind, asset) IN (
            SELECT asked.user_id, asked.epoch, asked.kind, asked.asset
            FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[])
                AS asked (user_id, epoch, kind, asset)
        )
        """,
        [key.user_id for key in keys],
        [key.epoch for key in keys],
        [key.kind for key in keys],
        [key.asset for key in keys],
    )
    return [_account(row) for row in rows]


async def get_all_accounts(conn: Connection, *, user_id: UserId) -> list[Account]:
    """The user's accounts of every epoch, in this order: epoch, kind, asset."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, epoch, kind, asset, balance, version
        FROM ledger_accounts
        WHERE user_id = $1
        ORDER BY epoch, kind, asset
        """,
        user_id,
    )
    return [_account(row) for row in rows]


async def get_transfer(conn: Connection, *, transfer_id: TransferId) -> RecordedTransfer | None:
    """A transfer of whichever user, and what reversed it."""
    row = await conn.fetchrow(
        """
        SELECT transfer.id, transfer.user_id, transfer.cause, transfer.asset, transfer.amount,
            transfer.order_id, transfer.reverses_transfer_id, reversal.id AS reversed_by,
            source.epoch, source.kind AS source_kind, target.kind AS target_kind
        FROM ledger_transfers AS transfer
        JOIN ledger_accounts AS source ON source.id = transfer.source_account_id
        JOIN ledger_accounts AS target ON target.id = transfer.target_account_id
        LEFT JOIN ledger_transfers AS reversal ON reversal.reverses_transfer_id = transfer.id
        WHERE transfer.id = $1
        """,
        transfer_id,
    )
    if row is None:
        return None
    source, target = (
        AccountKey(
            user_id=UserId(row["user_id"]),
            epoch=row["epoch"],
            kind=AccountKind(row[side]),
            asset=Asset(row["asset"]),
        )
        for side in ("source_kind", "target_kind")
    )
    reverses, reversed_by = row["reverses_transfer_id"], row["reversed_by"]
    return RecordedTransfer(
        id=TransferId(row["id"]),
        transfer=Transfer(
            cause=Cause(row["cause"]),
            source=source,
            target=target,
            amount=row["amount"],
            order_id=None if row["order_id"] is None else OrderId(row["order_id"]),
            reverses_transfer_id=None if reverses is None else TransferId(reverses),
        ),
        reversed_by=None if reversed_by is None else TransferId(reversed_by),
    )


async def insert_accounts(conn: Connection, *, keys: Sequence[AccountKey]) -> list[Account]:
    """New accounts, empty, of users that this transaction has locked."""
    rows = await conn.fetch(
        """
        INSERT INTO ledger_accounts (user_id, epoch, kind, asset)
        SELECT new.user_id, new.epoch, new.kind, new.asset
        FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[])
            AS new (user_id, epoch, kind, asset)
        RETURNING id, user_id, epoch, kind, asset, balance, version
        """,
        [key.user_id for key in keys],
        [key.epoch for key in keys],
        [key.kind for key in keys],
        [key.asset for key in keys],
    )
    return [_account(row) for row in rows]


async def get_cash_at(conn: Connection, *, user_id: UserId, at: datetime) -> Account | None:
    """The cash account of the epoch that an instant fell into, as it was then."""
    row = await conn.fetchrow(
        """
        SELECT account.id, account.user_id, account.epoch, account.kind, account.asset,
            coalesce(latest.balance_after, 0) AS balance, coalesce(latest.version, 0) AS version
        FROM ledger_accounts AS account
        LEFT JOIN LATERAL (
            SELECT entry.balance_after, entry.version
            FROM ledger_entries AS entry
            WHERE entry.account_id = account.id AND entry.event_at <= $2
            ORDER BY entry.version DESC
            LIMIT 1
        ) AS latest ON true
        WHERE account.user_id = $1 AND account.kind = 'cash' AND account.opened_at <= $2
        ORDER BY account.epoch DESC
        LIMIT 1
        """,
        user_id,
        at,
    )
    return None if row is None else _account(row)


async def get_first_opened_at(conn: Connection, *, user_id: UserId) -> datetime:
    """Since when the user's ledger knows anything."""
    first: datetime = await conn.fetchval(
        "SELECT min(opened_at) FROM ledger_accounts WHERE user_id = $1", user_id
    )
    return first


async def get_accounts_at(
    conn: Connection, *, user_id: UserId, epoch: int, at: datetime | None
) -> list[Account]:
    """The user's accounts of one epoch, now or as they were at an instant, by kind and asset."""
    rows = await conn.fetch(
        """
        SELECT account.id, account.user_id, account.epoch, account.kind, account.asset,
            CASE WHEN $3::timestamptz IS NULL THEN account.balance
                ELSE coalesce(latest.balance_after, 0) END AS balance,
            CASE WHEN $3::timestamptz IS NULL THEN account.version
                ELSE coalesce(latest.version, 0) END AS version
        FROM ledger_accounts AS account
        LEFT JOIN LATERAL (
            SELECT entry.balance_after, entry.version
            FROM ledger_entries AS entry
            WHERE entry.account_id = account.id AND entry.event_at <= $3::timestamptz
            ORDER BY entry.version DESC
            LIMIT 1
        ) AS latest ON true
        WHERE account.user_id = $1 AND account.epoch = $2
            AND ($3::timestamptz IS NULL OR account.opened_at <= $3::timestamptz)
        ORDER BY account.kind, account.asset
        """,
        user_id,
        epoch,
        at,
    )
    return [_account(row) for row in rows]


async def get_entries(
    conn: Connection,
    *,
    user_id: UserId,
    epoch: int,
    kind: AccountKind | None,
    asset: str | None,
    order_id: OrderId | None,
    before_id: int | None,
    limit: int,
) -> list[Entry]:
    """A page of the user's entries, newest first, older than `before_id`."""
    rows = await conn.fetch(
        """
        SELECT entry.id, entry.transfer_id, transfer.cause, account.kind, account.asset,
            account.epoch, entry.version, entry.amount, entry.balance_before,
            entry.balance_after, transfer.order_id, transfer.reverses_transfer_id,
            transfer.request_id, entry.event_at, entry.created_at
        FROM ledger_entries AS entry
        JOIN ledger_accounts AS account ON account.id = entry.account_id
        JOIN ledger_transfers AS transfer ON transfer.id = entry.transfer_id
        WHERE entry.user_id = $1
            AND account.epoch = $2
            AND ($3::text IS NULL OR account.kind = $3)
            AND ($4::text IS NULL OR account.asset = $4)
            AND ($5::bigint IS NULL OR transfer.order_id = $5)
            AND ($6::bigint IS NULL OR entry.id < $6)
        ORDER BY entry.id DESC
        LIMIT $7
        """,
        user_id,
        epoch,
        kind,
        asset,
        order_id,
        before_id,
        limit,
    )
    return [_entry(row) for row in rows]
