"""The SQL of the DAO, as PostgreSQL sees it."""

import ast
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from app.core.config import PROJECT
from app.db.connection import Connection
from app.db.database import open_database
from app.services.audit import CHECKS
from tests.conftest import CloneDatabase

DAO = sorted((PROJECT / "app" / "db" / "dao").glob("[!_]*.py"))
METHODS = {"execute", "fetch", "fetchrow", "fetchval", "cursor", "copy"}


def statements(module: Path) -> list[tuple[str, str]]:
    """Every (function, statement) of a module; a statement is a literal, or the test fails."""
    found = []
    for function in ast.walk(ast.parse(module.read_text())):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        calls = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in METHODS
        ]
        assert len(calls) <= 1, f"{module.name} {function.name}: one function, one statement"
        for call in calls:
            query = call.args[0]
            assert isinstance(query, ast.Constant), f"{function.name}: a query is a literal"
            found.append((function.name, str(query.value)))
    return found


ALL = [(module, *pair) for module in DAO for pair in statements(module)]


def test_the_statements_were_found() -> None:
    assert len(ALL) > 25


@pytest.mark.parametrize(("module", "function", "query"), ALL, ids=lambda v: getattr(v, "stem", ""))
async def test_postgresql_prepares_every_statement_of_the_dao(
    conn: Connection, module: Path, function: str, query: str
) -> None:
    assert isinstance(conn, asyncpg.Connection)
    await conn.prepare(query)
    assert not re.search(r"SELECT\s+\*", query), f"{module.name} {function}: name the columns"


@pytest.mark.parametrize("module", DAO, ids=lambda path: path.stem)
def test_a_dao_function_is_handed_its_connection_and_everything_else_by_keyword(
    module: Path,
) -> None:
    for function in ast.parse(module.read_text()).body:
        if isinstance(function, ast.AsyncFunctionDef):
            assert [argument.arg for argument in function.args.args] == ["conn"], function.name


USERS = int(os.environ.get("CROWD_USERS", "10000"))
"""Five rows of most tables for each. With CROWD_USERS=200000 they have a million, and the test
takes some minutes: CROWD_USERS=200000 pytest tests/architecture/test_sql.py -k among_many
--timeout 1800."""

