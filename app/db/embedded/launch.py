"""The one command line that goblin starts PostgreSQL with, and what it is never given."""

import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.db.embedded.errors import OWN_DATABASE_REMEDY, EmbeddedPostgresError
from app.db.embedded.places import Places, binaries_for, make_socket_dir

DEFAULT_PORT: Final = 5432
MAINTENANCE_DATABASE: Final = "postgres"
LOOPBACK: Final = "127.0.0.1"
LOG_BYTES_MAX: Final = 10_000_000

DURABLE: Final[Mapping[str, str]] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}
"""Given on the command line, which no configuration file and no ALTER SYSTEM overrules."""

_OWNED: Final = frozenset(
    {*DURABLE, "port", "listen_addresses", "unix_socket_directories", "unix_socket_permissions"}
    | {"cluster_name", "data_directory", "hba_file", "config_file"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAccess:
    """A port on 127.0.0.1 for clients that cannot speak through a Unix socket."""

    port: int
    password: str = field(repr=False)


def refuse_owned(names: Iterable[str]) -> None:
    """Raise when one of these server parameters is goblin's own to set."""
    owned = sorted(_OWNED & {name.lower().replace("-", "_") for name in names})
    if owned:
        raise EmbeddedPostgresError(
            f"the settings {', '.join(owned)} are goblin's own",
            remedy="leave them out; for a TCP port pass `tcp`",
        )


def launch(
    places: Places, *, settings: Mapping[str, str], port: int, listen_addresses: str
) -> subprocess.Popen[bytes]:
    """Start the server; it goes on starting after this has returned."""
    try:
        make_socket_dir(places.socket_dir, places.account)
        if listen_addresses:
            _refuse_open_hosts(places.cluster / "pg_hba.conf")
        all_settings = {
            **settings,
            **DURABLE,
            "cluster_name": places.cluster_name,
            "listen_addresses": listen_addresses,
            "port": str(port),
            "unix_socket_directories": str(places.socket_dir),
            "unix_socket_permissions": "0700",
        }
        command: list[str | Path] = [binaries_for(places.account) / "postgres"]
        command += ["-D", places.cluster]
        command += [f"--{name}={value}" for name, value in all_settings.items()]
        log = _opened_log(places.log_file)
        try:
            return subprocess.Popen(  # noqa: S603  our own command
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                **places.account.process_arguments(),
            )
        finally:
            os.close(log)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"cannot start the server: {error.filename}: {error.strerror}",
            remedy=f"free some space or mend the permissions, {OWN_DATABASE_REMEDY}",
        ) from error


def single_user(places: Places, statement: str) -> str:
    """A shell command that runs one SQL statement while no server runs."""
    command = [str(binaries_for(places.account) / "postgres")]
    command += ["--single", "-D", str(places.cluster), MAINTENANCE_DATABASE]
    account = places.account
    if account.uid != os.geteuid():
        command[:0] = ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}"]
        command.insert(3, "--clear-groups")
    return f"echo {shlex.quote(statement)} | {shlex.join(command)}"


def _opened_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.rename(f"{path}.1")
    # Private: an error's detail may quote what a user has stored.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _refuse_open_hosts(rules: Path) -> None:
    """Refuse to open a port that lets anybody in without a password."""
    for line in rules.read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] == "local" or {"scram-sha-256", "reject"} & set(words[3:]):
            continue
        raise EmbeddedPostgresError(
            f"{rules} lets clients in without a password: {line.strip()}",
            remedy="let every `host` line demand scram-sha-256, or do not ask for a TCP port",
        )
