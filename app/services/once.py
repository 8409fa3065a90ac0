"""One transaction for each change, and one effect for each idempotency key.

A change that does not go through the desk runs under the lock of the user's row: locked,
looked up, decided, written and committed here. The key of a request is saved in the same
transaction as its effect, so that a twin that waits for the lock finds the first answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.db.connection import Connection
from app.db.dao import idempotency_keys, users
from app.db.database import Database
from app.db.errors import DatabaseBusy, RowLocked
from app.domain.answers import Answer, KeyedRequest, KeyReused, RequestInProgress
from app.domain.errors import Conflict, GoblinError, NotFound, Refused
from app.domain.users import LockedUser, UserGone, UserId

Work = Callable[[Connection, LockedUser], Awaitable[Answer]]
Refusal = Callable[[GoblinError], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """How one change is made: for whom, under which key, and how a refusal is worded."""

    db: Database
    user_id: UserId
    keyed: KeyedRequest | None
    refuse: Refusal

    async def run(self, work: Work) -> Answer:
        """Do `work` under the user's lock and commit; or return the first answer of the key.

        `work` raises a GoblinError to roll back, and runs again from the start where a
        deadlock or serialization failure undid it. With a key, a refusal is an answer like
        any other and is kept; what says nothing about the request (validation, an upstream
        or database failure) is not.
        """
        try:
            return await self._in_transaction(work)
        except (DatabaseBusy, RequestInProgress):
            raise
        except (Refused, NotFound, Conflict) as refusal:
            if self.keyed is None:
                raise
            return await self._keep(refusal)

    async def or_earlier(self, error: GoblinError) -> Answer:
        """The first answer of the key, for a request that failed before its transaction.

        Without one a refusal is kept, and anything else is raised.
        """
        if self.keyed is None:
            raise error
        async with self.db.connection() as conn:
            stored = await self._stored(conn)
        if stored is not None:
            return stored
        if isinstance(error, Refused | NotFound):
            return await self._keep(error)
        raise error

    async def _in_transaction(self, work: Work) -> Answer:
        async def locked_work(conn: Connection) -> Answer:
            locked = (await users.lock_users(conn, user_ids=[self.user_id])).get(self.user_id)
            if locked is None:
                raise UserGone
            stored = await self._stored(conn)
            if stored is not None:
                return stored
            answer = await work(conn, locked)
            if self.keyed is not None:
                await idempotency_keys.insert_key(conn, keyed=self.keyed, answer=answer)
            return answer

        try:
            return await self.db.run_in_transaction(locked_work)
        except RowLocked:
            if self.keyed is None:
                raise
            raise RequestInProgress from None

    async def _keep(self, refusal: GoblinError) -> Answer:
        async def answer_with_it(_conn: Connection, _locked: LockedUser) -> Answer:
            return self.refuse(refusal)

        return await self._in_transaction(answer_with_it)

    async def _stored(self, conn: Connection) -> Answer | None:
        if self.keyed is None:
            return None
        found = await idempotency_keys.get_key(conn, user_id=self.keyed.user_id, key=self.keyed.key)
        if found is None:
            return None
        if found.fingerprint != self.keyed.fingerprint:
            raise KeyReused(self.keyed.key)
        return found.answer