NOW = datetime.now(UTC)
KEY_HASH = bytes(32)
WINDOW = timedelta(minutes=15)
ATTEMPT = [["login"] * 2, ["10.0.0.77"] * 2, [None, "a@example.com"]]
DAY, NEXT_DAY = datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 2, 2, tzinfo=UTC)
HOT: dict[tuple[str, str], tuple[list[object], str]] = {
    **{
        ("grounds", f"get_ground {index}"): (
            [
                "{77}",
                ["cash"],
                ["USD"],
                1,
                "{77}",
                ["S3"],
                "{77}",
                ["a"],
                "{77}",
                ["k1"],
                "{77}",
                "{77}",
                "{770}",
                "{77}",
                [KEY_HASH],
            ],
            index,
        )
        for index in (
            "users_pkey",
            "ledger_accounts_key",
            "transact_one_active_per_symbol",
            "transact_client_order_key",
            "idempotency_keys_pkey",
            "sessions_pkey",
            "api_keys_hash_key",
        )
    },
    ("callers", "get_users_with_sessions"): (["{77}", "{770}"], "sessions_pkey"),
    ("callers", "get_users_with_keys"): ([[KEY_HASH]], "api_keys_hash_key"),
    ("sessions", "use_refresh_token"): ([KEY_HASH], "refresh_tokens_pkey"),
    ("sessions", "revoke_all_sessions"): ([77], "sessions_user"),
    ("sessions", "get_ended_sessions"): ([[77, 78]], "sessions_pkey"),
    ("sessions", "delete_old_sessions"): ([1000], "sessions_expires"),
    ("api_keys", "count_api_keys"): ([77], "api_keys_user_list"),
    ("api_keys", "get_dead_api_keys"): ([[77, 78]], "api_keys_pkey"),
    ("api_keys", "update_last_used"): ([[77], [NOW]], "api_keys_pkey"),
    ("administration", "list_users"): ([500, 100], "users_pkey"),
    ("administration", "lock_user_and_administrators"): ([77], "users_administrators"),
    ("users", "get_credentials"): (["person77@example.com"], "users_email_lower_key"),
    ("users", "lock_users"): ([[77]], "users_pkey"),
    ("users", "lock_free_users"): ([[77]], "users_pkey"),
    ("orders", "has_active_order"): ([77, "S3"], "transact_one_active_per_symbol"),
    ("orders", "get_orders"): ([77, 1, None, None, 50, 0], "transact_user_list"),
    ("orders", "count_orders"): ([77, 1, None, "S3"], "transact_user_symbol_list"),
    ("orders", "get_unique_order_symbols"): ([77, 1], "transact_user_symbol_list"),
    ("orders", "get_order_by_client_id"): ([77, "a"], "transact_client_order_key"),
    ("ledger", "get_accounts"): (
        [[77], [1], ["cash"], ["USD"]],
        "ledger_accounts_key",
    ),
    ("ledger", "get_entries"): ([77, 1, None, None, None, None, 50], "ledger_entries_user_list"),
    ("ledger", "get_cash_at"): ([77, NOW], "ledger_entries_version_key"),
    ("statistics", "get_cash_span"): ([77, 1, NOW, NOW], "ledger_entries_version_key"),
    ("statistics", "get_movements"): ([154, 0, 1000], "ledger_entries_version_key"),
    ("statistics", "get_open_orders_before"): ([77, 1, NOW], "ledger_accounts_key"),
    ("ledger_alarms", "get_standing_alarm"): ([], "ledger_alarms_one_standing"),
    ("audit", "get_recomputed"): ([77], "ledger_entries_user_list"),
    ("audit", "get_next_range"): ([76, 500, 5_000], "users_pkey"),
    ("audit", "get_wrong_accounts"): ([77, 77], "ledger_entries_user_list"),
    ("audit", "get_broken_chains"): ([77, 77], "ledger_entries_user_list"),
    ("audit", "get_lopsided_transfers"): ([77, 77], "ledger_transfers_user"),
    ("audit", "get_foreign_entries"): ([77, 77], "ledger_entries_user_list"),
    ("audit", "get_wrong_balances"): ([77, 77], "users_pkey"),
    ("audit_orders", "get_wrong_holdings"): ([77, 77], "transact_one_active_per_symbol"),
    ("audit_orders", "get_wrong_legs"): ([77, 77], "ledger_transfers_user"),
    ("audit_orders", "get_event_gaps"): ([77, 77], "events_pkey"),
    ("idempotency_keys", "get_key"): ([77, "a"], "idempotency_keys_pkey"),
    ("events", "get_events"): ([77, 5, 100], "events_pkey"),
    ("events", "get_last_event_numbers"): ([[77, 78]], "users_pkey"),
    ("exports", "copy_orders"): ([77, 1, None, NOW, None, None], "transact_user_"),
    ("exports", "copy_fills"): ([77, 1, "S3", None, None], "fills_pkey"),
    ("exports", "copy_ledger"): ([77, 1, None, None, NOW, None, None], "ledger_entries_user_list"),
    ("exports", "copy_accounts"): ([77, 1, None, None, NOW], "ledger_accounts_key"),
    ("exports", "copy_log"): ([77, None, NOW, None], "log_user_"),
    ("exports", "copy_events"): ([77, None, None], "events_pkey"),
    ("exports", "copy_watchlist"): ([77, None], "watchlists_user_"),
    ("exports", "copy_strategies"): ([77, True], "strategies_user_"),
    ("exports", "copy_trade_strategies"): ([77, None, True], "trade_strategies_"),
    ("exports", "copy_candles"): ([7, DAY, NEXT_DAY], "candles_2025_02_pkey"),
    ("logs", "get_logs"): ([77, None, 50, 0], "log_user_list"),
    ("logs", "get_unique_log_symbols"): ([77], "log_user_symbol"),
    ("watchlists", "get_watchlist"): ([77, "S3"], "watchlists_user_symbol_key"),
    ("strategies", "get_all_strategies"): ([77, True], "strategies_user_"),
    ("trade_strategies", "get_trade_strategies"): ([77, True], "trade_strategies_"),
    ("attempts", "get_tries"): ([*ATTEMPT, WINDOW], "attempts_pkey"),
    ("attempts", "insert_attempt"): ([*ATTEMPT, WINDOW], "attempts_pkey"),
    ("attempts", "remove_attempt"): (["login", "10.0.0.77", "a@example.com", NOW], "attempts_pkey"),
    ("attempts", "delete_attempts"): (["login", "10.0.0.77", "a@example.com"], "attempts_pkey"),
    ("instruments", "get_instrument"): (["bybit", "spot", "S3"], "instruments_pkey"),
    ("instruments", "get_instruments"): (
        ["bybit", "spot", None, "S3", 100],
        "instruments_pkey",
    ),
    ("candles", "get_series"): (["bybit", "spot", "S3", "1m"], "candle_series_key"),
    ("candles", "get_closing_series"): (["bybit", "spot", ["S3", "S4"]], "candle_series_key"),
    ("candles", "get_closes"): ([[7, 8], [DAY, NEXT_DAY]], "candles_2025_02_pkey"),
    ("candles", "get_candles"): ([7, DAY, NEXT_DAY, 1000], "candles_2025_02_pkey"),
    ("candles", "get_stretches"): (
        [7, DAY, NEXT_DAY, timedelta(minutes=1)],
        "candles_2025_02_pkey",
    ),
    ("candles", "get_gaps"): ([7, DAY, NEXT_DAY], "candle_gaps_pkey"),
}


