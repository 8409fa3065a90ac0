"""What an account's statistics are made of: the entries of its cash account, with their orders."""

from datetime import datetime

from app.db.connection import Connection, Row
from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics.history import CashSpan, Movement, OpenOrder
from app.domain.users import UserId


def _order(row: Row) -> OpenOrder:
    return OpenOrder(
        id=OrderId(row["order_id"]),
        symbol=Symbol(row["symbol"]),
        opened_at=row["created_at"],
        buy_price=row["buy_price"],
        quantity=row["quantity"],
    )


async def get_cash_span(
    conn: Connection,
    *,
    user_id: UserId,
    epoch: int,
    begin_at: datetime | None,
    end_at: datetime | None,
) -> CashSpan | None:
    """Which entries of the cash account lie in a time; None if there is no such epoch.

    The time is cut to what lies between the epoch's beginning and its end, which is the next
    one's beginning, or now; the beginning stays where it is if that leaves nothing.
    """
    row = await conn.fetchrow(
        """
        SELECT account.id, account.opened_at,
            greatest(coalesce($3::timestamptz, account.opened_at), account.opened_at) AS begin_at,
            least($4::timestamptz, next.opened_at, clock_timestamp()) AS end_at,
            coalesce(earlier.balance_after, 0) AS cash_at_begin,
            coalesce(earlier.version, 0) AS begin_version,
            CASE WHEN $4::timestamptz IS NULL THEN account.version
                ELSE coalesce(later.version, 0) END AS end_version
        FROM ledger_accounts AS account
        LEFT JOIN LATERAL (
            SELECT entry.version, entry.balance_after
            FROM ledger_entries AS entry
            WHERE entry.account_id = account.id AND entry.event_at < $3::timestamptz
            ORDER BY entry.version DESC
            LIMIT 1
        ) AS earlier ON true
        LEFT JOIN LATERAL (
            SELECT entry.version
            FROM ledger_entries AS entry
            WHERE entry.account_id = account.id AND entry.event_at < $4::timestamptz
            ORDER BY entry.version DESC
            LIMIT 1
        ) AS later ON true
        LEFT JOIN ledger_accounts AS next ON next.user_id = account.user_id
            AND next.epoch = account.epoch + 1 AND next.kind = 'cash' AND next.asset = 'USD'
        WHERE account.user_id = $1 AND account.epoch = $2
            AND account.kind = 'cash' AND account.asset = 'USD'
        """,
        user_id,
        epoch,
        begin_at,
        end_at,
    )
    if row is None:
        return None
    return CashSpan(
        account_id=row["id"],
        opened_at=row["opened_at"],
        begin_at=row["begin_at"],
        end_at=row["end_at"],
        cash_at_begin=row["cash_at_begin"],
        begin_version=row["begin_version"],
        end_version=row["end_version"],
    )


async def get_movements(
    conn: Connection, *, account_id: int, begin_version: int, end_version: int
) -> list[Movement]:
    """The entries after one version up to another, in order, with the orders behind them."""
    rows = await conn.fetch(
        """
        SELECT entry.event_at, entry.amount, transfer.cause, transact.id AS order_id,
            transact.symbol, transact.created_at, transact.buy_price, transact.quantity,
            CASE transfer.cause WHEN 'order_opened' THEN transact.buy_price
                WHEN 'order_closed' THEN transact.sell_price END AS price
        FROM ledger_entries AS entry
        JOIN ledger_transfers AS transfer ON transfer.id = entry.transfer_id
        LEFT JOIN transact ON transact.id = transfer.order_id
        WHERE entry.account_id = $1 AND entry.version > $2 AND entry.version <= $3
        ORDER BY entry.version
        """,
        account_id,
        begin_version,
        end_version,
    )
    return [
        Movement(
            at=row["event_at"],
            cause=Cause(row["cause"]),
            amount=row["amount"],
            order=None if row["order_id"] is None else _order(row),
            price=row["price"],
        )
        for row in rows
    ]


async def get_open_orders_before(
    conn: Connection, *, user_id: UserId, epoch: int, at: datetime
) -> list[OpenOrder]:
    """What was held just before an instant, by symbol, as the holding accounts know it."""
    rows = await conn.fetch(
        """
        SELECT transact.id AS order_id, transact.symbol, transact.created_at,
            transact.buy_price, transact.quantity
        FROM ledger_accounts AS account
        JOIN LATERAL (
            SELECT entry.balance_after, entry.transfer_id
            FROM ledger_entries AS entry
            WHERE entry.account_id = account.id AND entry.event_at < $3
            ORDER BY entry.version DESC
            LIMIT 1
        ) AS latest ON latest.balance_after > 0
        JOIN ledger_transfers AS transfer ON transfer.id = latest.transfer_id
        JOIN transact ON transact.id = transfer.order_id
        WHERE account.user_id = $1 AND account.epoch = $2 AND account.kind = 'holding'
        ORDER BY account.asset
        """,
        user_id,
        epoch,
        at,
    )
    return [_order(row) for row in rows]
