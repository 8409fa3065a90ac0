"""A database that an earlier goblin made at V1 is upgraded with its rows, or stops naming them."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.migrate import MigrationError, migrate, validate
from bench.victims import kept_port
from tests.unproven import unproven

MIGRATIONS = PROJECT / "db" / "migration"
PASSWORD = "only for these tests"
_numbers = itertools.count(1)

OLD_USERS = """
    INSERT INTO users (email, password, name, balance, created_at, updated_at) VALUES
        ('Ada@example.com', 'h', 'Ada', 1.5, '2020-01-02 03:04:05+00', NULL),
        ('bob@example.com', 'h', 'Bob', 9999999999.99999999999999999999, NULL, NULL);
    INSERT INTO transact (symbol, buy_price, sell_price, status, quantity, user_id) VALUES
        (' btcusdt ', 1.00000000000000000001, NULL, 1, 2, 1),
        ('ETHUSDT', 1, 2, 2, 3, 1),
        ('ethusdt', 1, 2, 2, 3, 1),
        (E'SOLUSDT\t', 1, NULL, 1, 1, 2);
"""
OLD_SHARED = """
    INSERT INTO watchlists (symbol) VALUES ('btcusdt'), ('BTCUSDT'), (' BtcUsdt'), ('ETHUSDT');
    INSERT INTO strategies (name, slug, deleted_at) VALUES ('S', 's', NULL), ('T', 't', now());
    INSERT INTO trade_strategies (symbol, strategy_id, timestamp)
    VALUES ('btcusdt', 1, '1h'), ('X', 2, '5m');
