"""Starting, adopting, watching and stopping the server of one data folder."""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from app.db.address import DatabaseAddress
from app.db.embedded.cluster import SUPERUSER
from app.db.embedded.errors import OWN_DATABASE_REMEDY, EmbeddedPostgresError
from app.db.embedded.launch import DEFAULT_PORT, LOOPBACK, TcpAccess, launch, single_user
from app.db.embedded.locks import Locks
from app.db.embedded.log import ServerLog
from app.db.embedded.places import Places
from app.db.embedded.probe import (
    HAS_PROCESS_TITLES,
    Answer,
    Busy,
    accepts_connections,
    ask,
    read_pid_file,
    server_processes,
)
from app.db.errors import DRIVER_ERRORS

START_SECONDS_MAX: Final = 600.0
"""Crash recovery of a large database may take minutes; it is never cut short sooner."""

ORPHAN_SECONDS_MAX: Final = 3.0
"""How long processes without a socket may take to end by themselves."""

OBSTACLE_SECONDS_MAX: Final = 30.0
STOP_STEPS: Final = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
RESTART_SECONDS_MAX: Final = 30.0
STEADY_SECONDS: Final = 60.0
START_TIME_SECONDS_MAX: Final = 30.0
"""Between writing postmaster.pid and what pg_postmaster_start_time() tells; usually 0.01."""

_OBSTACLES: Final = (
    "pre-existing shared memory block",
    'lock file "postmaster.pid" already exists',
)

_log = logging.getLogger(__name__)


