"""The command line: python -m app serve | migrate | info | validate | openapi."""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn
import yaml

from app.core.config import PROJECT, Settings, SettingsError, load_settings
from app.core.logging import configure_logging
from app.db.embedded import EmbeddedPostgresError
from app.db.migrate import MigrationError, info, migrate, validate
from app.main import create_app
from app.resources import open_address

MIGRATIONS: Final = PROJECT / "db" / "migration"
SHUTDOWN_SECONDS_MAX: Final = 10
BACKLOG: Final = 2048


class UsageError(Exception):
    """The command cannot be carried out as asked; the text says what would work."""


class Server(uvicorn.Server):
    """uvicorn, stopped by SIGINT and SIGTERM without passing the signal on.

    uvicorn raises the signal again once it has stopped, which would cut off what stands
    around the server (the replay exchange) and make an orderly end look like a crash.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when requests are answered."""
        await super().startup(sockets)
        if self.started:
            self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ask for an orderly end at the first signal, for a quick one at the second."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (SettingsError, UsageError, EmbeddedPostgresError, MigrationError) as error:
        print(f"goblin: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="goblin", description="A self-hosted trading sandbox.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the API (the default of scripts/run)")
    serve.add_argument("--host", help="address to listen on (default: HOST or 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default: PORT or 8000)")
    serve.add_argument(
        "--replay",
        nargs="?",
        const="",
        metavar="FILE|FOLDER",
        help="prices from recorded candles, or from a generated market; no internet needed",
    )
    serve.add_argument("--start", help="with --replay: where its clock starts, ISO 8601")
    serve.add_argument("--speed", type=float, help="with --replay: market seconds per second")
    serve.add_argument("--demo", action="store_true", help="walk the main job, print it, and stop")
    serve.set_defaults(run=_serve)

    for name, run, text in (
        ("migrate", _migrate, "bring the database's schema up to date"),
        ("info", _info, "list the migrations and their state"),
        ("validate", _validate, "compare applied migrations with the files"),
        ("openapi", _openapi, "write swagger.yaml from the application"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
    return parser


def _serve(options: argparse.Namespace) -> None:
    overrides = {
        key: value
        for key, value in (("host", options.host), ("port", options.port))
        if value is not None
    }
    settings = load_settings(**overrides)
    configure_logging(level=settings.log_level, style=settings.log_format)
    _run(_serving(settings, options))


async def _serving(settings: Settings, options: argparse.Namespace) -> None:
    async with _replaying(settings, options) as effective:
        listener = _listen(effective)
        host, port = listener.getsockname()[:2]
        config = uvicorn.Config(
            create_app(effective),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
        )
        server = Server(config)
        url = f"http://{_shown(host)}:{port}"
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        is_up = asyncio.create_task(server.up.wait())
        await asyncio.wait({serving, is_up}, return_when=asyncio.FIRST_COMPLETED)
        is_up.cancel()
        if server.up.is_set():
            print(f"goblin is up: {url}/docs (Ctrl-C stops it)", flush=True)
            if options.demo:
                replay_url = effective.bybit_base_url if options.replay is not None else None
                await _walk(url, server, replay_url)
        await serving
        if not server.up.is_set():
            raise UsageError("the API did not start; the lines above say why")


async def _walk(url: str, server: Server, replay_url: str | None) -> None:
    from app.demo import DemoError, walk  # noqa: PLC0415 - only the demo needs it

    try:
        await walk(url, replay_url=replay_url)
    except DemoError as error:
        raise UsageError(f"the demo stopped: {error}") from None
    finally:
        server.should_exit = True


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {settings.host} port {settings.port}: "
            f"{(error.strerror or str(error)).lower()}. "
            "Stop what uses it, or choose another: --port 8001"
        ) from None
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


@contextlib.asynccontextmanager
async def _replaying(settings: Settings, options: argparse.Namespace) -> AsyncIterator[Settings]:
    if options.replay is None:
        for flag in ("start", "speed"):
            if getattr(options, flag) is not None:
                raise UsageError(f"--{flag} goes with --replay")
        yield settings
        return
    from app.replay import ReplayError, replay  # noqa: PLC0415 - only --replay needs it

    try:
        async with replay(
            Path(options.replay) if options.replay else None,
            start=options.start,
            speed=options.speed,
        ) as exchange:
            print(f"replay exchange: {exchange.base_url} ({exchange.description})", flush=True)
            yield settings.model_copy(
                update={"bybit_base_url": exchange.base_url, "price_source": "bybit"}
            )
    except ReplayError as error:
        raise UsageError(str(error)) from None


def _migrate(_: argparse.Namespace) -> None:
    async def run(settings: Settings) -> None:
        async with open_address(settings) as address:
            applied = await migrate(address, MIGRATIONS)
        for name in applied:
            print(f"applied {name}")
        if not applied:
            print("the schema is up to date")

    _run_with_settings(run)


def _info(_: argparse.Namespace) -> None:
    async def run(settings: Settings) -> None:
        async with open_address(settings) as address:
            rows = await info(address, MIGRATIONS)
        for row in rows:
            print(row)

    _run_with_settings(run)


def _validate(_: argparse.Namespace) -> None:
    async def run(settings: Settings) -> None:
        async with open_address(settings) as address:
            await validate(address, MIGRATIONS)
        print("the applied migrations and the files agree")

    _run_with_settings(run)


def _openapi(_: argparse.Namespace) -> None:
    target = PROJECT / "swagger.yaml"
    target.write_text(openapi_yaml())
    print(f"wrote {target}")


def openapi_yaml() -> str:
    """The application's own description of itself, as swagger.yaml holds it."""
    schema = create_app(Settings(_env_file=None)).openapi()
    text: str = yaml.safe_dump(schema, sort_keys=False, allow_unicode=True, width=100)
    return text


def _run_with_settings(run: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    settings = load_settings()
    configure_logging(level="WARNING", style=settings.log_format)
    _run(run(settings))


def _run(work: Coroutine[Any, Any, None]) -> None:
    if os.name == "nt":
        asyncio.run(work)
        return
    import uvloop  # noqa: PLC0415 - not on Windows

    uvloop.run(work)


if __name__ == "__main__":
    sys.exit(main())