async def test_every_hot_statement_uses_its_index_among_many_rows(crowded: Connection) -> None:
    known = {(module.stem, function): query for module, function, query in ALL}
    for (module, function), (arguments, index) in HOT.items():
        query = "EXPLAIN " + known[module, function.split()[0]]
        rows = await crowded.fetch(query, *arguments)
        plan = "\n".join(row[0] for row in rows)
        assert index in plan, f"{module}.{function}\n{plan}"
        assert "Seq Scan" not in plan, f"{module}.{function}\n{plan}"


async def test_no_check_of_the_books_compares_all_rows_of_a_user_with_each_other(
    crowded: Connection,
) -> None:
    await crowded.execute("SET enable_hashjoin = off; SET enable_nestloop = off")
    by_user_alone = r"Merge Cond: \(\w+\.user_id = \w+\.user_id\)\n *Join Filter:"
    checks = [check.__name__ for check in CHECKS]
    for _, function, query in ALL:
        if function in checks:
            rows = await crowded.fetch(f"EXPLAIN {query}", 1, 500)
            plan = "\n".join(row[0] for row in rows)
            assert not re.search(by_user_alone, plan), f"{function}\n{plan}"
            checks.remove(function)
    assert not checks


async def test_no_plan_that_a_connection_keeps_reads_whole_tables_because_they_are_empty(
    clone: CloneDatabase,
) -> None:
    hot = {(module, function.split()[0]) for module, function in HOT} | {("bookings", "_write")}
    async with open_database(await clone(), pool_size=1) as db, db.connection() as conn:
        await conn.execute("ANALYZE")
        for module, function, query in ALL:
            if (module.stem, function) in hot:
                count = max(map(int, re.findall(r"\$(\d+)", query)), default=0)
                rows = await conn.fetch(f"EXPLAIN (GENERIC_PLAN) {query}", *[None] * count)
                plan = "\n".join(row[0] for row in rows)
                assert "Seq Scan" not in plan, f"{module}.{function}\n{plan}"


