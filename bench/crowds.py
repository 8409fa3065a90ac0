"""Installations that have been used for long: many users, many closed orders, whole books.

Written by PostgreSQL itself from generate_series, as the orders would have written it; the
audit finds nothing wrong with it. Foreign keys are not checked meanwhile.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import asyncpg
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.dao.users import get_credentials
from app.db.database import open_database
from app.db.migrate import migrate
from app.services.sessions import open_session

from bench.installation import POOL_SIZE, Installation, Person

USER: Final = "crowd{}@example.com"

_USERS: Final = """
    INSERT INTO users (id, email, password, name, balance, event_number)
    SELECT u, 'crowd' || u || '@example.com', '!', 'Crowd', 1000000, 1 + 2 * $2::int
    FROM generate_series(1, $1::int) AS u
"""
# Five accounts each: cash, funding and venue of USD, holding and venue of BTCUSDT.
_ACCOUNTS: Final = """
    INSERT INTO ledger_accounts (id, user_id, epoch, kind, asset, balance, version)
    SELECT 5 * u + n, u, 1, kind, asset, balance, base + trades * 2 * $2::int
    FROM generate_series(1, $1::int) AS u, (VALUES
        (0, 'cash', 'USD', 1000000, 1, 1), (1, 'funding', 'USD', -1000000, 1, 0),
        (2, 'venue', 'USD', 0, 0, 1), (3, 'holding', 'BTCUSDT', 0, 0, 1),
        (4, 'venue', 'BTCUSDT', 0, 0, 1)
    ) AS a (n, kind, asset, balance, base, trades)
"""
_DEPOSITS: Final = """
    INSERT INTO ledger_transfers
        (id, user_id, cause, asset, amount, source_account_id, target_account_id, event_at)
    SELECT u, u, 'deposit', 'USD', 1000000, 5 * u + 1, 5 * u, now() - interval '9 days'
    FROM generate_series(1, $1::int) AS u
"""
_DEPOSIT_ENTRIES: Final = """
    INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
        balance_before, balance_after, event_at)
    SELECT u, 5 * u + side, 1, u, amount, 0, amount, now() - interval '9 days'
    FROM generate_series(1, $1::int) AS u, (VALUES (0, 1000000), (1, -1000000)) AS s (side, amount)
"""
_DEPOSIT_EVENTS: Final = """
    INSERT INTO events (user_id, number, type, epoch, data, request_id, event_at)
    SELECT u, 1, 'deposited', 1, '{"amount": "1000000.00000000000000000000"}', 'crowd',
        now() - interval '9 days'
    FROM generate_series(1, $1::int) AS u
"""
# Everybody's first order, then everybody's second: rows of one user lie far apart.
_ORDERS: Final = """
    INSERT INTO transact (id, user_id, symbol, quantity, buy_price, sell_price, status, created_at,
        updated_at)
    SELECT (j - 1) * $1::int + u, u, 'BTCUSDT', 0.01, 100000.5, 100000.5, 2,
        now() - ($2::int - j) * interval '1 second', now() - ($2::int - j) * interval '1 second'
    FROM generate_series(1, $2::int) AS j, generate_series(1, $1::int) AS u
"""
_FILLS: Final = """
    INSERT INTO fills (order_id, side, price, source, venue_time_ms, price_age_ms, request_id,
        filled_at)
    SELECT o, side, 100000.5, 'bybit', 1748623140000, 84, 'crowd', now()
    FROM generate_series(1, $1::int * $2::int) AS o, (VALUES ('buy'), ('sell')) AS s (side)
"""
_TRANSFERS: Final = """
    INSERT INTO ledger_transfers
        (id, user_id, cause, asset, amount, source_account_id, target_account_id, order_id,
        request_id, event_at)
    SELECT $1::int + 4 * ((j - 1) * $1::int + u - 1) + leg, u, cause, asset, amount,
        5 * u + source, 5 * u + target, (j - 1) * $1::int + u, 'crowd', now()
    FROM generate_series(1, $2::int) AS j, generate_series(1, $1::int) AS u, (VALUES
        (1, 'order_opened', 'USD', 1000.005, 0, 2), (2, 'order_opened', 'BTCUSDT', 0.01, 4, 3),
        (3, 'order_closed', 'BTCUSDT', 0.01, 3, 4), (4, 'order_closed', 'USD', 1000.005, 2, 0)
    ) AS l (leg, cause, asset, amount, source, target)
