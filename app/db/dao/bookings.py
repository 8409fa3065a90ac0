"""Everything that one batch of money movements writes at once.

One statement for orders, transfers, entries, accounts, fills, events, users and the answers
that keys stand for, whatever the length of the batch: an order would otherwise wait for eight
round trips one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import asyncpg

from app.db.arrays import number_array
from app.db.connection import Connection, Row
from app.domain.answers import KeptAnswer
from app.domain.events import NumberedEvent
from app.domain.fills import Fill
from app.domain.ledger import Account, AccountKey, Posting
from app.domain.orders import Order
from app.domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What was decided for users that the transaction has locked."""

    postings: Sequence[Posting]
    accounts: Mapping[AccountKey, Account]
    fills: Sequence[Fill]
    events: Sequence[NumberedEvent]
    balances: Mapping[UserId, Decimal]
    event_numbers: Mapping[UserId, int]
    read_numbers: Mapping[UserId, int]
    """The last event of every user of the booking when it was decided."""
    request_ids: Sequence[str]
    """One for each posting."""
    opened: Sequence[Order]
    """New orders, with the ids that were reserved for them."""
    closed: Sequence[Order]
    """Orders that were active until now."""
    kept: Sequence[KeptAnswer]
    """First answers to the requests that carried a key."""


async def insert_booking(
    conn: Connection, *, booking: Booking, at: datetime | None
) -> datetime | None:
    """Write it all as of one instant, now by default, and return it.

    None, and nothing is written, when a user is gone, is locked by another transaction, or has
    an event since the booking was decided.
    """
    try:
        row = await _write(conn, booking=booking, at=at)
    except asyncpg.DivisionByZeroError:
        raise AssertionError("what is closed was active, and is locked") from None
    if row is None:
        return None
    instant: datetime = row["at"]
    return instant