@pytest.fixture
async def crowded(clone: CloneDatabase) -> AsyncIterator[Connection]:
    """Many users, one of them busy, analysed; in a database of its own."""
    conn = await asyncpg.connect(**(await clone()).connect_arguments())
    await conn.execute("SET session_replication_role = replica")  # no foreign key is looked up
    await conn.execute(
        """
        INSERT INTO users (id, email, password, name)
        SELECT n, 'person' || n || '@example.com', '!', 'n' FROM generate_series(1, $1::int) AS n
        """,
        USERS,
    )
    await conn.execute("""
        CREATE TEMP TABLE row_of AS
        SELECT id AS user_id, g FROM users, generate_series(1, 5) AS g
        UNION ALL SELECT 77, g FROM generate_series(6, 1000) AS g
    """)
    await conn.execute("""
        INSERT INTO transact
            (user_id, symbol, quantity, buy_price, sell_price, status, created_at)
        SELECT user_id, 'S' || (user_id + g) % 400, 1, 1, CASE WHEN g > 5 THEN 2 END,
            1 + (g > 5)::int,
            now() - g * interval '1 hour'
        FROM row_of
    """)
    await conn.execute("""
        INSERT INTO log (user_id, symbol, data, action, created_at)
        SELECT user_id, 'S' || (user_id + g) % 400, '{}', 'a',
            now() - g * interval '1 hour'
        FROM row_of
    """)
    await conn.execute("""
        INSERT INTO watchlists (user_id, symbol)
        SELECT user_id, 'S' || g FROM row_of
    """)
    await conn.execute("""
        INSERT INTO strategies (user_id, name, slug)
        SELECT user_id, 'n', 's' FROM row_of
    """)
    await conn.execute("""
        INSERT INTO trade_strategies (user_id, strategy_id, symbol)
        SELECT user_id, id, 'A' FROM strategies
    """)
    await conn.execute("""
        INSERT INTO ledger_accounts (user_id, epoch, kind, asset)
        SELECT id, 1, kind, 'USD' FROM users, (VALUES ('cash'), ('funding')) AS k (kind)
    """)
    await conn.execute("""
        INSERT INTO ledger_transfers
            (user_id, cause, asset, amount, source_account_id, target_account_id, event_at)
        SELECT row_of.user_id, 'deposit', 'USD', 1, f.id, c.id, now()
        FROM row_of
        JOIN ledger_accounts f ON f.user_id = row_of.user_id AND f.kind = 'funding'
        JOIN ledger_accounts c ON c.user_id = row_of.user_id AND c.kind = 'cash'
    """)
    await conn.execute("""
        INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
            balance_before, balance_after, event_at)
        SELECT user_id, target_account_id, row_number() OVER (PARTITION BY user_id), id, 1,
            0, 1, event_at
        FROM ledger_transfers
    """)
    await conn.execute("""
        INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body)
        SELECT user_id, 'k' || g, '', 200, '' FROM row_of
    """)
    await conn.execute("""
        INSERT INTO sessions (user_id, expires_at)
        SELECT user_id, now() + g * interval '1 hour' FROM row_of
    """)
    await conn.execute("""
        INSERT INTO refresh_tokens (session_id, token_hash, expires_at)
        SELECT id, sha256(id::text::bytea), expires_at FROM sessions
    """)
    await conn.execute("""
        INSERT INTO api_keys (user_id, name, key_hash, prefix, scopes)
        SELECT user_id, 'n', sha256((user_id || '-' || g)::bytea), 'gob_', '{read}' FROM row_of
    """)
    await conn.execute("""
        INSERT INTO ledger_alarms (discrepancy, cleared_at)
        SELECT 'long ago', now() FROM row_of
    """)
    await conn.execute("""
        INSERT INTO events (user_id, number, type, epoch, data, event_at)
        SELECT user_id, row_number() OVER (PARTITION BY user_id), 'deposited', 1, '{}', now()
        FROM row_of
    """)
    await conn.execute("""
        INSERT INTO fills (order_id, side, price, source, venue_time_ms, price_age_ms, request_id,
            filled_at)
        SELECT id, 'buy', 1, 'Bybit', 1, 1, 'r', now() FROM transact
    """)
    await conn.execute("""
        INSERT INTO attempts (purpose, origin, account, tried_at)
        SELECT 'login', '10.0.0.' || user_id % 100, sha256(int8send(row_number() OVER ())),
            ARRAY[now()]
        FROM row_of
    """)
    await conn.execute("""
        INSERT INTO instruments
        SELECT venue, category, 'S' || g, 'S', 'USDT', 'Trading', 1, 1, 1, 1, 1, now()
        FROM unnest('{bybit,aster}'::text[]) AS venue,
            unnest('{spot,linear}'::text[]) AS category, generate_series(1, 1000) AS g
    """)
    await conn.execute("""
        INSERT INTO candle_series (id, venue, category, symbol, interval)
        SELECT g, 'bybit', 'spot', 'S' || g, '1m' FROM generate_series(1, 2000) AS g
    """)
    await conn.execute("SELECT ensure_candle_partitions('2025-01-01', '2025-03-01')")
    await conn.execute("""
        INSERT INTO candles
        SELECT minute, series, 1, 2, 1, 2, 1, 1 FROM generate_series(1, 10) AS series,
            generate_series('2025-01-28'::timestamptz, '2025-02-07', '1 minute') AS minute
    """)
    await conn.execute("""
        INSERT INTO candle_gaps SELECT series, '2020-01-01'::timestamptz + g * interval '1 day',
            '2020-01-01'::timestamptz + g * interval '1 day 1 hour'
        FROM generate_series(1, 10) AS series, generate_series(1, 1000) AS g
    """)
    for table in ("instruments", "candle_series", "candles", "candle_gaps"):
        await conn.execute("ANALYZE " + table)
    for table in (
        "ledger_accounts", "ledger_transfers", "ledger_entries", "ledger_alarms", "events", "fills",
        "idempotency_keys", "sessions", "refresh_tokens", "api_keys",
        "idempotency_keys", "attempts",
    ):  # fmt: skip
        await conn.execute("ANALYZE " + table)
    for table in ("users", "transact", "log", "watchlists", "strategies", "trade_strategies"):
        await conn.execute("ANALYZE " + table)
    yield conn
    await conn.close()
