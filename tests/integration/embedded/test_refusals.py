"""What the embedded server refuses to start on, and what it says then."""
# ruff: noqa: ASYNC221, ASYNC240  a test may block: nobody else is served

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from app.db.embedded import EmbeddedPostgresError, TcpAccess, embedded_postgres, find_running
from bench.victims import kept_port
from tests.integration.embedded.apps import eventually, kill_postmaster, server_log, sql
from tests.unproven import unproven


async def test_settings_that_keep_data_safe_stay_on_whatever_anybody_wrote(
    data_dir: Path,
) -> None:
    durable = ("fsync", "full_page_writes", "synchronous_commit")
    async with embedded_postgres(data_dir) as address:
        for name in durable:
            await sql(address, f"ALTER SYSTEM SET {name} = off")
    async with embedded_postgres(data_dir) as address:
        for name in durable:
            assert await sql(address, "SELECT current_setting($1)", name) == "on"
            with pytest.raises(EmbeddedPostgresError, match=name):
                await embedded_postgres(data_dir, settings={name.upper(): "off"}).__aenter__()
        await sql(address, 'ALTER DATABASE "goblin" SET synchronous_commit = off')
    with pytest.raises(EmbeddedPostgresError, match="synchronous_commit") as refused:
        await embedded_postgres(data_dir).__aenter__()
    assert await find_running(data_dir) is None
    remedy = str(refused.value).splitlines()[-1]
    subprocess.run(["/bin/sh", "-c", remedy], check=True, capture_output=True, cwd="/")
    async with embedded_postgres(data_dir) as address:
        assert await sql(address, "SHOW synchronous_commit") == "on"


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as kept:
        yield kept


async def test_a_tcp_port_demands_the_password_and_the_socket_does_not(
    data_dir: Path, port: int
) -> None:
    tcp = TcpAccess(port=port, password='it\'s; a "secret"')
    assert "secret" not in repr(tcp)
    over_tcp = {"host": "127.0.0.1", "port": port, "user": "postgres", "database": "goblin"}
    async with embedded_postgres(data_dir, tcp=tcp) as address:
        assert address.host.startswith("/")
        assert await sql(address, "SELECT 1") == 1
        connection = await asyncpg.connect(**over_tcp, password=tcp.password)
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(**over_tcp, password="wrong")
        async with embedded_postgres(data_dir):  # without a wish of its own it shares this one
            kill_postmaster(data_dir)
            connection = await eventually(
                lambda: asyncpg.connect(**over_tcp, password=tcp.password)
            )
            await connection.close()
    assert "secret" not in server_log(data_dir)
    async with embedded_postgres(data_dir):
        with pytest.raises(EmbeddedPostgresError, match="without TCP port"):
            await embedded_postgres(data_dir, tcp=tcp).__aenter__()
    with (data_dir / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    with pytest.raises(EmbeddedPostgresError, match="without a password"):
        await embedded_postgres(data_dir, tcp=tcp).__aenter__()


async def test_a_start_that_fails_shows_the_servers_own_words_and_leaves_nothing_behind(
    data_dir: Path,
) -> None:
    with pytest.raises(EmbeddedPostgresError) as failed:
        await embedded_postgres(data_dir, settings={"no_such_setting": "1"}).__aenter__()
    text = str(failed.value)
    assert 'unrecognized configuration parameter "no_such_setting"' in text
    assert str(data_dir.with_name("postgres.log")) in text
    assert "Remedy: " in text
    async with embedded_postgres(data_dir) as address:
        assert await sql(address, "SELECT 1") == 1


async def test_a_cluster_of_another_version_or_somebodys_files_are_refused_untouched(
    data_dir: Path,
) -> None:
    data_dir.mkdir(parents=True)
    (data_dir / "thesis.txt").write_text("years of work")
    with pytest.raises(EmbeddedPostgresError, match="is no complete PostgreSQL cluster"):
        await embedded_postgres(data_dir).__aenter__()
    (data_dir / "global").mkdir()
    (data_dir / "global" / "pg_control").touch()
    (data_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 17;.*\n.*pg_dump"):
        await embedded_postgres(data_dir).__aenter__()
    assert (data_dir / "thesis.txt").read_text() == "years of work"


async def test_a_pointer_to_a_folder_that_is_gone_is_never_replaced_by_an_empty_database(
    data_dir: Path, folder: Path
) -> None:
    data_dir.parent.mkdir()
    data_dir.symlink_to(folder / "gone")
    with pytest.raises(EmbeddedPostgresError, match="which is gone"):
        await embedded_postgres(data_dir).__aenter__()
    data_dir.unlink()


async def test_a_socket_folder_that_others_may_enter_is_refused(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as address:
        pass
    trap = Path(address.host)
    trap.mkdir()
    trap.chmod(0o777)
    try:
        with pytest.raises(EmbeddedPostgresError, match="opened to other users"):
            await embedded_postgres(data_dir).__aenter__()
    finally:
        shutil.rmtree(trap, ignore_errors=True)


async def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    blocked = folder / "blocked"
    blocked.touch()
    with pytest.raises(EmbeddedPostgresError, match=r"cannot write .*blocked.*\nRemedy: "):
        await embedded_postgres(blocked / "data" / "postgres").__aenter__()


async def test_a_full_disk_is_named_and_leaves_no_half_cluster(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs", str(disk)]
    if subprocess.run(["mount", *options], check=False, capture_output=True).returncode != 0:
        unproven("no small disk: whoever runs this may mount none")
    try:
        with pytest.raises(EmbeddedPostgresError, match=r"No space left on device[\s\S]*Remedy: "):
            await embedded_postgres(disk / "postgres").__aenter__()
        assert sorted(path.name for path in disk.iterdir()) == ["postgres.lock"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
