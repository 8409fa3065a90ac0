"""Serving from a command line: signals, the socket, the replay exchange, what is printed."""

import argparse
import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from app.clients.venue_http import LOOPBACK
from app.core.config import PROJECT, Settings
from app.db.database import open_database
from app.db.migrate import migrate
from app.db.reach import sole_replay
from app.http.connection import ConnectionLimits, GuardedConnection
from app.http.websocket import GuardedSocket
from app.main import create_app
from app.resources import Resources, open_address
from app.services.replays import forget_market

DEFAULT_LIMITS: Final = ConnectionLimits()
UNDO_SECONDS_MAX: Final = 5.0
"""How long what was cut off may take to roll back and let go of its connections."""
FILES_RESERVED: Final = 512
"""Open files that are not clients: the database, the venue, refused connections, the log."""
KEEP_ALIVE_SECONDS: Final = 12
"""How long an idle connection is kept: longer than common clients keep theirs (5 s), so that
none sends a request on a connection that is being closed."""
BACKLOG: Final = 2048
GARBAGE_MIN: Final = 20_000
"""Objects between collections: what a request makes is freed by counting references."""
SOCKET_MESSAGE_BYTES_MAX: Final = 16_384
UNREAD_MILLISECONDS_MAX: Final = 30_000
"""How long a client may leave an answer unread before its connection is cut."""


class UsageError(Exception):
    """The command cannot be carried out as asked; the text says what would work."""


class Server(uvicorn.Server):
    """uvicorn, which is told to stop by whoever runs it.

    uvicorn raises a signal again once it has stopped, which would cut off what stands around
    the server (the database, the replay exchange) and make an orderly end look like a crash.
    """

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self._end_streams = end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when requests are answered."""
        await super().startup(sockets)
        if self.started:
            self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what has no end of its own first: uvicorn waits for every open connection.

        When this returns nothing runs any more that could need the database.
        """
        self._end_streams()
        await super().shutdown(sockets)
        state = self.server_state
        if self.force_exit:  # otherwise uvicorn has cancelled what was still running
            for task in state.tasks:
                task.cancel()
        if state.tasks:
            await asyncio.wait(state.tasks.copy(), timeout=UNDO_SECONDS_MAX)
        for connection in state.connections.copy():
            connection.transport.abort()

    def stop(self) -> None:
        """Let running requests finish; asked a second time, cut them off."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def server_config(
    app: FastAPI, *, limits: ConnectionLimits = DEFAULT_LIMITS, shutdown_seconds: int = 10
) -> uvicorn.Config:
    """How uvicorn serves the application, whose resources are open already."""
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(GuardedConnection, limits=limits)),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=shutdown_seconds,
        ws=GuardedSocket,
        ws_max_size=SOCKET_MESSAGE_BYTES_MAX,
        ws_per_message_deflate=False,  # saves memory for each connection, and time
    )


class Stopping:
    """What SIGINT and SIGTERM do: cancel the start, and once something serves, stop that.

    The first lets running requests finish, the second cuts them off.
    """

    def __init__(self, starting: asyncio.Task[None] | None) -> None:
        self.stop_serving: Callable[[], None] | None = None
        self.is_asked = False
        self._starting = starting

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen for as long as the block runs; the end of the block is not to be disturbed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # the process ends now, in order

    def stop(self) -> None:
        """Do what a signal does."""
        was_asked, self.is_asked = self.is_asked, True
        if self.stop_serving is not None:
            self.stop_serving()
        elif self._starting is not None and not was_asked:
            self._starting.cancel()  # once: the database that was started has to be stopped


async def serve(settings: Settings, options: argparse.Namespace) -> None:
    """Serve until a signal or the end of the demo. `options` are those of the serve command.

    Raises UsageError and whatever the start of the database says; CancelledError when a
    signal came before the API was up.
    """
    stopping = Stopping(asyncio.current_task())
    async with contextlib.AsyncExitStack() as around:
        around.enter_context(stopping.on_signals())
        effective, prices = await around.enter_async_context(replaying(settings, options))
        listener = around.enter_context(listen(effective))
        if effective.is_replay:
            await around.enter_async_context(replay_database(effective))
        async with served(
            effective, stopping, listen=lambda: listener, is_demo=options.demo
        ) as serving:
            url = url_of(listener)
            if options.demo:
                replay_url = effective.bybit_base_url if options.replay is not None else None
                await walk_through(url, serving, settings=effective, replay_url=replay_url)
            else:
                say_where(url, effective, prices)
                await serving
    if not options.demo:
        say_stopped()


@contextlib.asynccontextmanager
async def served(
    settings: Settings,
    stopping: Stopping,
    *,
    listen: Callable[[], socket.socket],
    is_demo: bool,
    worker: int | None = None,
) -> AsyncIterator[asyncio.Task[None]]:
    """An application that answers by the time the block begins, as the task that serves it.

    It is asked to stop when the block ends. `listen` is called once everything else is open;
    `worker` is this process's number where there are several.
    """
    app = create_app(settings, worker=worker)
    # Not by uvicorn, which would turn an error of the start into a traceback.
    async with app.router.lifespan_context(app):
        if is_demo:  # nobody keeps the demo's password: it must not administer anything
            resources: Resources = app.state.resources
            rule = replace(resources.registration, makes_administrator=False)
            app.state.resources = replace(resources, registration=rule)
        server = Server(
            server_config(
                app,
                limits=ConnectionLimits(connections=_connections_max(settings)),
                shutdown_seconds=settings.shutdown_seconds,
            ),
            end_streams=app.state.resources.end_streams,
        )
        with listen() as listener:
            stopping.stop_serving = server.stop
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            is_up = asyncio.create_task(server.up.wait())
            await asyncio.wait({serving, is_up}, return_when=asyncio.FIRST_COMPLETED)
            is_up.cancel()
            spare_the_collector()
            try:
                yield serving
            finally:
                server.should_exit = True
                await serving


def _connections_max(settings: Settings) -> int:
    """As many as asked for, or as many as this process may open files for."""
    wanted = settings.connections_max + FILES_RESERVED
    files_max, files_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files_max < wanted:
        is_unlimited = files_limit == resource.RLIM_INFINITY
        files_max = wanted if is_unlimited else min(wanted, files_limit)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_limit))
    return max(1, min(settings.connections_max, files_max - FILES_RESERVED))


def spare_the_collector() -> None:
    """Keep what was built at the start out of every later garbage collection.

    Modules, routes and models live as long as the process; to look through them all again
    stops every request for as long as it takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_MIN, 20, 20)