async def _write(conn: Connection, *, booking: Booking, at: datetime | None) -> Row | None:
    postings = booking.postings
    accounts = [account for account in booking.accounts.values() if not account.is_new]
    new_accounts = [account for account in booking.accounts.values() if account.is_new]
    row: Row | None = await conn.fetchrow(
        """
        WITH unchanged AS MATERIALIZED (
            SELECT users.id
            FROM unnest($48::text::bigint[], $49::text::bigint[]) AS known (id, event_number)
            JOIN users ON users.id = known.id AND users.event_number = known.event_number
            ORDER BY users.id
            FOR NO KEY UPDATE OF users SKIP LOCKED
        ),
        moment AS MATERIALIZED (
            SELECT coalesce($32::timestamptz, clock_timestamp()) AS at
            WHERE (SELECT count(*) FROM unchanged) = cardinality($48::text::bigint[])
        ),
        opened_orders AS (
            INSERT INTO transact
                (id, user_id, epoch, client_order_id, symbol, quantity, buy_price,
                created_at, updated_at)
            SELECT new.id, new.user_id, new.epoch, new.client_order_id, new.symbol,
                new.quantity, new.buy_price, moment.at, moment.at
            FROM unnest(
                $34::text::bigint[], $35::text::bigint[], $36::text::int[], $37::text[],
                $38::text[],
                $39::text::numeric[], $40::text::numeric[]
            ) AS new (id, user_id, epoch, client_order_id, symbol, quantity, buy_price), moment
        ),
        closed_orders AS (
            UPDATE transact
            SET status = 2, sell_price = closing.sell_price, updated_at = moment.at
            FROM unnest($41::text::bigint[], $42::text::numeric[])
                AS closing (id, sell_price), moment
            WHERE transact.id = closing.id AND transact.status = 1
            RETURNING transact.id
        ),
        posting AS MATERIALIZED (
            SELECT nextval('ledger_transfers_id_seq') AS id, given.*
            FROM unnest(
                $1::text::bigint[], $2::text[], $3::text[], $4::text::numeric[], $5::text::bigint[],
                $6::text[], $7::text::bigint[], $8::text::bigint[], $9::text::numeric[],
                $10::text::bigint[], $11::text::bigint[], $12::text::numeric[], $33::text::bigint[]
            ) AS given (
                user_id, cause, asset, amount, order_id, request_id,
                source_id, source_version, source_before,
                target_id, target_version, target_before, reverses_id
            ), moment
        ),
        written_transfers AS (
            INSERT INTO ledger_transfers
                (id, user_id, cause, asset, amount, source_account_id, target_account_id,
                order_id, reverses_transfer_id, request_id, event_at)
            SELECT id, user_id, cause, asset, amount, source_id, target_id,
                order_id, reverses_id, request_id, moment.at
            FROM posting, moment
        ),
        written_entries AS (
            INSERT INTO ledger_entries
                (user_id, account_id, version, transfer_id, amount, balance_before,
                balance_after, event_at)
            SELECT user_id, source_id, source_version + 1, id, -amount, source_before,
                source_before - amount, moment.at
            FROM posting, moment
            UNION ALL
            SELECT user_id, target_id, target_version + 1, id, amount, target_before,
                target_before + amount, moment.at
            FROM posting, moment
        ),
        new_accounts AS (
            INSERT INTO ledger_accounts
                (id, user_id, epoch, kind, asset, balance, version, opened_at)
            SELECT new.id, new.user_id, new.epoch, new.kind, new.asset, new.balance, new.version,
                moment.at
            FROM unnest(
                $50::text::bigint[], $51::text::bigint[], $52::text::int[], $53::text[],
                $54::text[],
                $55::text::numeric[], $56::text::bigint[]
            ) AS new (id, user_id, epoch, kind, asset, balance, version), moment
        ),
        written_accounts AS (
            UPDATE ledger_accounts
            SET balance = changed.balance, version = changed.version
            FROM unnest($13::text::bigint[], $14::text::numeric[], $15::text::bigint[])
                AS changed (id, balance, version), moment
            WHERE ledger_accounts.id = changed.id
        ),
        written_fills AS (
            INSERT INTO fills
                (order_id, side, price, source, venue_time_ms, price_age_ms, request_id, filled_at)
            SELECT fill.order_id, fill.side, fill.price, fill.source, fill.venue_time_ms,
                fill.price_age_ms, fill.request_id, moment.at
            FROM unnest(
                $16::text::bigint[], $17::text[], $18::text::numeric[], $19::text[],
                $20::text::bigint[],
                $21::text::int[], $22::text[]
            ) AS fill (order_id, side, price, source, venue_time_ms, price_age_ms, request_id),
            moment
        ),
        written_events AS (
            INSERT INTO events (user_id, number, type, epoch, data, request_id, event_at)
            SELECT event.user_id, event.number, event.type, event.epoch, event.data::jsonb,
                event.request_id, moment.at
            FROM unnest(
                $23::text::bigint[], $24::text::bigint[], $25::text[], $26::text::int[],
                $27::text[], $28::text[]
            ) AS event (user_id, number, type, epoch, data, request_id), moment
        ),
        written_users AS (
            UPDATE users
            SET balance = changed.balance, event_number = changed.event_number,
                updated_at = moment.at
            FROM unnest($29::text::bigint[], $30::text::numeric[], $31::text::bigint[])
                AS changed (id, balance, event_number), moment
            WHERE users.id = changed.id
        ),
        written_keys AS (
            INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body)
            SELECT kept.user_id, kept.key, kept.fingerprint, kept.status, kept.body
            FROM unnest($43::text::bigint[], $44::text[], $45::bytea[], $46::text::smallint[],
            $47::text[])
                AS kept (user_id, key, fingerprint, status, body), moment
        )
        SELECT at,
            -- A division by zero undoes everything: no close is paid that closed nothing.
            1 / ((SELECT count(*) FROM closed_orders) = cardinality($41::text::bigint[]))::int
        FROM moment
        """,
        number_array(p.transfer.source.user_id for p in postings),
        [p.transfer.cause for p in postings],
        [p.transfer.source.asset for p in postings],
        number_array(p.transfer.amount for p in postings),
        number_array(p.transfer.order_id for p in postings),
        booking.request_ids,
        number_array(p.source.id for p in postings),
        number_array(p.source.version for p in postings),
        number_array(p.source.balance for p in postings),
        number_array(p.target.id for p in postings),
        number_array(p.target.version for p in postings),
        number_array(p.target.balance for p in postings),
        number_array(account.id for account in accounts),
        number_array(account.balance for account in accounts),
        number_array(account.version for account in accounts),
        number_array(fill.order_id for fill in booking.fills),
        [fill.side for fill in booking.fills],
        number_array(fill.price for fill in booking.fills),
        [fill.source for fill in booking.fills],
        number_array(fill.venue_time_ms for fill in booking.fills),
        number_array(fill.price_age_ms for fill in booking.fills),
        [fill.request_id for fill in booking.fills],
        number_array(event.user_id for event in booking.events),
        number_array(event.number for event in booking.events),
        [event.type for event in booking.events],
        number_array(event.epoch for event in booking.events),
        [event.data_json for event in booking.events],
        [event.request_id for event in booking.events],
        number_array(booking.balances),
        number_array(booking.balances.values()),
        number_array(booking.event_numbers[user_id] for user_id in booking.balances),
        at,
        number_array(p.transfer.reverses_transfer_id for p in postings),
        number_array(order.id for order in booking.opened),
        number_array(order.user_id for order in booking.opened),
        number_array(order.epoch for order in booking.opened),
        [order.client_order_id for order in booking.opened],
        [order.symbol for order in booking.opened],
        number_array(order.quantity for order in booking.opened),
        number_array(order.buy_price for order in booking.opened),
        number_array(order.id for order in booking.closed),
        number_array(order.sell_price for order in booking.closed),
        number_array(kept.keyed.user_id for kept in booking.kept),
        [kept.keyed.key for kept in booking.kept],
        [kept.keyed.fingerprint for kept in booking.kept],
        number_array(kept.answer.status for kept in booking.kept),
        [kept.answer.body for kept in booking.kept],
        number_array(booking.read_numbers),
        number_array(booking.read_numbers.values()),
        number_array(account.id for account in new_accounts),
        number_array(account.key.user_id for account in new_accounts),
        number_array(account.key.epoch for account in new_accounts),
        [account.key.kind for account in new_accounts],
        [account.key.asset for account in new_accounts],
        number_array(account.balance for account in new_accounts),
        number_array(account.version for account in new_accounts),
    )
    return row
