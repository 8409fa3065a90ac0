"""Several serving processes behind one port, and the parent that keeps them.

The parent opens the database, brings its schema up to date and starts the workers; it answers
no request. Each worker is a whole goblin: what must happen once happens once through the
database, as among processes on different machines. A socket between the two tells the parent
that its worker answers, and the worker, however the parent ended, that it has to stop.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Final

from app.core.config import PROJECT, Settings
from app.db.migrate import migrate
from app.db.reach import check_room
from app.resources import open_address
from app.serving import (
    Stopping,
    UsageError,
    bind,
    listen,
    replay_database,
    replaying,
    say_stopped,
    say_where,
    served,
    url_of,
    walk_through,
)

WORKERS_MAX: Final = 64
CONNECTIONS_OF_ITS_OWN: Final = 4
"""What a worker opens besides its pool: two jobs, the watch over the embedded database, and
one while it starts."""

RESTART_SECONDS_MIN: Final = 0.1
RESTART_SECONDS_MAX: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A worker that lived so long did not fail at its start."""

FIRST_STARTS_MAX: Final = 3
"""How often a worker's first start may fail: its database may have gone away just then, and what
is wrong for good the parent has met before."""

PORT_SECONDS_MAX: Final = 3.0
"""How long the workers of a parent that was killed may keep the port."""

STOP_SECONDS_MAX: Final = 30.0
"""What a worker may need to stop beyond the time its requests are given."""

_log = logging.getLogger(__name__)


