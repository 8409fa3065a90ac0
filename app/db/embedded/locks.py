"""Two lock files beside the data folder decide who starts and who stops the server.

`<name>.lock`   held alone while somebody starts, adopts or stops the server
`<name>.users`  held together by everybody who uses it; who can have it alone was the last

The kernel drops both when a process dies, however it dies, so a `kill -9` leaves no trace
that a later process could misread.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from app.db.embedded.errors import OWN_DATABASE_REMEDY, EmbeddedPostgresError

LOCK_SECONDS_MAX: Final = 900.0
"""Longer than another process may take to start (crash recovery) and stop the server."""

_POLL_SECONDS: Final = 0.01
_EXPLAIN_AFTER_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class Locks:
    """The lock files of one data folder, for one user of the server."""

    def __init__(self, data_dir: Path) -> None:
        self._control = data_dir.with_name(f"{data_dir.name}.lock")
        self._users = data_dir.with_name(f"{data_dir.name}.users")
        self._membership: int | None = None

    @asynccontextmanager
    async def control(self) -> AsyncIterator[int]:
        """Hold the right to start and stop; yields the locked file descriptor.

        Polls instead of blocking, so that two users within one event loop cannot deadlock.
        """
        descriptor = await self._locked_control()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def join(self) -> None:
        """Count as a user of the server until `leave`. Call it under `control`."""
        assert self._membership is None
        self._membership = _opened(self._users)
        # Only `leave` ever takes it alone, and it does so under `control`: no wait.
        fcntl.flock(self._membership, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def leave(self) -> bool:
        """Stop counting, and return whether nobody else does. Call it under `control`."""
        assert self._membership is not None
        descriptor, self._membership = self._membership, None
        try:
            return _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def is_used(self) -> bool:
        """Whether any process uses the server. Call it under `control`."""
        self.join()
        return not self.leave()

    def remove(self) -> None:
        """Delete the lock files. Call it under `control`, with no user left."""
        for path in (self._users, self._control):
            path.unlink(missing_ok=True)

    async def _locked_control(self) -> int:
        began, explained = monotonic(), False
        while True:
            descriptor = _opened(self._control)
            if _try_lock(descriptor):
                if _is_still_at(self._control, descriptor):
                    return descriptor
                os.close(descriptor)  # the data folder was deleted meanwhile: lock the new file
                continue
            os.close(descriptor)
            waited = monotonic() - began
            if waited > LOCK_SECONDS_MAX:
                raise EmbeddedPostgresError(
                    f"another process has been starting or stopping it for {waited:.0f} seconds",
                    remedy=f"find out who holds {self._control} (fuser, lsof) and end it",
                )
            if waited > _EXPLAIN_AFTER_SECONDS and not explained:
                explained = True
                _log.info("another process starts or stops the embedded PostgreSQL; waiting")
            await asyncio.sleep(_POLL_SECONDS)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"cannot write {path}: {error.strerror}",
            remedy="run goblin as the user who started it first, free some space, or set "
            f"DATA_DIR to a folder that you may write, {OWN_DATABASE_REMEDY}",
        ) from error


def _try_lock(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
