"""Whether an installation's books are in order, asked in plain SQL.

It shares no code with the application, so that no mistake of the one hides in the other.
"""

from typing import Final

import asyncpg

CHECKS: Final = {
    "an asset of a user does not sum to zero": """
        SELECT user_id, epoch, asset, sum(balance)
        FROM ledger_accounts GROUP BY user_id, epoch, asset HAVING sum(balance) <> 0
    """,
    "a transfer has not exactly its two entries": """
        SELECT transfer.id, array_agg((entry.account_id, entry.amount))
        FROM ledger_transfers AS transfer
        LEFT JOIN ledger_entries AS entry ON entry.transfer_id = transfer.id
        GROUP BY transfer.id
        HAVING count(entry.id) <> 2
            OR count(*) FILTER (WHERE entry.account_id = transfer.source_account_id
                                AND entry.amount = -transfer.amount) <> 1
            OR count(*) FILTER (WHERE entry.account_id = transfer.target_account_id
                                AND entry.amount = transfer.amount) <> 1
    """,
    "an account is not what its entries come to": """
        SELECT account.id, account.kind, account.asset, account.balance, account.version
        FROM ledger_accounts AS account
        LEFT JOIN ledger_entries AS entry ON entry.account_id = account.id
        GROUP BY account.id
        HAVING account.balance <> coalesce(sum(entry.amount), 0)
            OR account.version <> count(entry.id)
            OR account.version <> coalesce(max(entry.version), 0)
    """,
    "an entry does not begin where the one before it ended": """
        SELECT * FROM (
            SELECT account_id, version, balance_before, lag(balance_after, 1, 0::numeric)
                OVER (PARTITION BY account_id ORDER BY version) AS expected
            FROM ledger_entries
        ) AS chain
        WHERE balance_before <> expected
    """,
    "an entry is older than the one before it": """
        SELECT * FROM (
            SELECT account_id, version, event_at, lag(event_at)
                OVER (PARTITION BY account_id ORDER BY version) AS earlier
            FROM ledger_entries
        ) AS chain
        WHERE event_at < earlier
    """,
    "a balance is not its cash account": """
        SELECT users.id, users.balance, cash.balance
        FROM users
        LEFT JOIN ledger_accounts AS cash ON cash.user_id = users.id
            AND cash.epoch = users.epoch AND cash.kind = 'cash' AND cash.asset = 'USD'
        WHERE cash.balance IS DISTINCT FROM users.balance
    """,
    "something owned is below zero": """
        SELECT user_id, kind, asset, balance FROM ledger_accounts
        WHERE kind IN ('cash', 'holding') AND balance < 0
        UNION ALL
        SELECT id, 'balance', 'USD', balance FROM users WHERE balance < 0
    """,
    "a holding is not the active order of its symbol": """
        SELECT *
        FROM (
            SELECT user_id, epoch, asset, balance FROM ledger_accounts WHERE kind = 'holding'
        ) AS held
        FULL JOIN (
            SELECT user_id, epoch, symbol AS asset, sum(quantity) AS quantity, count(*)
            FROM transact WHERE status = 1 GROUP BY user_id, epoch, symbol
        ) AS active USING (user_id, epoch, asset)
        WHERE coalesce(held.balance, 0) <> coalesce(active.quantity, 0) OR active.count > 1
    """,
    "an order has not exactly its legs": """
        SELECT o.id, o.symbol, o.status, array_agg((leg.cause, leg.asset, leg.amount))
        FROM transact AS o
        LEFT JOIN ledger_transfers AS leg ON leg.order_id = o.id
        GROUP BY o.id
        HAVING count(leg.id) <> 2 * o.status
            OR count(*) FILTER (WHERE cause = 'order_opened' AND asset = 'USD'
                                AND amount = round(o.buy_price * o.quantity, 20)) <> 1
            OR count(*) FILTER (WHERE cause = 'order_opened' AND asset = o.symbol
                                AND amount = o.quantity) <> 1
            OR count(*) FILTER (WHERE cause = 'order_closed' AND asset = 'USD'
                                AND amount = round(o.sell_price * o.quantity, 20)) <> o.status - 1
            OR count(*) FILTER (WHERE cause = 'order_closed' AND asset = o.symbol
                                AND amount = o.quantity) <> o.status - 1
    """,
    "an order has not exactly its fills": """
        SELECT o.id, o.status, array_agg((fill.side, fill.price))
        FROM transact AS o
        LEFT JOIN fills AS fill ON fill.order_id = o.id
        GROUP BY o.id
        HAVING count(fill.order_id) <> o.status
            OR count(*) FILTER (WHERE side = 'buy' AND price = buy_price) <> 1
            OR count(*) FILTER (WHERE side = 'sell' AND price = sell_price) <> o.status - 1
    """,
    "a user's events are not numbered without a gap": """
        SELECT users.id, users.event_number, count(events.number), max(events.number)
        FROM users LEFT JOIN events ON events.user_id = users.id
        GROUP BY users.id
        HAVING count(events.number) <> users.event_number
            OR coalesce(max(events.number), 0) <> users.event_number
    """,
    "money moved untold, or was told and did not move": """
        SELECT users.id
        FROM users
        WHERE (SELECT count(*) FROM events WHERE user_id = users.id
               AND type IN ('deposited', 'withdrawn', 'order_opened', 'order_closed'))
            <> (SELECT count(*) FROM ledger_transfers WHERE user_id = users.id
                AND asset = 'USD'
                AND cause IN ('deposit', 'withdrawal', 'order_opened', 'order_closed'))
    """,
}
"""What must find nothing, by what it would mean if it did."""

SHOWN_MAX: Final = 3


async def discrepancies(conn: asyncpg.Connection) -> list[str]:
    """What is wrong, all seen at one instant; empty when the books are in order."""
    found = []
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        for meaning, query in CHECKS.items():
            rows = await conn.fetch(query)
            if rows:
                shown = "; ".join(str(tuple(row)) for row in rows[:SHOWN_MAX])
                found.append(f"{meaning}: {len(rows)} times, as {shown}")
    return found
