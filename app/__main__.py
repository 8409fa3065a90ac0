"""The command line: python -m app serve | migrate | info | validate | openapi."""

import signal

if __name__ == "__main__":
    # Ctrl-C while the libraries below are imported: end at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

import yaml

from app.core.config import PROJECT, Settings, SettingsError, load_settings
from app.core.logging import configure_logging
from app.db.embedded import EmbeddedPostgresError
from app.db.migrate import MigrationError, info, migrate, validate
from app.db.reach import DatabaseNotUsable
from app.main import create_app
from app.resources import open_address
from app.serving import UsageError, serve

MIGRATIONS: Final = PROJECT / "db" / "migration"


class Parser(argparse.ArgumentParser):
    """Answers a mistake with the whole help, not with a line of usage."""

    def error(self, message: str) -> NoReturn:
        """Print the help and the mistake, and leave."""
        self.print_help(sys.stderr)
        self.exit(2, f"\ngoblin: {message}\n")


EXPECTED_ERRORS: Final = (
    SettingsError,
    UsageError,
    DatabaseNotUsable,
    EmbeddedPostgresError,
    MigrationError,
)
"""What the user can mend; their texts say how, and a traceback would only hide it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        options.parser.error(f"there is no {' '.join(unknown)} here")
    try:
        options.run(options)
    except EXPECTED_ERRORS as error:
        print(f"goblin: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m app", description="A self-hosted trading sandbox.")
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
    serve.set_defaults(run=_serve, parser=serve)

    for name, run, text in (
        ("migrate", _migrate, "bring the database's schema up to date"),
        ("info", _info, "list the migrations and their state"),
        ("validate", _validate, "compare applied migrations with the files"),
        ("openapi", _openapi, "write swagger.yaml from the application"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run, parser=command)
    return parser


def _serve(options: argparse.Namespace) -> None:
    overrides = {
        key: value
        for key, value in (("host", options.host), ("port", options.port))
        if value is not None
    }
    settings = load_settings(**overrides)
    is_quiet = options.demo and settings.log_level == "INFO"  # the demo tells what happens
    configure_logging(
        level="WARNING" if is_quiet else settings.log_level, style=settings.log_format
    )
    with contextlib.suppress(asyncio.CancelledError):  # stopped before it was up
        _run(serve(settings, options))


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
        heads = ("Category", "Version", "Description", "Installed on", "State")
        print(
            _table(
                heads,
                [
                    (
                        row.category,
                        row.version,
                        row.description,
                        f"{row.installed_on:%Y-%m-%d %H:%M:%S}" if row.installed_on else "",
                        row.state,
                    )
                    for row in rows
                ],
            )
        )

    _run_with_settings(run)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    columns = zip(heads, *rows, strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


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
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
