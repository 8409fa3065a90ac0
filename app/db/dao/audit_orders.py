"""Contradictions between orders or events and the books of users `first_id` to `last_id`."""

from app.db.connection import Connection
from app.domain.audit import Discrepancy
from app.domain.users import UserId


async def get_wrong_holdings(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Holdings that are not the quantity of the active order of their symbol."""
    rows = await conn.fetch(
        """
        SELECT coalesce(holding.user_id, active.user_id) AS user_id,
            format('account holding %s (epoch %s)', coalesce(holding.asset, active.symbol),
                coalesce(holding.epoch, active.epoch)) AS subject,
            format('it holds %s', coalesce(holding.balance, 0)) AS found,
            CASE WHEN active.id IS NULL THEN 'no order is active (quantity 0)'
                ELSE format('order %s is active with quantity %s', active.id, active.quantity)
                END AS expected
        FROM (
            SELECT user_id, epoch, asset, balance
            FROM ledger_accounts
            WHERE user_id BETWEEN $1 AND $2 AND kind = 'holding'
        ) AS holding
        FULL JOIN (
            SELECT id, user_id, epoch, symbol, quantity
            FROM transact
            WHERE user_id BETWEEN $1 AND $2 AND status = 1
        ) AS active
            ON active.user_id = holding.user_id AND active.epoch = holding.epoch
            AND active.symbol = holding.asset
        WHERE coalesce(holding.balance, 0) <> coalesce(active.quantity, 0)
        ORDER BY 1, 2
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]


async def get_wrong_legs(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Orders whose transfers are not exactly what opening and closing them moved.

    An order that was active when the ledger began has one 'opening' transfer in place of the
    two of its purchase; one that had been closed before has none and no fill.
    """
    rows = await conn.fetch(
        """
        WITH leg AS MATERIALIZED (
            SELECT transfer.order_id, transfer.user_id, transfer.cause, transfer.asset,
                transfer.amount, source.epoch, source.kind || ' to ' || target.kind AS way
            FROM ledger_transfers AS transfer
            JOIN ledger_accounts AS source
                ON source.id = transfer.source_account_id AND source.user_id BETWEEN $1 AND $2
            JOIN ledger_accounts AS target
                ON target.id = transfer.target_account_id AND target.user_id BETWEEN $1 AND $2
                AND target.epoch = source.epoch
            WHERE transfer.user_id BETWEEN $1 AND $2 AND transfer.order_id IS NOT NULL
        ),
        moved AS MATERIALIZED (
            SELECT placed.id, placed.user_id, placed.symbol, placed.status, placed.updated_at,
                count(leg.order_id) AS legs,
                count(*) FILTER (WHERE leg.cause = 'order_opened' AND leg.way = 'cash to venue'
                    AND leg.asset = 'USD'
                    AND leg.amount = round(placed.buy_price * placed.quantity, 20)) AS paid,
                count(*) FILTER (WHERE leg.cause = 'order_opened' AND leg.way = 'venue to holding'
                    AND leg.asset = placed.symbol AND leg.amount = placed.quantity) AS received,
                count(*) FILTER (WHERE leg.cause = 'opening' AND leg.way = 'venue to holding'
                    AND leg.asset = placed.symbol AND leg.amount = placed.quantity) AS taken_over,
                count(*) FILTER (WHERE leg.cause = 'order_closed' AND leg.way = 'holding to venue'
                    AND leg.asset = placed.symbol AND leg.amount = placed.quantity) AS delivered,
                count(*) FILTER (WHERE leg.cause = 'order_closed' AND leg.way = 'venue to cash'
                    AND leg.asset = 'USD'
                    AND leg.amount = round(placed.sell_price * placed.quantity, 20)) AS repaid
            FROM transact AS placed
            LEFT JOIN leg
                ON leg.order_id = placed.id AND leg.user_id = placed.user_id
                AND leg.epoch = placed.epoch
            WHERE placed.user_id BETWEEN $1 AND $2
            GROUP BY placed.id
        ),
        wrong AS (
            SELECT id, user_id, symbol, status, updated_at, legs, paid, received, taken_over,
                delivered, repaid
            FROM moved
            WHERE legs <> paid + received + taken_over + delivered + repaid
                OR (paid, received, taken_over) NOT IN ((1, 1, 0), (0, 0, 1))
                OR delivered <> status - 1
                OR repaid <> status - 1
        )
        SELECT wrong.user_id, format('order %s (%s)', wrong.id, wrong.symbol) AS subject,
            format('of its %s transfers %s paid for it, %s received it, %s took it over,'
                ' %s delivered it and %s was its proceeds',
                legs, paid, received, taken_over, delivered, repaid) AS found,
            format('it is %s: %s', CASE status WHEN 1 THEN 'active' ELSE 'closed' END,
                CASE status WHEN 1 THEN '1 + 1 (or 1 taken over) and 0 + 0 are due'
                    ELSE '1 + 1 (or 1 taken over) and 1 + 1 are due' END) AS expected
        FROM wrong
        WHERE NOT (
            legs = 0 AND status = 2
            AND updated_at < (
                SELECT min(opened_at) FROM ledger_accounts AS account
                WHERE account.user_id = wrong.user_id
            )
            -- Counted one by one: for an EXISTS the planner would read the whole table.
            AND (SELECT count(*) FROM fills WHERE fills.order_id = wrong.id) = 0
        )
        ORDER BY wrong.user_id, wrong.id
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]


async def get_event_gaps(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Users whose events are not numbered from one to users.event_number."""
    rows = await conn.fetch(
        """
        SELECT users.id AS user_id, 'events' AS subject,
            format('there are %s up to number %s', coalesce(told.count, 0),
                coalesce(told.highest, 0)) AS found,
            format('users.event_number is %s', users.event_number) AS expected
        FROM users
        LEFT JOIN (
            SELECT user_id, count(*) AS count, max(number) AS highest
            FROM events
            WHERE user_id BETWEEN $1 AND $2
            GROUP BY user_id
        ) AS told ON told.user_id = users.id
        WHERE users.id BETWEEN $1 AND $2
            AND (coalesce(told.count, 0) <> users.event_number
                OR coalesce(told.highest, 0) <> users.event_number)
        ORDER BY users.id
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]
