"""Password hashing that no request has to wait for but the one that needs it."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.core.security import check_password_hashing, hash_password, verify_password

T = TypeVar("T")


class PasswordHasher:
    """Hashes on threads of its own, as many at once as there are cores.

    bcrypt releases the interpreter's lock, so the event loop keeps serving meanwhile.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(
            max_workers=os.cpu_count() or 1, thread_name_prefix="bcrypt"
        )
        self._decoy_hash: str | None = None

    async def hash(self, password: str) -> str:
        """A new hash of the password."""
        return await self._run(hash_password, password)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Whether the password is right, and a renewed hash if the old scheme is outdated.

        Without a hash (no such user) the same work is done against a decoy, so that the
        time to answer does not tell which e-mails are registered.
        """
        if hashed is None:
            await self._run(verify_password, password, await self._decoy())
            return False, None
        return await self._run(verify_password, password, hashed)

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
            self._decoy_hash = await self.hash("nobody's password")
        return self._decoy_hash

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, work, *arguments)