class Server:
    """The server of one data folder, as one of its users sees it.

    All methods but `watch` want the caller to hold the control lock.
    """

    def __init__(
        self,
        places: Places,
        *,
        database: str,
        settings: Mapping[str, str],
        tcp: TcpAccess | None = None,
    ) -> None:
        self._places = places
        self._database = database
        self._settings = settings
        self._tcp = tcp
        self._port = tcp.port if tcp else DEFAULT_PORT
        self._listen_addresses = LOOPBACK if tcp else ""
        self._child: subprocess.Popen[bytes] | None = None
        self._log = ServerLog(places.log_file)
        self._sentinel: Any = None
        self._lost = asyncio.Event()

    @property
    def address(self) -> DatabaseAddress:
        """Where to connect once `bring_up` has returned."""
        return DatabaseAddress(
            host=str(self._places.socket_dir),
            port=self._port,
            database=self._database,
            user=SUPERUSER,
        )

    async def bring_up(self) -> None:
        """Adopt the server that answers, else start one; return when it serves the database."""
        began = silent_since = monotonic()
        self._log.mark()
        former = self._child  # it has served before; how it ended is no failure to start
        busy = Busy("nothing answered")
        while True:
            if not self._is_child_starting():
                match await self._ask():
                    case Answer() as answer if await self._adopt(answer):
                        return
                    case Answer():
                        busy = Busy("it went away again")
                    case Busy() as busy:
                        silent_since = monotonic()
                    case None if self._child in {None, former}:
                        await self._begin(silent_seconds=monotonic() - silent_since)
            waited = monotonic() - began
            self._bury_child(former, may_retry=waited < OBSTACLE_SECONDS_MAX)
            if waited > START_SECONDS_MAX:
                raise self._log.error(
                    f"it did not serve within {waited:.0f} seconds ({busy.reason})",
                    remedy="read the log; if it recovers from a crash, start again and wait",
                )
            if waited > 1:
                self._log.show()
            await asyncio.sleep(0.005 if waited < 1 else 0.1)

    async def watch(self, locks: Locks) -> None:
        """Bring the server back whenever it goes away, until cancelled."""
        pause = 0.0
        while True:
            up_since = monotonic()
            await self._lost.wait()
            self._lost.clear()
            pause = 0.0 if monotonic() - up_since > STEADY_SECONDS else pause
            _log.warning("the embedded PostgreSQL went away; bringing it back")
            while self._sentinel is None:
                await asyncio.sleep(pause)
                pause = min(RESTART_SECONDS_MAX, pause * 2 or 0.1)
                try:
                    async with locks.control():
                        await self.bring_up()
                except (EmbeddedPostgresError, *DRIVER_ERRORS) as error:
                    _log.error("%s\nTrying again in %.1f seconds.", error, pause)
            _log.warning("the embedded PostgreSQL serves again")

    async def leave(self, *, is_last: bool) -> None:
        """Stop using the server; the last user stops it."""
        sentinel, self._sentinel = self._sentinel, None
        if sentinel:
            sentinel.remove_termination_listener(self._on_lost)
            with suppress(*DRIVER_ERRORS):
                await sentinel.close(timeout=2)
        if is_last:
            await self.stop()
        elif self._child:
            # It serves others now. Somebody has to take its exit status one day.
            threading.Thread(target=self._child.wait, daemon=True).start()
            self._child = None

    async def stop(self) -> None:
        """Stop the server, after making sure that it is ours; no error when none runs."""
        pid = await self._proven_pid()
        if pid is not None:
            await self._end(pid)
        self._child = None
        shutil.rmtree(self._places.socket_dir, ignore_errors=True)

    async def _ask(self) -> Answer | Busy | None:
        return await ask(self._places, port=self._port, database=self._database)

    def _is_child_starting(self) -> bool:
        """Spare the server, and its log, questions that it cannot answer yet."""
        if self._child is None or self._child.poll() is not None:
            return False
        claimed = read_pid_file(self._places.cluster)
        return claimed is not None and claimed.pid == self._child.pid and claimed.is_starting

    async def _begin(self, *, silent_seconds: float) -> None:
        """Nobody listens: start the server as soon as no process of a dead one is left."""
        left = server_processes(self._places)
        if self._child and self._child.poll() is None and self._child.pid not in left:
            left.append(self._child.pid)
        if not left:
            self._clear_stale_pid_file()
            self._spawn()
        elif silent_seconds > ORPHAN_SECONDS_MAX:
            claimed = read_pid_file(self._places.cluster)
            _log.warning("processes %s of a PostgreSQL that cannot be reached: ending them", left)
            if claimed and claimed.pid in left:  # a whole server, but its socket is gone
                await self._end(claimed.pid)
            else:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _clear_stale_pid_file(self) -> None:
        """Delete postmaster.pid: we hold the lock and nobody listens on the socket it names."""
        claimed = read_pid_file(self._places.cluster)
        if claimed and accepts_connections(claimed.socket_dir / f".s.PGSQL.{claimed.port}"):
            raise EmbeddedPostgresError(
                f"a PostgreSQL that goblin did not start there serves {self._places.cluster} "
                f"at {claimed.socket_dir}",
                remedy=f"stop it (kill -INT {claimed.pid}), then start goblin again",
            )
        path = self._places.cluster / "postmaster.pid"
        if path.exists():
            _log.info("the last PostgreSQL was killed; it recovers now")
            path.unlink()

    def _spawn(self) -> None:
        self._log.mark()
        self._child = launch(
            self._places,
            settings=self._settings,
            port=self._port,
            listen_addresses=self._listen_addresses,
        )

    async def _adopt(self, answer: Answer) -> bool:
        """Use the server that answered from now on; False when it has gone away meanwhile."""
        connection = answer.connection
        try:
            self._check(answer)
            await self._provide(answer)
        except DRIVER_ERRORS as error:
            went_away = connection.is_closed()
            connection.terminate()
            if went_away:
                return False
            raise self._log.error(
                f"cannot make the database {self._database}: {error}",
                remedy=f"mend what it names, most often a full disk, {OWN_DATABASE_REMEDY}",
            ) from error
        except BaseException:
            connection.terminate()
            raise
        if connection.is_closed():  # it would tell nobody any more
            return False
        # The server may be another user's, with a port open: bring it back as it was.
        self._port, self._listen_addresses = answer.port, answer.listen_addresses
        self._lost.clear()
        self._sentinel = connection
        connection.add_termination_listener(self._on_lost)
        return True

    async def _provide(self, answer: Answer) -> None:
        if not answer.has_database:
            quoted = '"' + self._database.replace('"', '""') + '"'
            await answer.connection.execute(f"CREATE DATABASE {quoted}")
        if self._tcp:
            change = await answer.connection.fetchval(
                "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)",
                SUPERUSER,
                self._tcp.password,
            )
            await answer.connection.execute(change)

    def _check(self, answer: Answer) -> None:
        for statement in answer.lossy_overrules_undone_by:
            raise EmbeddedPostgresError(
                "synchronous_commit is switched off: a confirmed order could be lost",
                remedy="with goblin stopped, run\n" + single_user(self._places, statement),
            )
        if answer.lossy_settings:
            raise EmbeddedPostgresError(
                f"{', '.join(answer.lossy_settings)} is off: a confirmed order could be lost",
                remedy="stop whoever started this server in goblin's place, then start again",
            )
        wanted = (self._tcp.port, LOOPBACK) if self._tcp else None
        if wanted and wanted != (answer.port, answer.listen_addresses):
            raise EmbeddedPostgresError(
                f"it runs already, without TCP port {wanted[0]}, for another process",
                remedy="stop the other process, or do without the TCP port",
            )

    def _on_lost(self, connection: object) -> None:
        if self._sentinel is connection:
            self._sentinel = None
            self._lost.set()

    async def _proven_pid(self) -> int | None:
        """The server's process, proven to be ours; None when none runs."""
        if self._child and self._child.poll() is None:
            return self._child.pid
        claimed = read_pid_file(self._places.cluster)
        answer = await self._ask()
        if not isinstance(answer, Answer):  # starting, hung or gone: its owner and title decide
            is_ours = claimed and claimed.pid in server_processes(self._places)
            return claimed.pid if claimed and is_ours else None
        await answer.connection.close(timeout=2)
        if claimed:
            apart = answer.started_at.timestamp() - claimed.started_at_epoch_seconds
            if abs(apart) <= START_TIME_SECONDS_MAX:
                return claimed.pid
        raise self._log.error(
            "cannot tell which process it is, so it was not stopped",
            remedy=f"look for `postgres -D {self._places.cluster}` and stop it: kill -INT <pid>",
        )

    async def _end(self, pid: int) -> None:
        for number, seconds in STOP_STEPS:
            if number is not signal.SIGINT:
                _log.warning("the embedded PostgreSQL does not stop; sending %s", number.name)
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if number is signal.SIGKILL:
                with suppress(ProcessLookupError):
                    os.killpg(pid, number)
            deadline = monotonic() + seconds
            while monotonic() < deadline:
                if await self._is_gone(pid):
                    return
                await asyncio.sleep(0.01)
        raise self._log.error(f"process {pid} cannot be ended", remedy="restart the machine")

    async def _is_gone(self, pid: int) -> bool:
        if self._child and self._child.pid == pid:
            return self._child.poll() is not None
        if HAS_PROCESS_TITLES:
            return pid not in server_processes(self._places)
        return not accepts_connections(self._places.socket_dir / f".s.PGSQL.{self._port}")

    def _bury_child(self, former: object, *, may_retry: bool) -> None:
        """Forget a child that has ended; raise when it is one that should have started."""
        if self._child is None or self._child.poll() is None:
            return
        child, self._child = self._child, None
        lines = self._log.lines()
        is_obstructed = any(obstacle in line for line in lines for obstacle in _OBSTACLES)
        if child is former or (is_obstructed and may_retry):
            return  # what a dead server left behind goes away by itself
        raise self._log.error(
            f"the server did not start (exit code {child.returncode})",
            remedy=f"mend what the log names, {OWN_DATABASE_REMEDY}",
        )
