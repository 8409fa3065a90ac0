"""The built-in migrator and the real Flyway are twins: either continues what the other began."""
# ruff: noqa: ASYNC220  a test may block: nobody else is served

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from app.db.migrate import MigrationError, info, migrate, validate
from app.db.migrate.history import LOCK_KEY
from tests.migration.conftest import MakeDatabase
from tests.migration.flyway import FETCH_SECONDS_MAX, PROJECT, Flyway
from tests.migration.scratch import (
    MIGRATIONS,
    execute,
    fetch,
    first_migration,
    history,
    history_structure,
    relations,
    write,
)

WAIT_SECONDS_MAX = 150.0

pytestmark = pytest.mark.timeout(FETCH_SECONDS_MAX + 300)  # who comes first fetches it

TRICKY_FILES: dict[str, str | bytes] = {
    "V1__plain": "CREATE TABLE a (i INT);\n",
    "V1_1__no_newline_at_the_end": "CREATE TABLE b (i INT);",
    "V1.10__crlf": "CREATE TABLE c (\r\n  i INT\r\n);\r\n",
    "V2__cr": "CREATE TABLE d (i INT);\rSELECT 1;\r",
    "V3__byte_order_mark": "\ufeffCREATE TABLE e (i INT);\r\n",
    "V4__empty": "",
    "V5__only_empty_lines": "\n\r\n\n",
    "V6__trailing_space": "SELECT 1;  \t \n   \n\t-- end \n ",
    "V7__éü_€": "SELECT 'é € 😀 ㎜';\n",
    "V8__what_python_calls_line_ends": "SELECT 'a\u2028b\u2029c\x0cd\x85e\x1cf\x0bg';\n",
    "V009.00__placeholder_${x}": "SELECT '${flyway:timestamp} ${x}';\n",
    "V10____double__underscore_": "DO $x$ BEGIN PERFORM 1; END $x$;\n",
    "R__b_view": "CREATE OR REPLACE VIEW b_view AS SELECT 1 AS x FROM a_view;\n",
    "R__a_view": "CREATE OR REPLACE VIEW a_view AS SELECT 1 AS x FROM a;\n",
}


async def states(address: DatabaseAddress, folder: Path) -> list[tuple[str, str, str, str, str]]:
    return [
        (row.category, row.version, row.description, row.type, row.state.value)
        for row in await info(address, folder)
    ]


