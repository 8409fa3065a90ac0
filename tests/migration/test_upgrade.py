"""A database that an earlier goblin made at V1 comes up to date with its rows intact."""
# ruff: noqa: S608  the texts below are put together from this file's own words

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from app.db.address import DatabaseAddress
from app.db.migrate import MigrationError, migrate, validate
from app.domain.money import format_amount
from app.replay import ReplayExchange
from tests.conftest import run_installation, settings_for
from tests.migration.conftest import MakeDatabase
from tests.migration.scratch import MIGRATIONS, execute, fetch, first_migration, history

PASSWORD = "a password of 2024"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
TABLES = ("users", "transact", "watchlists", "log", "strategies", "trade_strategies")
AT = "'2024-02-29 12:34:56.789012+00'"
LONG = "0.123456789012345678901234567890"

USERS = f"""
    INSERT INTO users (email, password, name, balance, created_at, updated_at) VALUES
        ('gone@example.com', '!', 'Gone', 0, {AT}, {AT}),
        ('Ada@Example.com', '{HASH}', 'Ada', 1234567.00000000000000000001, {AT}, NULL),
        ('bob@example.com', '{HASH}', 'Bob', 9999999999.99999999999999999999, NULL, NULL),
        ('carol@example.com', '{HASH}', 'Carol', 0, {AT}, {AT});
    DELETE FROM users WHERE email = 'gone@example.com';
"""
ORDERS = f"""
    INSERT INTO transact (symbol, buy_price, sell_price, status, quantity, user_id, created_at)
    VALUES
        ('btcusdt ', 60000.12345678901234567891, NULL, 1, 0.00000000000000000001, 2, {AT}),
        ('ETHUSDT', 3000, NULL, 1, 1.5, 2, {AT}),
        ('BTCUSDT', 100, 250.5, 2, 2, 2, {AT}),
        ('btcusdt', 9999999999.99999999999999999999, 0.00000000000000000001, 2, 1, 2, {AT}),
        ('BTCUSDT', 7, NULL, 1, 3, 3, NULL);
"""
SHARED = f"""
    INSERT INTO watchlists (symbol, created_at) VALUES
        ('BTCUSDT', {AT}), (' btcusdt', NULL), ('ethusdt', {AT}), ('SOLUSDT', NULL);
    INSERT INTO strategies (name, slug, deleted_at, created_at) VALUES
        ('R.S.I.', 'rsi', NULL, {AT}),
        ('Old one', 'old-one', {AT}, {AT}),
        ('R.S.I.', 'rsi', NULL, {AT});
    INSERT INTO trade_strategies (symbol, strategy_id, timestamp, deleted_at, created_at) VALUES
        ('btcusdt', 1, '5m', NULL, {AT}), ('ETHUSDT', 2, 'every 7 minutes', {AT}, NULL);
"""
# What V1 held as text, and the JSON that a reader gets for it.
LOGS: list[tuple[str, str]] = [
    ('{"rsi": 71.40, "note": null}', '{"rsi": 71.40, "note": null}'),
    (f'{{"x": {LONG}}}', f'{{"x": {LONG}}}'),
    ("[1, 2]", '{"value": [1, 2]}'),
    ("12345678901234567890123", '{"value": 12345678901234567890123}'),
    ("null", '{"value": null}'),
    ("just a note: it's é", '{"text": "just a note: it\'s é"}'),
    ("", '{"text": ""}'),
    ("NaN", '{"text": "NaN"}'),
    ('{"price": NaN}', '{"text": "{\\"price\\": NaN}"}'),
    ('{"n": 1e200000}', '{"text": "{\\"n\\": 1e200000}"}'),
    ('{"nul": "\\u0000"}', '{"text": "{\\"nul\\": \\"\\\\u0000\\"}"}'),
    ("[" * 20_000, json.dumps({"text": "[" * 20_000})),
]