def say_where(url: str, settings: Settings, prices: str) -> None:
    """Tell whoever started goblin that it is up, and where."""
    if settings.db_host is None:
        data = f"{settings.data_dir} (kept when goblin stops)"
    else:
        data = f"PostgreSQL at {settings.db_host} port {settings.db_port}, {settings.db_name}"
    if settings.is_replay:
        data += f"; replays have the database {settings.db_name} to themselves"
    where = f"docs    {url}/docs" if settings.docs_enabled else f"api     {url}"
    print(
        f"goblin is up\n  {where}\n  data    {data}\n  prices  {prices}\n  stop    Ctrl-C",
        flush=True,
    )


def say_stopped() -> None:
    """The last line."""
    # On a terminal the cursor stands behind a ^C.
    print("\ngoblin has stopped" if sys.stdout.isatty() else "goblin has stopped", flush=True)


async def walk_through(
    url: str, serving: asyncio.Future[None], *, settings: Settings, replay_url: str | None
) -> None:
    """Walk the demo, unless the server is stopped meanwhile. Raises UsageError."""
    from app.demo import DemoError, walk  # noqa: PLC0415 - only the demo needs it

    walking = asyncio.create_task(
        walk(url, replay_url=replay_url, price_age_seconds=settings.price_max_age_seconds)
    )
    await asyncio.wait({walking, serving}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():  # Ctrl-C
        walking.cancel()
    try:
        await walking
    except asyncio.CancelledError:
        print("the demo was stopped half-way", flush=True)
    except DemoError as error:
        raise UsageError(f"the demo stopped: {error}") from None


def url_of(bound: socket.socket) -> str:
    """Where a browser on this machine finds what listens here."""
    host, port = bound.getsockname()[:2]
    return f"http://{_shown(host)}:{port}"


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def bind(settings: Settings, *, shares_port: bool = False) -> socket.socket:
    """A socket on the address of the settings. Raises UsageError.

    Several that share a port each get their part of its connections once they listen.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        remedy = "Choose an address of this machine: --host 127.0.0.1, or 0.0.0.0 for all of them"
        if error.errno == errno.EADDRINUSE:
            remedy = "Stop what uses it, or choose another: --port 8001"
        elif error.errno == errno.EACCES:
            remedy = "Ports below 1024 are the system's; choose another: --port 8001"
        raise UsageError(
            f"cannot listen on {settings.host} port {settings.port}: "
            f"{(error.strerror or str(error)).lower()}. {remedy}"
        ) from None
    return bound


def listen(settings: Settings, *, shares_port: bool = False) -> socket.socket:
    """A socket that the system takes connections for. Raises UsageError."""
    listener = bind(settings, shares_port=shares_port)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Inherited by every connection. uvicorn closes one only after sending what is left,
        # which a client that stopped reading would put off for ever.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS_MAX)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


@contextlib.asynccontextmanager
async def replaying(
    settings: Settings, options: argparse.Namespace
) -> AsyncIterator[tuple[Settings, str]]:
    """The settings to run with, and in words where prices come from. Raises UsageError."""
    if options.replay is None:
        for flag in ("start", "speed"):
            if getattr(options, flag) is not None:
                raise UsageError(f"--{flag} goes with --replay")
        is_binance = settings.price_source == "binance"
        venue = settings.binance_api_url if is_binance else settings.bybit_base_url
        host = urlsplit(venue).hostname  # alone: an address may carry a password
        if settings.is_replay and (is_binance or host not in LOOPBACK):
            raise UsageError(
                f"the database {settings.db_name} is for replays, and {host} is none: add "
                "--replay, or choose a DB_NAME that does not end in _replay"
            )
        yield settings, f"{settings.price_source} at {host}"
        return
    from app.replay import ReplayError, replay  # noqa: PLC0415 - only --replay needs it

    try:
        async with replay(
            Path(options.replay) if options.replay else None,
            start=options.start,
            speed=options.speed,
        ) as exchange:
            effective = settings.for_replay().model_copy(
                update={
                    "bybit_base_url": exchange.base_url,
                    "bybit_stream_url": exchange.stream_url,
                    "price_source": "bybit",
                }
            )
            yield effective, f"replay exchange at {exchange.base_url}, {exchange.description}"
    except ReplayError as error:
        raise UsageError(str(error)) from None


@contextlib.asynccontextmanager
async def replay_database(settings: Settings) -> AsyncIterator[None]:
    """A replay's own database, up to date and without any market of before.

    Raises DatabaseNotUsable, also while another replay uses it, and what migrations raise.
    """
    async with open_address(settings) as address, sole_replay(address):
        await migrate(address, PROJECT / "db" / "migration")
        async with open_database(address, pool_size=2) as db:
            await forget_market(db)
        yield