"""
LOG_TEXTS: dict[str, str] = {
    # What the column held -> what it holds now.
    '{"a": 1.10, "n": null}': '{"a": 1.10, "n": null}',
    '[1, {"k": "v"}]': '{"value": [1, {"k": "v"}]}',
    '"text"': '{"value": "text"}',
    "null": '{"value": null}',
    "not json": '{"text": "not json"}',
    "": '{"text": ""}',
    "NaN": '{"text": "NaN"}',
    '{"a": NaN}': r'{"text": "{\"a\": NaN}"}',
    r'{"a": "\u0000"}': r'{"text": "{\"a\": \"\\u0000\"}"}',
    r'{"a": "\ud800"}': r'{"text": "{\"a\": \"\\ud800\"}"}',
    "1e400000": '{"text": "1e400000"}',
    "[" * 20000: '{"text": "' + "[" * 20000 + '"}',
}

MakeOld = Callable[[str], Awaitable[DatabaseAddress]]


@pytest.fixture(scope="session")
def older_postgres() -> Iterator[DatabaseAddress]:
    """The oldest PostgreSQL that the operating system has, started for these tests."""
    installed = sorted(Path("/usr/lib/postgresql").glob("[1-9]*/bin"))
    if not installed:
        unproven("no older PostgreSQL (apt-get install postgresql-15)")
    account = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="goblin-older-postgres-"))

    def run(program: str, *arguments: str) -> None:
        with (folder / "errors").open("wb") as errors:
            done = subprocess.run(
                [installed[0] / program, f"--pgdata={folder / 'data'}", *arguments],
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=folder,
                user=account,
                group=account,
                extra_groups=[] if account is not None else None,
            )
        assert done.returncode == 0, (folder / "errors").read_text()

    try:
        (folder / "password").write_text(PASSWORD)
        if account is not None:
            shutil.chown(folder, account)
            shutil.chown(folder / "password", account)
        login = ("--username=postgres", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256")
        run("initdb", *login, "--encoding=UTF8", "--locale=C", "--no-sync")
        with kept_port() as port:
            where = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories=''"
            run("pg_ctl", "start", "-w", f"--log={folder / 'log'}", f"--options=-F {where}")
            try:
                yield DatabaseAddress(
                    host="127.0.0.1", port=port, database="postgres", user="postgres",
                    password=PASSWORD,
                )  # fmt: skip
            finally:
                run("pg_ctl", "stop", "-w", "--mode=immediate")  # the data is deleted anyway
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["postgres", "older_postgres"])
def old_database(request: pytest.FixtureRequest, tmp_path: Path) -> MakeOld:
    """Makes a database at V1 that holds rows; it goes with its server."""
    server: DatabaseAddress = request.getfixturevalue(request.param)
    before = tmp_path / "before"
    before.mkdir()
    shutil.copy(MIGRATIONS / "V1__initial_schema.sql", before)

    async def make(rows: str) -> DatabaseAddress:
        address = server.with_database(f"old_{os.getpid()}_{next(_numbers)}")
        await execute(server.with_database("postgres"), f"CREATE DATABASE {address.database}")
        assert await migrate(address, before) == ["1 initial schema"]
        await execute(address, rows)
        return address

    return make


async def execute(address: DatabaseAddress, sql: str) -> None:
    conn = await asyncpg.connect(**address.connect_arguments())
    try:
        await conn.execute(sql)
    finally:
        await conn.close()


async def rows_of(address: DatabaseAddress, query: str) -> list[tuple[Any, ...]]:
    conn = await asyncpg.connect(**address.connect_arguments())
    try:
        return [tuple(row.values()) for row in await conn.fetch(query)]
    finally:
        await conn.close()


async def upgrade(address: DatabaseAddress) -> None:
    applied = await migrate(address, MIGRATIONS)
    assert applied[0] == "2 owners and invariants"
    await validate(address, MIGRATIONS)


async def test_accounts_and_orders_keep_every_digit(old_database: MakeOld) -> None:
    address = await old_database(OLD_USERS)
    await upgrade(address)
    assert await rows_of(address, "SELECT id, email, balance FROM users ORDER BY id") == [
        (1, "Ada@example.com", Decimal("1.5")),
        (2, "bob@example.com", Decimal("9999999999.99999999999999999999")),
    ]
    orders = "SELECT id, symbol, buy_price, sell_price, status, quantity, user_id FROM transact"
    assert await rows_of(address, f"{orders} ORDER BY id") == [
        (1, "BTCUSDT", Decimal("1.00000000000000000001"), None, 1, 2, 1),
        (2, "ETHUSDT", 1, 2, 2, 3, 1),
        (3, "ETHUSDT", 1, 2, 2, 3, 1),
        (4, "SOLUSDT", 1, None, 1, 1, 2),
    ]
    dates = "SELECT created_at = '2020-01-02 03:04:05+00', updated_at = created_at FROM users"
    assert await rows_of(address, f"{dates} ORDER BY id") == [(True, True), (False, True)]


async def test_what_was_shared_belongs_to_the_oldest_account(old_database: MakeOld) -> None:
    address = await old_database(OLD_USERS + OLD_SHARED)
    await upgrade(address)
    # One symbol in three spellings is one entry, the oldest.
    assert await rows_of(address, "SELECT id, symbol, user_id FROM watchlists ORDER BY id") == [
        (1, "BTCUSDT", 1),
        (4, "ETHUSDT", 1),
    ]
    strategies = "SELECT id, name, slug, deleted_at IS NULL, user_id FROM strategies ORDER BY id"
    assert await rows_of(address, strategies) == [(1, "S", "s", True, 1), (2, "T", "t", False, 1)]
    assignments = "SELECT id, symbol, strategy_id, timestamp, user_id FROM trade_strategies"
    assert await rows_of(address, f"{assignments} ORDER BY id") == [
        (1, "BTCUSDT", 1, "1h", 1),
        (2, "X", 2, "5m", 1),
    ]


async def test_every_text_of_the_log_survives_as_an_object(old_database: MakeOld) -> None:
    values = ", ".join(f"(' btc', '{text}', 'note')" for text in LOG_TEXTS)
    insert = "INSERT INTO log (symbol, data, action) VALUES "
    address = await old_database(insert + values)
    await upgrade(address)
    assert await rows_of(address, "SELECT data::text, symbol FROM log ORDER BY id") == [
        (now, "BTC") for now in LOG_TEXTS.values()
    ]


async def test_rows_without_any_account_go_to_one_that_nobody_can_log_in_to(
    old_database: MakeOld,
) -> None:
    address = await old_database(OLD_SHARED)
    await upgrade(address)
    assert await rows_of(address, "SELECT id, email, password, balance FROM users") == [
        (1, "nobody@goblin.invalid", "!", 0)
    ]
    owners = "SELECT user_id FROM watchlists UNION SELECT user_id FROM trade_strategies"
    assert await rows_of(address, owners) == [(1,)]


async def test_an_empty_old_database_gets_no_invented_account(old_database: MakeOld) -> None:
    address = await old_database("SELECT 1")
    await upgrade(address)
    assert await rows_of(address, "SELECT id FROM users") == []


@pytest.mark.parametrize(
    ("rows", "names", "remedy"),
    [
        (
            """
            INSERT INTO users (email, password, name)
            VALUES ('Ada@x.org', 'h', 'A'), ('b@x.org', 'h', 'B'), ('ada@X.org', 'h', 'C')
            """,
            "Ada@x.org (user 1), ada@X.org (user 3) ",
            "Change users.email of all but one of each",
        ),
        (
            """
            INSERT INTO users (email, password, name, balance)
            VALUES ('a', 'h', 'A', 'NaN'), ('b', 'h', 'B', 0), ('c', 'h', 'C', -1)
            """,
            "user 1 has NaN, user 3 has -1.00000000000000000000 ",
            "Set users.balance to a number from 0",
        ),
        (
            """
            INSERT INTO users (email, password, name) VALUES ('a', 'h', 'A');
            INSERT INTO transact (symbol, buy_price, quantity, user_id)
            VALUES ('btc', 1, 1, 1), (' BTC', 1, 1, 1), ('eth', 1, 1, 1)
            """,
            "user 1 BTC ",
            "Close all but one of each",
        ),
        (
            """
            INSERT INTO users (email, password, name) VALUES ('a', 'h', 'A');
            INSERT INTO transact (symbol, buy_price, quantity, user_id, status, sell_price)
            VALUES ('a', 0, 1, 1, 1, NULL), ('b', 1, 1, 1, 2, NULL), ('c', 1, 1, 1, 1, 3),
                   ('d', 1, 'NaN', 1, 1, NULL), ('e', 1, 1, 1, 5, 3), ('fine', 1, 1, 1, 2, 3)
            """,
            "transact.id 1, 2, 3, 4, 5 ",
            "Correct or delete the rows",
        ),
    ],
    ids=["e-mails", "balances", "active orders", "orders"],
)
async def test_rows_that_only_their_owner_can_decide_stop_the_upgrade_and_are_named(
    old_database: MakeOld, rows: str, names: str, remedy: str
) -> None:
    address = await old_database(rows)
    with pytest.raises(MigrationError) as caught:
        await migrate(address, MIGRATIONS)
    text = str(caught.value)
    assert text.startswith("V2__owners_and_invariants.sql: ")
    assert f": {names}" in text
    assert remedy in text.partition("Hint: ")[2]
    assert await rows_of(address, "SELECT version FROM schema_version") == [("1",)]
    assert await rows_of(address, "SELECT to_regclass('users_email_lower_key')") == [(None,)]
