"""Contradictions in the books of users `first_id` to `last_id`; run them in one snapshot.

Each statement recomputes one thing from what it is made of and returns only what differs.
"""

from dataclasses import dataclass
from decimal import Decimal

from app.db.connection import Connection
from app.domain.audit import Discrepancy
from app.domain.ledger import AccountId
from app.domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRange:
    """Neighbours by id, both ends included."""

    first_id: UserId
    last_id: UserId
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What an account's entries say."""

    balance: Decimal
    entries: int


async def get_next_range(
    conn: Connection, *, after_id: int, users_max: int, events_max: int
) -> UserRange | None:
    """The next users by id, at most `users_max`; None at the end.

    They are fewer where more than `events_max` events happened to them, so that a slice is
    bounded in rows too.
    """
    row = await conn.fetchrow(
        """
        SELECT min(id) AS first_id, max(id) AS last_id, count(*) AS users
        FROM (
            SELECT id, sum(event_number) OVER (ORDER BY id) - event_number AS events_before
            FROM (
                SELECT id, event_number FROM users WHERE id > $1 ORDER BY id LIMIT $2
            ) AS following
        ) AS weighed
        WHERE events_before < $3
        """,
        after_id,
        users_max,
        events_max,
    )
    if row is None or row["first_id"] is None:
        return None
    return UserRange(
        first_id=UserId(row["first_id"]), last_id=UserId(row["last_id"]), users=row["users"]
    )


async def count_entries(conn: Connection, *, first_id: UserId, last_id: UserId) -> int:
    """How many entries there are to check."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM ledger_entries WHERE user_id BETWEEN $1 AND $2", first_id, last_id
    )
    return count


async def get_recomputed(conn: Connection, *, user_id: UserId) -> dict[AccountId, Recomputed]:
    """What the entries of each of the user's accounts add up to; without entries, nothing."""
    rows = await conn.fetch(
        """
        SELECT account_id, sum(amount) AS balance, count(*) AS entries
        FROM ledger_entries
        WHERE user_id = $1
        GROUP BY account_id
        """,
        user_id,
    )
    return {
        AccountId(row["account_id"]): Recomputed(balance=row["balance"], entries=row["entries"])
        for row in rows
    }


async def get_wrong_accounts(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Accounts that are not the sum of their entries, not their last, or have gaps."""
    rows = await conn.fetch(
        """
        WITH account AS MATERIALIZED (
            SELECT account.id, account.user_id, account.epoch, account.kind, account.asset,
                account.balance, account.version,
                coalesce(made_of.total, 0::numeric(48,20)) AS total,
                coalesce(made_of.count, 0) AS count,
                coalesce(made_of.highest, 0) AS highest,
                coalesce(latest.balance_after, 0::numeric(48,20)) AS latest
            FROM ledger_accounts AS account
            LEFT JOIN (
                SELECT account_id, sum(amount) AS total, count(*) AS count, max(version) AS highest
                FROM ledger_entries
                WHERE user_id BETWEEN $1 AND $2
                GROUP BY account_id
            ) AS made_of ON made_of.account_id = account.id
            LEFT JOIN ledger_entries AS latest
                ON latest.account_id = account.id AND latest.version = made_of.highest
            WHERE account.user_id BETWEEN $1 AND $2
        )
        SELECT user_id, found, expected,
            format('account %s %s (id %s, epoch %s)', kind, asset, id, epoch) AS subject
        FROM (
            SELECT user_id, kind, asset, id, epoch, format('its balance is %s', balance) AS found,
                format('its entries sum to %s', total) AS expected
            FROM account
            WHERE balance <> total
            UNION ALL
            SELECT user_id, kind, asset, id, epoch, format('its balance is %s', balance),
                format('its last entry left %s', latest)
            FROM account
            WHERE balance <> latest
            UNION ALL
            SELECT user_id, kind, asset, id, epoch, format('its version is %s', version),
                format('it has %s entries up to version %s', count, highest)
            FROM account
            WHERE version <> count OR version <> highest
        ) AS wrong
        ORDER BY user_id, id
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]


async def get_broken_chains(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Entries that do not begin where the one before ended, or do not add up."""
    rows = await conn.fetch(
        """
        WITH chained AS MATERIALIZED (
            SELECT user_id, account_id, version, amount, balance_before, balance_after,
                lag(balance_after, 1, 0::numeric(48,20))
                    OVER (PARTITION BY account_id ORDER BY version) AS left_behind
            FROM ledger_entries
            WHERE user_id BETWEEN $1 AND $2
        )
        SELECT broken.user_id,
            format('account %s %s (id %s, epoch %s), entry version %s',
                account.kind, account.asset, broken.account_id, account.epoch, broken.version)
                AS subject,
            broken.found, broken.expected
        FROM (
            SELECT user_id, account_id, version, format('it begins at %s', balance_before) AS found,
                format('the entry before ended at %s', left_behind) AS expected
            FROM chained
            WHERE balance_before <> left_behind
            UNION ALL
            SELECT user_id, account_id, version, format('it ends at %s', balance_after),
                format('%s and %s make %s', balance_before, amount, balance_before + amount)
            FROM chained
            WHERE balance_after <> balance_before + amount
        ) AS broken
        LEFT JOIN ledger_accounts AS account
            ON account.id = broken.account_id AND account.user_id BETWEEN $1 AND $2
        ORDER BY broken.user_id, broken.account_id, broken.version
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]