def exact(text: str) -> Any:
    """JSON with every digit: 71.40 is not 71.4."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


async def fill(address: DatabaseAddress, *texts: str) -> None:
    for text in texts:
        await execute(address, text)


async def fill_all(address: DatabaseAddress) -> None:
    await fill(address, USERS, ORDERS, SHARED)
    for text, _ in LOGS:
        await fetch(
            address, "INSERT INTO log (symbol, data, action) VALUES ('Solusdt', $1, 'hold')", text
        )


async def everything(address: DatabaseAddress) -> dict[str, list[dict[str, Any]]]:
    queries = {
        "users": "SELECT * FROM users ORDER BY id",
        "transact": "SELECT * FROM transact ORDER BY id",
        "watchlists": "SELECT * FROM watchlists ORDER BY id",
        "log": "SELECT * FROM log ORDER BY id",
        "strategies": "SELECT * FROM strategies ORDER BY id",
        "trade_strategies": "SELECT * FROM trade_strategies ORDER BY id",
    }
    return {table: await fetch(address, query) for table, query in queries.items()}


def upgraded(row: dict[str, Any], *, table: str, now: dict[str, Any]) -> dict[str, Any]:
    """What a row of V1 must look like now: the same, spelled as goblin spells it."""
    expected = dict(row)
    if "symbol" in row:
        expected["symbol"] = row["symbol"].strip().upper()
    for column in ("created_at", "updated_at"):
        if column in row and row[column] is None:
            assert now[column] is not None
            expected[column] = now["created_at"] if column == "updated_at" else now[column]
    if table == "log":
        expected["data"] = now["data"]  # compared on its own
    return expected


Prepare = Callable[[DatabaseAddress, Path], Awaitable[None]]


async def with_history(address: DatabaseAddress, tmp_path: Path) -> None:
    await migrate(address, first_migration(tmp_path / "first"))


async def without_history(address: DatabaseAddress, _: Path) -> None:
    await execute(address, (MIGRATIONS / "V1__initial_schema.sql").read_text())


@pytest.mark.parametrize("prepare", [with_history, without_history])
async def test_every_row_of_an_earlier_goblin_is_there_after_the_upgrade(
    database: DatabaseAddress, tmp_path: Path, prepare: Prepare
) -> None:
    await prepare(database, tmp_path)
    await fill_all(database)
    before = await everything(database)
    applied = await migrate(database, MIGRATIONS)
    is_baselined = prepare is without_history
    assert applied[0] == ("1 initial schema" if is_baselined else "2 owners and invariants")
    first_row = (await history(database))[0]
    assert first_row[3] == ("BASELINE" if is_baselined else "SQL")
    await validate(database, MIGRATIONS)

    after = await everything(database)
    removed = before["watchlists"].pop(1)
    assert removed["symbol"] == " btcusdt", "the later of two entries for one symbol"
    for table in TABLES:
        assert [row["id"] for row in after[table]] == [row["id"] for row in before[table]]
        for old, new in zip(before[table], after[table], strict=True):
            kept = {column: new[column] for column in old}
            assert kept == upgraded(old, table=table, now=new)
            if "user_id" in new and "user_id" not in old:
                assert new["user_id"] == 2, "the oldest account"
    shown = [exact(row["data"]) for row in after["log"]]
    assert shown == [exact(expected) for _, expected in LOGS]

    # New rows continue behind the old ones.
    rows = await fetch(
        database,
        "INSERT INTO users (email, password, name) VALUES ('new@x.y', '!', 'New') RETURNING id",
    )
    assert [row["id"] for row in rows] == [5]


async def test_the_ledger_opens_with_what_everybody_holds(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    await with_history(database, tmp_path)
    await fill_all(database)
    await migrate(database, MIGRATIONS)
    sums = await fetch(
        database,
        """
        SELECT a.user_id, a.asset, sum(e.amount) AS total
        FROM ledger_entries AS e JOIN ledger_accounts AS a ON a.id = e.account_id
        GROUP BY a.user_id, a.asset ORDER BY 1, 2
        """,
    )
    assert [(row["user_id"], row["asset"], row["total"]) for row in sums] == [
        (2, "BTCUSDT", 0),
        (2, "ETHUSDT", 0),
        (2, "USD", 0),
        (3, "BTCUSDT", 0),
        (3, "USD", 0),
    ]
    owned = await fetch(
        database,
        """
        SELECT user_id, asset, balance FROM ledger_accounts
        WHERE kind IN ('cash', 'holding') ORDER BY 1, 2
        """,
    )
    assert [(row["user_id"], row["asset"], row["balance"]) for row in owned] == [
        (2, "BTCUSDT", Decimal("0.00000000000000000001")),
        (2, "ETHUSDT", Decimal("1.5")),
        (2, "USD", Decimal("1234567.00000000000000000001")),
        (3, "BTCUSDT", Decimal(3)),
        (3, "USD", Decimal("9999999999.99999999999999999999")),
        (4, "USD", 0),
    ]
    assert [(row["user_id"], row["balance"]) for row in owned if row["asset"] == "USD"] == [
        (row["id"], row["balance"])
        for row in await fetch(database, "SELECT id, balance FROM users ORDER BY id")
    ]
    entries = await fetch(
        database,
        """
        SELECT a.balance, a.version, e.balance_before, e.balance_after, t.cause
        FROM ledger_entries AS e
        JOIN ledger_accounts AS a ON a.id = e.account_id
        JOIN ledger_transfers AS t ON t.id = e.transfer_id
        """,
    )
    assert len(entries) == 10
    for row in entries:
        assert (row["version"], row["balance_before"], row["cause"]) == (1, 0, "opening")
        assert row["balance"] == row["balance_after"]


async def login(client: httpx.AsyncClient, email: str) -> None:
    answer = await client.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['data']['access_token']}"


async def test_the_api_serves_the_old_rows_to_the_oldest_user_and_closes_their_orders(
    database: DatabaseAddress, tmp_path: Path, exchange: ReplayExchange
) -> None:
    await with_history(database, tmp_path)
    await fill_all(database)
    settings = settings_for(database, exchange.base_url)
    async with run_installation(settings) as running, running.client() as ada:
        await login(ada, "ada@example.COM")
        me = (await ada.get("/users/me")).json()["data"]
        assert (me["id"], me["email"]) == (2, "Ada@Example.com")
        assert me["balance"] == "1234567.00000000000000000001"

        orders = (await ada.get("/order")).json()
        assert [
            (row["id"], row["symbol"], row["status"], row["quantity"])
            for row in orders["data"]["orders"]
        ] == [
            (2, "ETHUSDT", 1, "1.50000000000000000000"),
            (1, "BTCUSDT", 1, "0.00000000000000000001"),
            (4, "BTCUSDT", 2, "1.00000000000000000000"),
            (3, "BTCUSDT", 2, "2.00000000000000000000"),
        ]
        assert orders["data"]["orders"][3]["diffDollar"] == format_amount(Decimal(301))
        assert orders["meta"]["total_count"] == 4

        watched = (await ada.get("/watchlist")).json()["data"]
        assert watched["unique_symbols"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
        logs = exact((await ada.get("/log")).text)["data"]
        assert int(logs["total_count"]) == len(LOGS)
        assert sorted(
            (int(row["id"]), json.dumps(row["data"], sort_keys=True)) for row in logs["logs"]
        ) == [
            (number, json.dumps(exact(expected), sort_keys=True))
            for number, (_, expected) in enumerate(LOGS, start=1)
        ]
        strategies = (await ada.get("/strategy")).json()["data"]["strategies"]
        assert [row["id"] for row in strategies] == [3, 2, 1]
        assert [row["id"] for row in strategies if "deleted_at" in row] == [2]
        assigned = (await ada.get("/trade-strategy")).json()["data"]["trade_strategies"]
        assert {(row["id"], row["symbol"], row["timestamp"]) for row in assigned} == {
            (1, "BTCUSDT", "5m"),
            (2, "ETHUSDT", "every 7 minutes"),
        }

        closed = await ada.delete("/order/ethusdt")
        assert closed.status_code == 200, closed.text
        proceeds = Decimal(closed.json()["data"]["sellAggregate"])
        paid = (await ada.get("/users/me")).json()["data"]["balance"]
        assert Decimal(paid) == Decimal("1234567.00000000000000000001") + proceeds

        async with running.client() as bob:
            await login(bob, "bob@example.com")
            assert [row["id"] for row in (await bob.get("/order")).json()["data"]["orders"]] == [5]
            assert (await bob.get("/watchlist")).json()["data"]["watchlists"] == []
            assert (await bob.get("/log")).json()["data"]["total_count"] == 0
            assert (await bob.get("/strategy")).json()["data"]["strategies"] == []


async def test_rows_without_any_account_are_kept_for_one_that_nobody_can_log_in_to(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    await with_history(database, tmp_path)
    await fill(database, SHARED)
    await migrate(database, MIGRATIONS)
    after = await everything(database)
    assert [(row["email"], row["password"], row["balance"]) for row in after["users"]] == [
        ("nobody@goblin.invalid", "!", 0)
    ]
    assert [len(after[table]) for table in TABLES] == [1, 0, 3, 0, 3, 2]
    for table in ("watchlists", "strategies", "trade_strategies"):
        assert {row["user_id"] for row in after[table]} == {after["users"][0]["id"]}


async def test_an_empty_database_of_v1_gets_no_account_that_nobody_asked_for(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    await with_history(database, tmp_path)
    await migrate(database, MIGRATIONS)
    assert not any((await everything(database)).values())


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (
            "INSERT INTO users (email, password, name) VALUES ('ADA@example.com', '!', 'Twin')",
            ["differ only in case: ", "Ada@Example.com (user 2)", "ADA@example.com (user 5)",
             "Change users.email"],
        ),
        (
            "UPDATE users SET balance = 'NaN' WHERE id = 3",
            ["balances that no account can have: user 3 has NaN", "Set users.balance"],
        ),
        (
            "UPDATE users SET balance = -1 WHERE id IN (2, 4)",
            ["user 2 has -1.00000000000000000000, user 4 has -1.0000"],
        ),
        (
            ("INSERT INTO transact (symbol, buy_price, quantity, user_id)"
            " VALUES (' ethusdt', 1, 1, 2)"),
            ["several active orders for one user and symbol: user 2 ETHUSDT", "Close all but one"],
        ),
        (
            ("UPDATE transact SET status = 2 WHERE id = 5;"
            " UPDATE transact SET quantity = 'NaN' WHERE id = 3"),
            ["transact.id 3, 5", "Correct or delete the rows"],
        ),
    ],
    ids=["twins", "NaN balance", "debts", "two active orders", "impossible orders"],
)  # fmt: skip
async def test_rows_that_cannot_be_kept_stop_the_upgrade_by_name_and_stay_untouched(
    database: DatabaseAddress, tmp_path: Path, trouble: str, words: list[str]
) -> None:
    await with_history(database, tmp_path)
    await fill_all(database)
    await execute(database, trouble)
    before = str(await everything(database))
    with pytest.raises(MigrationError) as caught:
        await migrate(database, MIGRATIONS)
    for word in ("V2__owners_and_invariants.sql", "Nothing of this file was applied", *words):
        assert word in str(caught.value)
    assert str(await everything(database)) == before
    assert [row[1] for row in await history(database)] == ["1"]


async def test_the_upgraded_schema_is_that_of_a_new_database(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    old, new = await make_database(), await make_database()
    await without_history(old, tmp_path)
    for address in (old, new):
        await migrate(address, MIGRATIONS)
    for query in (
        """
        SELECT table_name, column_name, data_type, numeric_precision, numeric_scale, is_nullable,
               column_default
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
        """,
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        """
        SELECT conrelid::regclass::text AS relation, conname, pg_get_constraintdef(oid) AS rule
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
        """,
    ):
        assert await fetch(old, query) == await fetch(new, query)
