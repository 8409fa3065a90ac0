"""The embedded server through real kills, and shared by several at once."""
# ruff: noqa: ASYNC110, ASYNC220, ASYNC240  a test may block: nobody else is served

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from app.db.embedded import EmbeddedPostgresError, embedded_postgres, find_running, remove_data
from app.db.embedded.cluster import prepare
from app.db.embedded.locks import Locks
from app.db.embedded.probe import Answer, Busy
from app.db.embedded.server import Server
from app.db.errors import DRIVER_ERRORS
from bench.victims import title_of
from tests.integration.embedded.apps import (
    IS_ROOT,
    App,
    eventually,
    kill_postmaster,
    postmaster,
    running,
    server_log,
    sql,
    started_at,
)


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
        assert title_of(orphan) == "", "gone, or a zombie"
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
    while True:
        app = start_app(data_dir)
        while not ((staging / "PG_VERSION").exists() or data_dir.exists()):
            await asyncio.sleep(0.001)
        app.kill()
        if not data_dir.exists():
            break
        await remove_data(data_dir)  # it was whole before a busy machine looked
    async with embedded_postgres(data_dir) as address:
        assert await sql(address, "SELECT 1") == 1
    assert not staging.exists()


async def test_a_server_that_is_killed_again_just_as_it_answers_is_brought_back_all_the_same(
    data_dir: Path,
) -> None:
    class Unlucky(Server):
        """Its server is killed between its answer and being taken for the one in use."""

        deaths = 0

        async def _ask(self) -> Answer | Busy | None:
            answer = await super()._ask()
            if isinstance(answer, Answer) and self.deaths == 1:
                self.deaths = 2
                kill_postmaster(data_dir)
                child = self._child
                assert child is not None
                await asyncio.to_thread(child.wait)
                while not answer.connection.is_closed():
                    await asyncio.sleep(0.001)
            return answer

    locks = Locks(data_dir)
    async with locks.control() as descriptor:
        places = await asyncio.to_thread(prepare, data_dir, lock_descriptor=descriptor)
        server = Unlucky(places, database="goblin", settings={})
        locks.join()
        await server.bring_up()
    watching = asyncio.create_task(server.watch(locks))
    try:
        before = await started_at(data_dir)
        server.deaths = 1
        kill_postmaster(data_dir)

        async def is_back() -> bool:
            return bool(server.deaths == 2 and await started_at(data_dir) != before)

        await eventually(is_back)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        async with locks.control():
            await server.leave(is_last=locks.leave())