async def get_lopsided_transfers(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Transfers without exactly two entries, of opposite amounts on their two accounts."""
    rows = await conn.fetch(
        """
        SELECT user_id, format('transfer %s (%s)', id, cause) AS subject,
            format('it has %s entries, %s at its source and %s at its target',
                count, coalesce(at_source, 0), coalesce(at_target, 0)) AS found,
            format('it moves %s from account %s to account %s',
                amount, source_account_id, target_account_id) AS expected
        FROM (
            SELECT transfer.id, transfer.user_id, transfer.cause, transfer.amount,
                transfer.source_account_id, transfer.target_account_id, count(entry.id) AS count,
                sum(entry.amount) FILTER (WHERE entry.account_id = transfer.source_account_id)
                    AS at_source,
                sum(entry.amount) FILTER (WHERE entry.account_id = transfer.target_account_id)
                    AS at_target
            FROM ledger_transfers AS transfer
            LEFT JOIN ledger_entries AS entry
                ON entry.transfer_id = transfer.id AND entry.user_id BETWEEN $1 AND $2
            WHERE transfer.user_id BETWEEN $1 AND $2
            GROUP BY transfer.id
        ) AS recomputed
        WHERE (count = 2 AND at_source = -amount AND at_target = amount) IS NOT TRUE
        ORDER BY user_id, id
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]


async def get_foreign_entries(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Entries whose account or transfer is missing or somebody else's."""
    rows = await conn.fetch(
        """
        -- Joined by their ids alone: by the user as well, every entry of a user with many would
        -- meet all of the user's accounts.
        SELECT entry.user_id, format('entry %s', entry.id) AS subject,
            format('it stands on account %s for transfer %s',
                entry.account_id, entry.transfer_id) AS found,
            CASE WHEN account.user_id IS DISTINCT FROM entry.user_id
                THEN 'the user has no such account' ELSE 'the user has no such transfer'
            END AS expected
        FROM ledger_entries AS entry
        LEFT JOIN ledger_accounts AS account
            ON account.id = entry.account_id AND account.user_id BETWEEN $1 AND $2
        LEFT JOIN ledger_transfers AS transfer
            ON transfer.id = entry.transfer_id AND transfer.user_id BETWEEN $1 AND $2
        WHERE entry.user_id BETWEEN $1 AND $2
            AND (account.user_id IS DISTINCT FROM entry.user_id
                OR transfer.user_id IS DISTINCT FROM entry.user_id)
        ORDER BY entry.user_id, entry.id
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]


async def get_unbalanced_assets(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Assets whose accounts do not sum to zero."""
    rows = await conn.fetch(
        """
        SELECT user_id, format('asset %s (epoch %s)', asset, epoch) AS subject,
            format('its accounts sum to %s', sum(balance)) AS found,
            'every transfer leaves their sum at 0' AS expected
        FROM ledger_accounts
        WHERE user_id BETWEEN $1 AND $2
        GROUP BY user_id, epoch, asset
        HAVING sum(balance) <> 0
        ORDER BY user_id, epoch, asset
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]


async def get_wrong_balances(
    conn: Connection, *, first_id: UserId, last_id: UserId
) -> list[Discrepancy]:
    """Users whose balance is not that of the cash account of their current epoch."""
    rows = await conn.fetch(
        """
        SELECT users.id AS user_id, 'users.balance' AS subject,
            format('it is %s', users.balance) AS found,
            CASE WHEN cash.id IS NULL THEN format('epoch %s has no cash account', users.epoch)
                ELSE format('account cash USD (id %s, epoch %s) holds %s',
                    cash.id, cash.epoch, cash.balance) END AS expected
        FROM users
        LEFT JOIN ledger_accounts AS cash
            ON cash.user_id = users.id AND cash.epoch = users.epoch
            AND cash.kind = 'cash' AND cash.asset = 'USD'
        WHERE users.id BETWEEN $1 AND $2 AND (users.balance = cash.balance) IS NOT TRUE
        ORDER BY users.id
        """,
        first_id,
        last_id,
    )
    return [Discrepancy(**row) for row in rows]