def flyway_states(migrations: list[dict[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    return [
        (row["category"], row["version"], row["description"], row["type"], row["state"])
        for row in migrations
    ]


async def test_what_we_migrated_flyway_finds_valid_and_up_to_date(
    flyway: Flyway, database: DatabaseAddress
) -> None:
    assert len(await migrate(database, MIGRATIONS)) >= 3
    before = await history(database)
    said = flyway.run(database, MIGRATIONS, "-outputType=json", "validate", "info", "migrate")
    validated, informed, migrated = json.loads(said)["individualResults"]
    assert validated["validationSuccessful"] is True
    assert validated["invalidMigrations"] == []
    assert validated["validateCount"] == len(before)
    assert flyway_states(informed["migrations"]) == await states(database, MIGRATIONS)
    assert {row["state"] for row in informed["migrations"]} == {"Success"}
    assert migrated["success"] is True
    assert migrated["migrationsExecuted"] == 0
    assert await history(database) == before


async def test_what_flyway_migrated_we_find_valid_up_to_date_and_recorded_as_we_would(
    flyway: Flyway, make_database: MakeDatabase
) -> None:
    theirs, ours = await make_database(), await make_database()
    flyway.run(theirs, MIGRATIONS, "migrate")
    await validate(theirs, MIGRATIONS)
    assert {row.state for row in await info(theirs, MIGRATIONS)} == {"Success"}
    assert await migrate(theirs, MIGRATIONS) == []
    await migrate(ours, MIGRATIONS)
    assert await history(theirs) == await history(ours)
    assert await history_structure(theirs) == await history_structure(ours)
    assert await relations(theirs) == await relations(ours)


async def test_we_begin_and_flyway_goes_on(
    flyway: Flyway, make_database: MakeDatabase, tmp_path: Path
) -> None:
    mixed, ours = await make_database(), await make_database()
    assert await migrate(mixed, first_migration(tmp_path / "first")) == ["1 initial schema"]
    flyway.run(mixed, MIGRATIONS, "migrate", "validate")
    await validate(mixed, MIGRATIONS)
    await migrate(ours, MIGRATIONS)
    assert await history(mixed) == await history(ours)


async def test_flyway_begins_and_we_go_on(
    flyway: Flyway, make_database: MakeDatabase, tmp_path: Path
) -> None:
    mixed, ours = await make_database(), await make_database()
    flyway.run(mixed, first_migration(tmp_path / "first"), "migrate")
    applied = await migrate(mixed, MIGRATIONS)
    assert applied[0] == "2 owners and invariants"
    flyway.run(mixed, MIGRATIONS, "validate")
    assert await migrate(ours, MIGRATIONS) == ["1 initial schema", *applied]
    assert await history(mixed) == await history(ours)


async def test_names_order_and_checksums_of_tricky_files_are_the_same(
    flyway: Flyway, make_database: MakeDatabase, tmp_path: Path
) -> None:
    folder = write(tmp_path / "tricky", **TRICKY_FILES)
    theirs, ours = await make_database(), await make_database()
    flyway.run(theirs, folder, "migrate")
    await migrate(ours, folder)
    assert len(await history(ours)) == len(TRICKY_FILES)
    assert await history(ours) == await history(theirs)
    await validate(theirs, folder)
    assert await migrate(theirs, folder) == []

    # The same texts with other line ends are the same migrations to both.
    for path in folder.iterdir():
        text = path.read_bytes().decode().replace("\r\n", "\n").replace("\r", "\n")
        path.write_bytes(text.replace("\n", "\r\n").encode())
    await validate(theirs, folder)

    # A repeatable file that changed runs again, by whichever comes first.
    write(folder, R__a_view="CREATE OR REPLACE VIEW a_view AS SELECT 1 AS x, 2 AS y FROM a;\n")
    assert await migrate(theirs, folder) == ["a view"]
    flyway.run(ours, folder, "migrate")  # it validates first, the new line ends too
    assert await history(ours) == await history(theirs)
    assert await states(ours, folder) == await states(theirs, folder)
    assert flyway_states(flyway.info(theirs, folder)) == await states(ours, folder)
    assert [row["y"] for row in await fetch(ours, "SELECT count(y) AS y FROM a_view")] == [0]


@pytest.mark.parametrize(
    "thing",
    [
        "CREATE TABLE older (i INT)",
        "CREATE TYPE mood AS ENUM ('calm')",
        "CREATE FUNCTION one() RETURNS INT LANGUAGE sql AS 'SELECT 1'",
    ],
)
async def test_a_schema_that_holds_something_is_baselined_alike(
    flyway: Flyway, make_database: MakeDatabase, tmp_path: Path, thing: str
) -> None:
    folder = write(tmp_path / "files", V1__a="CREATE TABLE a (i INT);")
    theirs, ours = await make_database(), await make_database()
    for address in (theirs, ours):
        await execute(address, thing)
    flyway.run(theirs, folder, "migrate")
    await migrate(ours, folder)
    assert [row[:4] for row in await history(ours)] == [
        (1, "0", "<< Flyway Baseline >>", "BASELINE"),
        (2, "1", "a", "SQL"),
    ]
    assert await history(ours) == await history(theirs)
    assert await history_structure(ours) == await history_structure(theirs)


async def test_both_see_the_same_trouble_and_both_refuse(
    flyway: Flyway, database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(
        tmp_path / "files",
        V1__a="CREATE TABLE a (i INT);",
        V3__c="SELECT 3;",
        V4__d="SELECT 4;",
        V5__e="SELECT 5;",
        V9__i="SELECT 9;",
        R__r="SELECT 'r';",
    )
    await migrate(database, folder)
    (folder / "V9__i.sql").unlink()
    (folder / "V4__d.sql").unlink()
    (folder / "V5__e.sql").rename(folder / "V5__other_words.sql")
    write(folder, V1__a="CREATE TABLE a (i BIGINT);", V2__late="SELECT 2;", R__r="SELECT 'R';")
    before = await history(database)

    seen = flyway.info(database, folder)
    assert sorted(flyway_states(seen)) == sorted(await states(database, folder))

    refused = flyway.attempt(database, folder, "migrate")
    assert refused.returncode == 1
    with pytest.raises(MigrationError) as caught:
        await migrate(database, folder)
    for script, version in {"V1__a": 1, "V2__late": 2, "V4__d": 4, "V9__i": 9}.items():
        assert f"{script}.sql: " in str(caught.value)
        assert f"{version}" in refused.stdout + refused.stderr
    assert "V5__other_words.sql: renamed" in str(caught.value)
    assert "Migration description mismatch for migration version 5" in refused.stderr
    assert "Migration checksum mismatch for migration version 1" in refused.stderr
    assert await history(database) == before


async def test_flyway_waits_for_the_lock_that_we_hold(
    flyway: Flyway, database: DatabaseAddress, tmp_path: Path
) -> None:
    await migrate(database, first_migration(tmp_path / "first"))
    holder = await asyncpg.connect(**database.connect_arguments())
    await holder.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    process = subprocess.Popen(
        [*flyway.command(), f"-configFiles={PROJECT / 'flyway.conf'}", "migrate"],
        cwd=PROJECT,
        env=flyway.environment(database),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not await holder.fetchval(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE '%pg_try_advisory_lock%'
                  AND query LIKE $1 AND pid <> pg_backend_pid()
                """,
                f"%{LOCK_KEY}%",
            ):
                assert process.poll() is None, process.communicate()[0]
                await asyncio.sleep(0.05)
        assert [row[1] for row in await history(database)] == ["1"]
        await holder.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)
        said, _ = await asyncio.to_thread(process.communicate, timeout=WAIT_SECONDS_MAX)
        assert process.returncode == 0, said
        await validate(database, MIGRATIONS)
    finally:
        process.kill()
        process.communicate()
        await holder.close()