class Workers:
    """The workers of this parent, each started again when it ends."""

    def __init__(self, count: int, *, arguments: list[str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environment = environment
        self._processes: dict[int, Process] = {}
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._first: dict[int, asyncio.Future[None]] = {
            number: loop.create_future() for number in range(1, count + 1)
        }

    @contextlib.asynccontextmanager
    async def running(self, *, stop_seconds_max: float) -> AsyncIterator[asyncio.Future[None]]:
        """All of them answer by the time the block begins; none is left when it has ended.

        The value is done once they have stopped. Raises UsageError when one cannot start.
        """
        keepers = [asyncio.create_task(self._keep(number)) for number in self._first]
        everybody = asyncio.ensure_future(_all(keepers))
        try:
            await asyncio.gather(*self._first.values())
            yield everybody
        finally:
            if not self._stop.is_set():
                self.stop()
            _, late = await asyncio.wait({everybody}, timeout=stop_seconds_max)
            if late:
                _log.critical("workers do not stop: they are killed")
                self._signal(signal.SIGKILL)
            await everybody

    def stop(self) -> None:
        """Let running requests finish; asked a second time, cut them off."""
        self._stop.set()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        first = self._first[number]
        pause_seconds = RESTART_SECONDS_MIN
        failed_starts = 0
        while not self._stop.is_set():
            began_at = loop.time()
            try:
                code: int | str = await self._run(number)
            except OSError as error:  # no process to be had, or no file
                code = str(error)
            if self._stop.is_set():
                break
            failed_starts += 1
            if not first.done() and failed_starts == FIRST_STARTS_MAX:
                problem = f"worker {number} could not start (exit code {code}); it says why"
                first.set_exception(UsageError(problem))
                return
            if loop.time() - began_at > STEADY_SECONDS:
                pause_seconds = RESTART_SECONDS_MIN
            _log.critical(
                "a worker ended: another takes its place",
                extra={"worker": number, "exit_code": code, "pause_seconds": pause_seconds},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_SECONDS_MAX)
        first.cancel()

    async def _run(self, number: int) -> int:
        """One life of a worker; its exit code, negative for a signal."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "app", "worker", str(number), str(theirs.fileno()),
                    *self._arguments,
                    env=self._environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl-C is the parent's to pass on, once
                )  # fmt: skip
            self._processes[number] = process
            try:
                if self._stop.is_set():
                    process.terminate()
                if await asyncio.get_running_loop().sock_recv(ours, 1):
                    first = self._first[number]
                    if first.done():
                        _log.warning("the worker answers again", extra={"worker": number})
                    else:
                        first.set_result(None)
                return await process.wait()
            finally:
                del self._processes[number]


async def _all(keepers: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*keepers)


async def serve_with_workers(
    settings: Settings, options: argparse.Namespace, *, environment: Mapping[str, str]
) -> None:
    """What `serve` does, by `options.workers` processes that are given this environment.

    Raises the same, and DatabaseNotUsable where their connections would be too many.
    """
    stopping = Stopping(asyncio.current_task())
    async with contextlib.AsyncExitStack() as around:
        around.enter_context(stopping.on_signals())
        effective, prices = await around.enter_async_context(replaying(settings, options))
        reserved = around.enter_context(await _reserved(effective))
        if effective.is_replay:
            await around.enter_async_context(replay_database(effective))
        address = await around.enter_async_context(open_address(effective))
        await migrate(address, PROJECT / "db" / "migration")
        await check_room(
            address,
            processes=options.workers,
            pool_size=effective.db_pool_size,
            others=CONNECTIONS_OF_ITS_OWN,
        )
        workers = Workers(
            options.workers,
            arguments=["--demo"] if options.demo else [],
            environment={
                **environment,
                "DB_NAME": effective.db_name,
                "BYBIT_BASE_URL": effective.bybit_base_url,
                "BYBIT_STREAM_URL": effective.bybit_stream_url or "",
                "PRICE_SOURCE": effective.price_source,
                "HOST": effective.host,
                "PORT": str(reserved.getsockname()[1]),
            },
        )
        stopping.stop_serving = workers.stop
        running = workers.running(stop_seconds_max=effective.shutdown_seconds + STOP_SECONDS_MAX)
        async with running as everybody:
            url = url_of(reserved)
            if options.demo:
                replay_url = effective.bybit_base_url if options.replay is not None else None
                await walk_through(url, everybody, settings=effective, replay_url=replay_url)
            else:
                say_where(url, effective, prices)
                await asyncio.wait({everybody})
    if not options.demo:
        say_stopped()


async def serve_as_worker(settings: Settings, options: argparse.Namespace) -> None:
    """Serve until a signal or the end of the parent. `options` are those of the worker command."""
    stopping = Stopping(asyncio.current_task())
    with (
        socket.socket(fileno=options.lifeline) as lifeline,
        stopping.on_signals(),
        _following(lifeline, stopping),
    ):
        async with served(
            settings,
            stopping,
            # Last: from then on the system gives this process its part of the connections.
            listen=partial(listen, settings, shares_port=True),
            is_demo=options.demo,
            worker=options.number,
        ) as serving:
            with contextlib.suppress(OSError):  # the parent has just ended
                lifeline.send(b"!")
            await serving


@contextlib.contextmanager
def _following(lifeline: socket.socket, stopping: Stopping) -> Iterator[None]:
    """Stop, as at a signal, when the other end of the lifeline is gone."""
    loop = asyncio.get_running_loop()

    def parent_ended() -> None:
        loop.remove_reader(lifeline)
        if not stopping.is_asked:
            _log.critical("the parent of the workers is gone: this one stops")
            stopping.stop()

    lifeline.setblocking(False)
    loop.add_reader(lifeline, parent_ended)  # it never sends anything: readable is ended
    try:
        yield
    finally:
        loop.remove_reader(lifeline)


async def _reserved(settings: Settings) -> socket.socket:
    """A socket that keeps the port for the workers and takes no connections. Raises UsageError."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PORT_SECONDS_MAX
    while True:
        try:
            if settings.port:  # a port that is shared would be shared with anybody else's workers
                listen(settings).close()
            return bind(settings, shares_port=True)
        except UsageError:
            if loop.time() > until:
                raise
            await asyncio.sleep(0.1)
