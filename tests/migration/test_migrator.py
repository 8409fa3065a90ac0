"""The built-in migrator against a real database: many at once, broken files, sudden death."""
# ruff: noqa: ASYNC110  a test may block: nobody else is served

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from app.db.migrate import MigrationError, migrate, validate
from app.db.migrate.history import LOCK_KEY
from tests.migration.conftest import MakeDatabase
from tests.migration.scratch import MIGRATIONS, PROJECT, execute, fetch, history, relations, write

WAIT_SECONDS_MAX = 150.0
ROUNDS = 3

MIGRATE = """
import asyncio, os, sys
from pathlib import Path
from app.db.address import DatabaseAddress
from app.db.migrate import migrate

host, port, database, user, folder = sys.argv[1:]
address = DatabaseAddress(
    host=host, port=int(port), database=database, user=user, password=os.environ["PASSWORD"]
)
print("ready", flush=True)
sys.stdin.readline()
print(*asyncio.run(migrate(address, Path(folder))), sep=", ", flush=True)
"""


class Migrating:
    """A process of its own that migrates when told to."""

    def __init__(self, address: DatabaseAddress, folder: Path) -> None:
        assert address.password is not None
        self.process = subprocess.Popen(
            [sys.executable, "-c", MIGRATE, address.host, str(address.port), address.database,
             address.user, str(folder)],
            cwd=PROJECT,
            env={**os.environ, "PASSWORD": address.password},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def get_ready(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    async def applied(self) -> str:
        said, complaint = await asyncio.to_thread(
            self.process.communicate, timeout=WAIT_SECONDS_MAX
        )
        assert self.process.returncode == 0, complaint
        return said.strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


async def refused(address: DatabaseAddress, folder: Path) -> str:
    """The text of the error, after seeing that the refusal changed nothing at all."""
    before = (await relations(address), await states_or_none(address))
    with pytest.raises(MigrationError) as caught:
        await migrate(address, folder)
    assert (await relations(address), await states_or_none(address)) == before
    return str(caught.value)


async def states_or_none(address: DatabaseAddress) -> list[tuple[object, ...]]:
    exists = await fetch(
        address, "SELECT count(*) AS n FROM pg_class WHERE relname = 'schema_version'"
    )
    return await history(address) if exists[0]["n"] else []


async def test_three_processes_on_an_empty_database_migrate_it_once(
    make_database: MakeDatabase,
) -> None:
    for _ in range(ROUNDS):
        address = await make_database()
        processes = [Migrating(address, MIGRATIONS) for _ in range(3)]
        try:
            for process in processes:
                process.get_ready()
            for process in processes:
                process.go()
            applied = sorted([await process.applied() for process in processes])
        finally:
            for process in processes:
                process.kill()
        assert applied[:2] == ["", ""]
        assert applied[2].startswith("1 initial schema, 2 owners and invariants, ")
        await validate(address, MIGRATIONS)
        versions = [row[1] for row in await history(address)]
        assert versions == [str(number) for number in range(1, len(versions) + 1)]


async def test_an_edited_file_stops_with_its_name_and_the_remedy(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(tmp_path / "files", V1__a="CREATE TABLE a (i INT);")
    await migrate(database, folder)
    write(folder, V1__a="CREATE TABLE a (i BIGINT);", V2__b="CREATE TABLE b (i INT);")
    text = await refused(database, folder)
    assert text.startswith("V1__a.sql: edited after it was applied (checksum ")
    assert "restore the file from version control" in text
    with pytest.raises(MigrationError, match=r"V1__a\.sql: edited[^\n]*\nV2__b\.sql: not applied"):
        await validate(database, folder)


async def test_a_file_that_comes_too_late_or_is_gone_stops_with_its_name_and_the_remedy(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(tmp_path / "files", V1__a="SELECT 1;", V3__c="SELECT 3;", V5__e="SELECT 5;")
    await migrate(database, folder)
    write(folder, V2__late="CREATE TABLE late (i INT);", V6__f="CREATE TABLE f (i INT);")
    text = await refused(database, folder)
    assert text.startswith("V2__late.sql: newer migrations were applied before this file came")
    assert "rename it to a version above all others" in text
    (folder / "V2__late.sql").unlink()
    (folder / "V3__c.sql").unlink()
    text = await refused(database, folder)
    assert text.startswith("V3__c.sql: applied to this database, but the file is gone; restore it")


async def test_a_database_newer_than_the_files_stops_with_the_remedy(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(tmp_path / "files", V1__a="SELECT 1;", V2__b="SELECT 2;")
    await migrate(database, folder)
    (folder / "V2__b.sql").unlink()
    text = await refused(database, folder)
    assert text.startswith("V2__b.sql: applied to this database, which is newer than the files")
    assert "start the goblin that brought it" in text


@pytest.mark.parametrize(
    ("name", "sql", "complaint"),
    [
        ("V1.0__twin", "SELECT 1;", "both are version 1"),
        ("V2_b", "SELECT 1;", "V2_b.sql: not a migration's name; expected V<version>__<descr"),
        ("V2__b", "SELECT 1;\nCOMMIT;", "V2__b.sql, line 2: COMMIT is not possible"),
        ("V2__b", b"SELECT '\xff';", "V2__b.sql: byte 8 is not UTF-8; save the file as UTF-8"),
    ],
)
async def test_a_folder_that_cannot_be_applied_touches_no_database(
    database: DatabaseAddress, tmp_path: Path, name: str, sql: str | bytes, complaint: str
) -> None:
    folder = write(tmp_path / "files", V1__a="CREATE TABLE a (i INT);", **{name: sql})
    assert complaint in await refused(database, folder)
    assert await fetch(database, "SELECT FROM pg_class WHERE relname = 'schema_version'") == []


async def test_failing_sql_is_told_with_its_line_and_leaves_nothing_of_its_file(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(
        tmp_path / "files",
        V1__good="CREATE TABLE good (i INT);",
        V2__bad="CREATE TABLE bad (i INT);\r\nINSERT INTO bad VALUES (1);\r\nSELECT nowhere;\r\n",
        V3__after="CREATE TABLE after (i INT);",
    )
    with pytest.raises(MigrationError) as caught:
        await migrate(database, folder)
    assert str(caught.value).splitlines() == [
        'V2__bad.sql, line 3: column "nowhere" does not exist (SQLSTATE 42703)',
        "  Nothing of this file was applied; correct the cause and start again.",
    ]
    assert await relations(database) == {"good"}
    assert [row[1] for row in await history(database)] == ["1"]
    write(folder, V2__bad="CREATE TABLE bad (i INT);")
    assert await migrate(database, folder) == ["2 bad", "3 after"]


async def test_a_hint_and_a_constraint_of_the_database_reach_the_reader(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(
        tmp_path / "files",
        V1__a="DO $$ BEGIN RAISE EXCEPTION 'no %', 1 USING HINT = 'Do this.'; END $$;",
    )
    assert "\n  Hint: Do this.\n" in await refused_sql(database, folder)
    write(folder, V1__a="CREATE TABLE a (i INT UNIQUE);\nINSERT INTO a VALUES (7), (7);")
    assert "\n  Detail: Key (i)=(7) already exists.\n" in await refused_sql(database, folder)


async def refused_sql(address: DatabaseAddress, folder: Path) -> str:
    with pytest.raises(MigrationError) as caught:
        await migrate(address, folder)
    assert await relations(address) == set()
    assert await history(address) == []
    return str(caught.value)


async def test_a_row_of_a_failed_attempt_stops_until_somebody_has_looked(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(tmp_path / "files", V1__a="SELECT 1;", V2__b="SELECT 2;")
    await migrate(database, folder)
    await execute(database, "UPDATE schema_version SET success = FALSE WHERE version = '2'")
    text = await refused(database, folder)
    assert text.startswith("V2__b.sql: an earlier attempt failed half-way")
    assert "flyway repair, or remove the row with installed_rank = 2" in text
    await execute(database, "DELETE FROM schema_version WHERE installed_rank = 2")
    assert await migrate(database, folder) == ["2 b"]


async def test_what_a_file_sets_for_its_session_does_not_reach_the_next(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(
        tmp_path / "files",
        V1__a="CREATE SCHEMA other; SET search_path TO other; SET ROLE pg_monitor;",
        V2__b="CREATE TABLE b (i INT) -- a comment and no semicolon",
        V3__c="-- nothing but a comment",
        V4__d=" ; ; ",
    )
    assert len(await migrate(database, folder)) == 4
    assert await relations(database) == {"b"}
    assert {row[6] for row in await history(database)} == {"postgres"}


async def test_a_process_killed_in_a_migration_leaves_a_database_that_the_next_completes(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    folder = write(
        tmp_path / "files",
        V1__a="CREATE TABLE a (i INT);",
        V2__b="CREATE TABLE b (i INT); SELECT pg_advisory_xact_lock(4711);"
        " CREATE TABLE b_too (i INT);",
    )
    gate = await asyncpg.connect(**database.connect_arguments())
    await gate.execute("SELECT pg_advisory_lock(4711)")
    process = Migrating(database, folder)
    try:
        process.get_ready()
        process.go()
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not await gate.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            ):
                await asyncio.sleep(0.02)
    finally:
        process.kill()
    assert await relations(database) == {"a"}
    # PostgreSQL finds out about the death when the lock lets the statement end.
    await gate.execute("SELECT pg_advisory_unlock(4711)")
    assert await migrate(database, folder) == ["2 b"]
    assert await relations(database) == {"a", "b", "b_too"}
    assert [row[1] for row in await history(database)] == ["1", "2"]
    await gate.close()


async def test_who_waits_too_long_is_told_which_backend_to_look_at(
    database: DatabaseAddress,
) -> None:
    holder = await asyncpg.connect(**database.connect_arguments())
    await holder.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    with pytest.raises(MigrationError) as caught:
        await migrate(database, MIGRATIONS, lock_wait_seconds_max=0.05)
    assert f"pg_terminate_backend({holder.get_server_pid()})" in str(caught.value)
    assert await relations(database) == set()
    await holder.close()


async def test_a_table_of_that_name_that_is_no_history_stops(database: DatabaseAddress) -> None:
    await execute(database, "CREATE TABLE schema_version (version TEXT)")
    with pytest.raises(MigrationError, match=r"public\.schema_version cannot be read .* rename"):
        await migrate(database, MIGRATIONS)
    assert await relations(database) == set()


async def test_a_user_who_may_not_create_is_told_the_grant(
    server: DatabaseAddress, database: DatabaseAddress
) -> None:
    await execute(server, "CREATE ROLE nobody_here LOGIN PASSWORD 'x'")
    try:
        weak = DatabaseAddress(
            host=server.host, port=server.port, database=database.database,
            user="nobody_here", password="x",
        )  # fmt: skip
        with pytest.raises(MigrationError, match="GRANT CREATE ON SCHEMA public"):
            await migrate(weak, MIGRATIONS)
    finally:
        await execute(server, "DROP ROLE nobody_here")
