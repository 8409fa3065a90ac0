"""The command line: python -m app serve | backfill | record | migrate | ... (see --help)."""

import signal

if __name__ == "__main__":
    # Ctrl-C while the libraries below are imported: end at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import uvloop
import yaml

from app.backfill import add_arguments, backfill
from app.clients.bybit_stream import CATEGORIES, stream_url_of
from app.core.clock import wall_clock_ms
from app.core.config import PROJECT, Settings, SettingsError, load_settings
from app.core.logging import configure_logging
from app.db.database import Database, open_database
from app.db.embedded import EmbeddedPostgresError
from app.db.migrate import MigrationError, info, migrate, validate
from app.db.reach import DatabaseNotUsable
from app.domain.errors import GoblinError
from app.domain.ids import ID_MAX
from app.domain.instruments import Category, Symbol, is_tradeable, normalize_symbol
from app.domain.ledger import TransferId, TransferMissing
from app.domain.money import format_amount
from app.http.reference import errors_markdown, settings_markdown
from app.main import create_app
from app.resources import open_address
from app.services.audit import audit_everybody
from app.services.corrections import reverse
from app.serving import UsageError, serve
from app.workers import WORKERS_MAX, serve_as_worker, serve_with_workers

RECORDED_MINUTES_MAX: Final = 60 * 24 * 366
REASON_CHARACTERS_MAX: Final = 1000
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
    GoblinError,
)
"""What the user can mend; their texts say how, and a traceback would only hide it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        options.parser.error(f"there is no {' '.join(unknown)} here")
    try:
        code: int | None = options.run(options)
    except EXPECTED_ERRORS as error:
        print(f"goblin: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code or 0


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
        help="prices from recorded candles and trades, or a generated market; no internet needed",
    )
    serve.add_argument("--start", help="with --replay: where its clock starts, ISO 8601")
    serve.add_argument("--speed", type=float, help="with --replay: market seconds per second")
    serve.add_argument("--demo", action="store_true", help="walk the main job, print it, and stop")
    serve.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that serve (default: 1)"
    )
    serve.set_defaults(run=_serve, parser=serve)

    recording = commands.add_parser("record", help="write down what Bybit's streams say")
    recording.add_argument("symbols", nargs="+", metavar="SYMBOL", help="BTCUSDT ETHUSDT")
    recording.add_argument("--to", required=True, type=Path, metavar="FOLDER")
    recording.add_argument("--category", choices=[str(c) for c in CATEGORIES], default="spot")
    recording.add_argument("--minutes", type=float, help="how long (default: until Ctrl-C)")
    recording.set_defaults(run=_record, parser=recording)
    # What `serve --workers` starts: of no use to anybody else, and so without help.
    worker = commands.add_parser("worker")
    worker.add_argument("number", type=int)
    worker.add_argument("lifeline", type=int)
    worker.add_argument("--demo", action="store_true")
    worker.set_defaults(run=_worker, parser=worker)

    writing = commands.add_parser(
        "docs", help="write swagger.yaml, docs/settings.md and docs/errors.md from the code"
    )
    writing.set_defaults(run=_docs, parser=writing)
    made: dict[str, argparse.ArgumentParser] = {}
    for name, run, text in (
        ("migrate", _migrate, "bring the database's schema up to date"),
        ("info", _info, "list the migrations and their state"),
        ("validate", _validate, "compare applied migrations with the files"),
        ("backfill", _backfill, "download candles; goes on where it stopped"),
        ("audit", _audit, "recompute every ledger; exit 1 if one disagrees"),
        ("reverse", _reverse, "correct a mistake by a reversing transfer"),
    ):
        made[name] = command = commands.add_parser(name, help=text)
        command.add_argument(
            "--replay",
            action="store_true",
            help="in the database of replays (default: the one that is served without --replay)",
        )
        command.set_defaults(run=run, parser=command)
    add_arguments(made["backfill"])
    made["reverse"].add_argument("transfer_id", type=int, metavar="TRANSFER_ID")
    made["reverse"].add_argument(
        "--reason", required=True, type=_reason, help="why, for the user to read"
    )
    return parser


def _reason(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > REASON_CHARACTERS_MAX:
        raise argparse.ArgumentTypeError(
            f"expected a line of text, at most {REASON_CHARACTERS_MAX} characters"
        )
    return text


def _serve(options: argparse.Namespace) -> None:
    overrides = {
        key: value
        for key, value in (("host", options.host), ("port", options.port))
        if value is not None
    }
    if not 1 <= options.workers <= WORKERS_MAX:
        raise UsageError(f"--workers is a number from 1 to {WORKERS_MAX}, for example --workers 2")
    settings = load_settings(**overrides)
    _configure_logging(settings, is_demo=options.demo)
    work = (
        serve(settings, options)
        if options.workers == 1
        else serve_with_workers(settings, options, environment=os.environ)
    )
    with contextlib.suppress(asyncio.CancelledError):  # stopped before it was up
        uvloop.run(work)


def _worker(options: argparse.Namespace) -> None:
    settings = load_settings()
    _configure_logging(settings, is_demo=options.demo)
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(serve_as_worker(settings, options))


def _configure_logging(settings: Settings, *, is_demo: bool) -> None:
    is_quiet = is_demo and settings.log_level == "INFO"  # the demo tells what happens
    configure_logging(
        level="WARNING" if is_quiet else settings.log_level, style=settings.log_format
    )


def _record(options: argparse.Namespace) -> int:
    from app.replay.recorder import Recorder, record  # noqa: PLC0415 - only recording needs it

    symbols = _symbols_to_record(options)
    settings = load_settings()
    configure_logging(level="WARNING", style=settings.log_format)
    url = settings.bybit_stream_url or stream_url_of(settings.bybit_base_url)
    if url is None:
        raise UsageError("which stream belongs to BYBIT_BASE_URL? Set BYBIT_STREAM_URL")
    category = Category(options.category)

    async def run(recorder: Recorder) -> None:
        until = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, until.set)
        if options.minutes is not None:
            loop.call_later(options.minutes * 60, until.set)
        shows_progress = sys.stderr.isatty()

        def progress(frames: int) -> None:
            if shows_progress:
                print(f"\rframes: {frames:,}  (Ctrl-C stops)", end="", file=sys.stderr, flush=True)

        host = urlsplit(url).hostname  # alone: an address may carry a password
        print(f"recording {host} to {options.to}", flush=True)
        await record(recorder, url, until=until, progress=progress)

    try:
        recorder = Recorder(symbols, category=category, folder=options.to, now_ms=wall_clock_ms)
        uvloop.run(run(recorder))
    except OSError as error:
        raise UsageError(f"cannot write to {options.to}: {error.strerror}") from None
    if recorder.is_too_early:
        raise UsageError(
            f"what is recorded in {options.to} goes on to a later time than the venue's clock "
            "shows: name another folder with --to"
        )
    for symbol, path in recorder.paths.items():
        print(f"{path}: {recorder.counts[symbol]:,} frames")
    return 0 if all(recorder.counts.values()) else 1


def _symbols_to_record(options: argparse.Namespace) -> list[Symbol]:
    symbols = list(dict.fromkeys(normalize_symbol(text) for text in options.symbols))
    wrong = [symbol for symbol in symbols if not is_tradeable(symbol)]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: no symbol is spelled so; expected BTCUSDT ETHUSDT")
    if options.minutes is not None and not 0 < options.minutes <= RECORDED_MINUTES_MAX:
        raise UsageError(f"--minutes: expected a number above 0, at most {RECORDED_MINUTES_MAX}")
    return symbols


def _migrate(options: argparse.Namespace) -> None:
    async def run(settings: Settings) -> None:
        async with open_address(settings) as address:
            applied = await migrate(address, MIGRATIONS)
        for name in applied:
            print(f"applied {name}")
        if not applied:
            print("the schema is up to date")

    _run_with_settings(options, run)


def _info(options: argparse.Namespace) -> None:
    async def run(settings: Settings) -> None:
        async with open_address(settings) as address:
            rows = await info(address, MIGRATIONS)
        heads = ("Category", "Version", "Description", "Type", "Installed On", "State")
        print(
            _table(
                heads,
                [
                    (
                        row.category,
                        row.version,
                        row.description,
                        row.type,
                        f"{row.installed_on:%Y-%m-%d %H:%M:%S}" if row.installed_on else "",
                        row.state,
                    )
                    for row in rows
                ],
            )
        )

    _run_with_settings(options, run)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    columns = zip(heads, *rows, strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _validate(options: argparse.Namespace) -> None:
    async def run(settings: Settings) -> None:
        async with open_address(settings) as address:
            await validate(address, MIGRATIONS)
        print("the applied migrations and the files agree")

    _run_with_settings(options, run)


def _audit(options: argparse.Namespace) -> int:
    users = entries = found = 0

    async def run(settings: Settings) -> None:
        nonlocal users, entries, found
        shows_progress = sys.stderr.isatty()
        async with _open_migrated(settings) as db:
            async for part in audit_everybody(db):
                users += part.users.users
                entries += part.entries
                found += len(part.discrepancies)
                for discrepancy in part.discrepancies:
                    print(discrepancy.text, flush=True)
                if shows_progress:
                    progress = f"\raudited users: {users:,}, entries: {entries:,}"
                    print(progress, end="", file=sys.stderr, flush=True)
        if shows_progress:
            print(file=sys.stderr)

    _run_with_settings(options, run)
    verdict = f"discrepancies: {found:,}" if found else "the ledger agrees"
    print(f"audited users: {users:,}, entries: {entries:,}. {verdict}")
    return 1 if found else 0


def _reverse(options: argparse.Namespace) -> None:
    if not 1 <= options.transfer_id <= ID_MAX:
        raise TransferMissing(options.transfer_id)

    async def run(settings: Settings) -> None:
        async with _open_migrated(settings) as db:
            done = await reverse(
                db,
                transfer_id=TransferId(options.transfer_id),
                reason=options.reason,
                request_id=f"reverse-{secrets.token_hex(8)}",
            )
        amount = format_amount(done.reversed_transfer.transfer.amount)
        balance = format_amount(done.user.balance)
        print(f"reversed transfer {options.transfer_id} ({amount}) of user {done.user.id}")
        print(f"the balance is {balance} now")

    _run_with_settings(options, run)


def _backfill(options: argparse.Namespace) -> int:
    code = 0

    async def run(settings: Settings) -> None:
        nonlocal code
        code = await backfill(settings, options)

    _run_with_settings(options, run)
    return code


@contextlib.asynccontextmanager
async def _open_migrated(settings: Settings) -> AsyncIterator[Database]:
    async with open_address(settings) as address:
        await validate(address, MIGRATIONS)
        async with open_database(address, pool_size=2) as db:
            yield db


def _docs(_: argparse.Namespace) -> None:
    for name, text in documents().items():
        target = PROJECT / name
        target.write_text(text, encoding="utf-8")
        print(f"wrote {target}")


def documents() -> dict[str, str]:
    """The documents that are made from the code, by their path in the project."""
    schema = create_app(Settings(_env_file=None)).openapi()
    # Through JSON, so that no anchor stands for a part that two places share.
    plain = json.loads(json.dumps(schema))
    return {
        "swagger.yaml": yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100),
        "docs/settings.md": settings_markdown(),
        "docs/errors.md": errors_markdown(schema),
    }


def _run_with_settings(
    options: argparse.Namespace, run: Callable[[Settings], Coroutine[Any, Any, None]]
) -> None:
    settings = load_settings()
    if options.replay:
        settings = settings.for_replay()
    configure_logging(level="WARNING", style=settings.log_format)
    uvloop.run(run(settings))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
