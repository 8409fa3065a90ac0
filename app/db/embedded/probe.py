"""Asking what runs: by connecting, never by a process id.

A process id in a file may be stale, or by now belong to somebody else. What answers on the
socket in our private folder is the server, and it tells which data it serves. Titles of
processes are read only to learn what a dead or hung server has left behind.
"""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from app.db.embedded.cluster import SUPERUSER
from app.db.embedded.errors import EmbeddedPostgresError
from app.db.embedded.launch import MAINTENANCE_DATABASE
from app.db.embedded.places import Places
from app.db.errors import DRIVER_ERRORS

CONNECT_SECONDS_MAX: Final = 5.0
HAS_PROCESS_TITLES: Final = Path("/proc/self/cmdline").exists()

_WHO_ARE_YOU: Final = r"""
SELECT current_setting('data_directory') AS data_directory,
       current_setting('port')::int AS port,
       current_setting('listen_addresses') AS listen_addresses,
       pg_postmaster_start_time() AS started_at,
       ARRAY(
           SELECT name
             FROM pg_settings
            WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting <> 'on'
       ) AS lossy_settings,
       ARRAY(
           SELECT CASE
                      WHEN datname IS NULL AND rolname IS NULL THEN 'ALTER ROLE ALL'
                      WHEN rolname IS NULL THEN format('ALTER DATABASE %I', datname)
                      WHEN datname IS NULL THEN format('ALTER ROLE %I', rolname)
                      ELSE format('ALTER ROLE %I IN DATABASE %I', rolname, datname)
                  END || ' RESET synchronous_commit'
             FROM pg_db_role_setting AS overrule
             JOIN unnest(setconfig) AS line
               ON line LIKE 'synchronous\_commit=%' AND line <> 'synchronous_commit=on'
             LEFT JOIN pg_database ON pg_database.oid = overrule.setdatabase
             LEFT JOIN pg_roles ON pg_roles.oid = overrule.setrole
       ) AS lossy_overrules_undone_by,
       EXISTS (SELECT FROM pg_database WHERE datname = $1) AS has_database
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server of our cluster, with an open connection to its maintenance database."""

    connection: Any  # asyncpg has no types
    port: int
    listen_addresses: str
    started_at: datetime
    lossy_settings: list[str]
    lossy_overrules_undone_by: list[str]
    has_database: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """Something listens and cannot serve yet: it recovers, shuts down, or is full."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PidFile:
    """What postmaster.pid claims. A hint, to be believed only after a proof."""

    pid: int
    started_at_epoch_seconds: int
    port: int
    socket_dir: Path
    is_starting: bool


async def ask(places: Places, *, port: int, database: str) -> Answer | Busy | None:
    """Who answers on our socket; None when nobody listens. The caller closes the connection.

    `port` is the last part of the socket's name, used when no postmaster.pid tells it.
    """
    claimed = read_pid_file(places.cluster)
    port = claimed.port if claimed else port
    try:
        connection = await asyncpg.connect(
            host=str(places.socket_dir),
            port=port,
            user=SUPERUSER,
            database=MAINTENANCE_DATABASE,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=60,
            server_settings={
                "application_name": "goblin supervisor",
                "idle_session_timeout": "0",  # it waits on purpose
            },
        )
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise EmbeddedPostgresError(
            f"the server at {places.socket_dir} refuses goblin: {error}",
            remedy=f"let {places.cluster}/pg_hba.conf begin with `local all all trust`",
        ) from error
    except DRIVER_ERRORS as error:
        return Busy(f"{type(error).__name__}: {error}")
    try:
        row = await connection.fetchrow(_WHO_ARE_YOU, database)
    except DRIVER_ERRORS as error:
        connection.terminate()
        return Busy(f"{type(error).__name__}: {error}")
    except BaseException:
        connection.terminate()
        raise
    served = row["data_directory"]
    if not _is_same_folder(served, places.cluster):
        connection.terminate()
        raise EmbeddedPostgresError(
            f"the server at {places.socket_dir} serves {served}, not {places.cluster}",
            remedy="stop that server, then start goblin again",
        )
    return Answer(
        connection=connection,
        port=row["port"],
        listen_addresses=row["listen_addresses"],
        started_at=row["started_at"],
        lossy_settings=row["lossy_settings"],
        lossy_overrules_undone_by=row["lossy_overrules_undone_by"],
        has_database=row["has_database"],
    )


def read_pid_file(cluster: Path) -> PidFile | None:
    """Read postmaster.pid; None when it is absent, being written or damaged."""
    with suppress(FileNotFoundError, ValueError, IndexError):
        text = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape")
        lines = text.split("\n")
        return PidFile(
            pid=abs(int(lines[0])),  # negative for a single-user server
            started_at_epoch_seconds=int(lines[2]),
            port=int(lines[3]),
            socket_dir=Path(lines[4]),
            is_starting=lines[7:8] == [] or lines[7].strip() in {"", "starting"},
        )
    return None


def server_processes(places: Places) -> list[int]:
    """The live processes of our cluster, server and orphans, by owner and title.

    Empty where there is no /proc; there PostgreSQL's own check of its shared memory has to
    do. The title and not the working folder, because a container's root may not see that.
    """
    if not HAS_PROCESS_TITLES:
        return []
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if _is_of(pid, places)]


def accepts_connections(path: Path) -> bool:
    """Whether anything listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_SECONDS_MAX)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _is_of(pid: int, places: Places) -> bool:
    process = Path("/proc", str(pid))
    try:
        if process.stat().st_uid != places.account.uid:
            return False
        title = (process / "cmdline").read_bytes()  # empty for a zombie
    except OSError:  # it has just ended
        return False
    words = title.split(b"\0")
    is_server = words[0].endswith(b"/postgres") and os.fsencode(places.cluster) in words
    return is_server or title.startswith(f"postgres: {places.cluster_name}: ".encode())


def _is_same_folder(one: str, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)  # noqa: PTH121  the server's own words, maybe no path
    except OSError:
        return False
