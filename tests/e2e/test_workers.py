"""Several workers behind one port: the real command, its processes, and how they end."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.victims import children_of, title_of
from tests.e2e.running import STOP_SECONDS_MAX, Clone, Running, serving
from tests.e2e.test_shutdown import (
    PATIENT,
    begin_trading,
    hold_the_venue,
    is_refused,
    let_the_venue_go,
    order_in_flight,
    wait_until,
)

STOOD_STILL = re.compile(
    r'"level": "warning", "logger": "app\.(db\.database|jobs\.supervisor|jobs\.stream_market)"'
)
"""What is said of the database or of a lease after the machine, or all of goblin, stood still."""


def workers_of(server: Running) -> set[int]:
    return {pid for pid in children_of(server.process.pid) if "\0worker\0" in title_of(pid)}


def has_ended(pid: int) -> bool:
    """Whether its parent has heard of its end, which is when no thread keeps its files open.

    Its first thread alone can be a zombie while others still end, and the port is theirs too.
    """
    return not Path(f"/proc/{pid}").exists()


def who_answers(server: Running) -> set[str]:
    """The numbers of the workers that some scrapes reach; each is a connection of its own."""
    with server.client() as client:
        pages = [client.get("/metrics").text for _ in range(10)]
    builds = [line for page in pages for line in page.splitlines() if "goblin_build_info{" in line]
    assert len(builds) == len(pages)
    return {line.split('worker="')[1][0] for line in builds}


def test_a_killed_worker_is_replaced_and_sigterm_lets_every_worker_finish_and_exits_with_0(
    clone: Clone,
) -> None:
    with (
        serving(clone, "--port", "0", "--replay", "--workers", "2", **PATIENT) as server,
        ThreadPoolExecutor() as pool,
    ):
        token = begin_trading(server)
        first = workers_of(server)
        assert len(first) == 2
        wait_until(lambda: who_answers(server) == {"1", "2"})

        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: has_ended(victim))  # until then it may be given connections
        with server.client(token) as client:
            assert client.get("/order").is_success, "the other one serves meanwhile"
        wait_until(lambda: len(workers_of(server) - {victim}) == 2)
        wait_until(lambda: who_answers(server) == {"1", "2"})

        hold_the_venue(server)
        placing = order_in_flight(server, token, pool)
        server.process.terminate()
        wait_until(lambda: is_refused(server))
        assert not placing.done(), "new work was refused while the old went on"
        let_the_venue_go(server)
        assert placing.result(STOP_SECONDS_MAX).status_code == 201
        assert server.process.wait(STOP_SECONDS_MAX) == 0
    assert clone.output[-1].endswith("goblin has stopped\n")
    assert "another takes its place" in clone.output[-1]
    assert clone.database_processes() == []


def test_a_port_is_not_shared_with_other_workers_and_a_killed_parent_leaves_nothing_behind(
    clone: Clone,
) -> None:
    with serving(clone, "--port", "0", "--replay", "--workers", "2") as server:
        port = server.url.rpartition(":")[2]
        second = clone.run("serve", "--replay", "--workers", "2", "--port", port)
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1 port {port}: address already in use" in second.stderr

        workers = workers_of(server)
        assert len(workers) == 2
        server.kill()
        wait_until(lambda: not any("\0worker\0" in title_of(pid) for pid in workers))
        assert is_refused(server)
        wait_until(lambda: clone.database_processes() == [])


def test_the_demo_walks_through_two_workers(clone: Clone) -> None:
    done = clone.run("serve", "--port", "0", "--replay", "--demo", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "profit" in done.stdout
    assert [line for line in done.stderr.splitlines() if not STOOD_STILL.search(line)] == []
    audited = clone.run("audit", "--replay")
    assert audited.stdout.startswith("audited users: 1, "), "each worker uses the replay's database"
    assert clone.database_processes() == []
