"""Password hashing that no request has to wait for but the one that needs it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from app.core.config import PASSWORD_ROUNDS
from app.core.security import (
    can_verify,
    check_password_hashing,
    hash_password,
    verify_password,
)
from app.domain.errors import Unavailable

THREADS_MAX: Final = 8
"""Below the failed logins that an account may have: what is being checked counts as failed until
it is known better, and many right passwords at once must not look like guessing."""

WAITING_MAX: Final = 64
"""How many may wait for their turn; at a quarter of a second each, the last for some seconds."""

T = TypeVar("T")


class PasswordsBusy(Unavailable):
    """More passwords wait to be checked than could be in reasonable time."""

    code = "passwords_busy"

    def __init__(self) -> None:
        super().__init__("too many passwords are being checked just now: try again in a moment")


class PasswordHasher:
    """Hashes on threads of its own, as many at once as there are cores.

    bcrypt releases the interpreter's lock, so the event loop keeps serving meanwhile. Whoever
    would wait too long for a thread is told so at once, by PasswordsBusy.
    """

    def __init__(
        self,
        *,
        rounds: int = PASSWORD_ROUNDS,
        threads: int | None = None,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._hash = partial(hash_password, rounds=rounds)
        self._verify = partial(verify_password, rounds=rounds)
        threads = threads or min(os.cpu_count() or 1, THREADS_MAX)
        self.hashes_begun = 0
        """How many passwords were hashed or checked so far."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._turns = asyncio.Semaphore(threads)
        self._waiting = 0
        self._waiting_max = waiting_max
        self._decoy_hash: str | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one of the threads and keep it for the block. Raises PasswordsBusy."""
        if self._turns.locked() and self._waiting >= self._waiting_max:
            raise PasswordsBusy
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def hash(self, password: str) -> str:
        """A new hash of the password. Raises PasswordsBusy."""
        async with self.turn():
            return await self._run(self._hash, password)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Whether the password is right, and a renewed hash if the old scheme is outdated.

        Only within a `turn`. Without a hash that can be checked (no such user) the same work
        is done against a decoy, so that the time to answer does not tell which e-mails are
        registered.
        """
        if hashed is None or not can_verify(password, hashed):
            await self._run(self._verify, password, await self._decoy())
            return False, None
        return await self._run(self._verify, password, hashed)

    async def prepare(self) -> None:
        """Test the hashing and make the decoy, so that the first unknown e-mail is not slower.

        Raises RuntimeError when the hashing libraries do not fit together.
        """
        await self._run(check_password_hashing)
        await self._decoy()

    def close(self) -> None:
        """Stop the threads; running hashes finish, waiting ones do not start."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _decoy(self) -> str:
        if self._decoy_hash is None:
            self._decoy_hash = await self._run(self._hash, "nobody's password")
        return self._decoy_hash

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        self.hashes_begun += 1
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, work, *arguments)