"""
_ENTRIES: Final = """
    INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
        balance_before, balance_after, event_at)
    SELECT u, 5 * u + account, 2 * j + step, $1::int + 4 * ((j - 1) * $1::int + u - 1) + leg,
        amount, before, before + amount, now()
    FROM generate_series(1, $2::int) AS j, generate_series(1, $1::int) AS u, (VALUES
        (1, 0, 0, -1000.005, 1000000), (1, 2, -1, 1000.005, 0), (2, 4, -1, -0.01, 0),
        (2, 3, -1, 0.01, 0), (3, 3, 0, -0.01, 0.01), (3, 4, 0, 0.01, -0.01),
        (4, 2, 0, -1000.005, 1000.005), (4, 0, 1, 1000.005, 998999.995)
    ) AS l (leg, account, step, amount, before)
"""
_EVENTS: Final = """
    INSERT INTO events (user_id, number, type, epoch, data, request_id, event_at)
    SELECT u, 2 * j + later, type, 1, jsonb_build_object('order_id', (j - 1) * $1::int + u,
        'symbol', 'BTCUSDT', 'quantity', '0.01000000000000000000',
        'price', '100000.50000000000000000000'), 'crowd', now()
    FROM generate_series(1, $2::int) AS j, generate_series(1, $1::int) AS u,
        (VALUES (0, 'order_opened'), (1, 'order_closed')) AS t (later, type)
"""
_FOR_USERS: Final = (_DEPOSITS, _DEPOSIT_ENTRIES, _DEPOSIT_EVENTS)
_FOR_ORDERS: Final = (_ORDERS, _TRANSFERS, _ENTRIES, _EVENTS, _FILLS)
_SEQUENCES: Final = """
    SELECT setval(pg_get_serial_sequence(name, 'id'), last)
    FROM (
        SELECT 'users', max(id) FROM users UNION ALL SELECT 'transact', max(id) FROM transact
        UNION ALL SELECT 'ledger_accounts', max(id) FROM ledger_accounts
        UNION ALL SELECT 'ledger_transfers', max(id) FROM ledger_transfers
    ) AS used (name, last)
"""


async def fill(address: DatabaseAddress, *, users: int, orders_each: int) -> None:
    """Write so many users with so many closed orders each into an empty database."""
    conn = await asyncpg.connect(**address.connect_arguments())
    try:
        await conn.execute("SET session_replication_role = replica")
        await conn.execute("SET work_mem = '256MB'")
        await conn.execute(_USERS, users, orders_each)
        await conn.execute(_ACCOUNTS, users, orders_each)
        for statement in _FOR_USERS:
            await conn.execute(statement, users)
        if orders_each:
            for statement in _FOR_ORDERS:
                await conn.execute(statement, users, orders_each)
        await conn.execute(_SEQUENCES)
        await conn.execute("VACUUM (ANALYZE)")
        await conn.execute("CHECKPOINT")
    finally:
        await conn.close()


@asynccontextmanager
async def crowd(
    installation: Installation, *, users: int, orders_each: int
) -> AsyncIterator[Installation]:
    """The installation with another database, filled so, which is dropped in the end."""
    name = f"crowd_{secrets.token_hex(4)}"
    address = installation.address.with_database(name)
    admin = await asyncpg.connect(**installation.address.connect_arguments())
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        try:
            await migrate(address, PROJECT / "db" / "migration")
            await fill(address, users=users, orders_each=orders_each)
            async with open_database(address, pool_size=POOL_SIZE) as db:
                yield replace(installation, address=address, db=db)
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


async def log_in(installation: Installation, number: int) -> Person:
    """Somebody of the crowd, counted from one, with a token."""
    async with installation.db.transaction() as conn:
        login = await get_credentials(conn, email=USER.format(number))
        assert login is not None, "the crowd is smaller"
        issued = await open_session(conn, login, key=installation.key)
    return Person(user=login.user, token=issued.access_token)
