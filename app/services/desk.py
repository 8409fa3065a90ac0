"""Requests that wait anyway share a transaction.

Whoever asks while nothing is being written leaves at once; whoever asks meanwhile leaves with
all the others who did, and one commit makes them all durable before any of them is answered.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.db.connection import Connection
from app.db.dao import users
from app.db.database import LOCK_SECONDS_MAX, RETRIES_MAX, Database
from app.db.errors import DatabaseUnavailable, RowLocked
from app.domain.answers import Answer, RequestInProgress
from app.domain.errors import Unavailable
from app.domain.users import UserGone, UserId
from app.services.decisions import Closing, Opening
from app.services.settlement import Asked, Verdict, settle

BATCHES_AT_ONCE: Final = 2
"""One is decided here while the other is written there."""

QUEUE_SECONDS_MAX: Final = 5.0
"""Whoever waited longer than this, as behind a database that hangs, is refused."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    asked: Asked
    since: float
    answer: asyncio.Future[Answer]

    @property
    def user_id(self) -> UserId:
        return self.asked.request.user_id

    @property
    def is_refused_for_the_lock(self) -> bool:
        """Whether somebody else held the user for too long."""
        if not self.answer.done() or self.answer.cancelled():
            return False
        return isinstance(self.answer.exception(), RowLocked | RequestInProgress)

    def tell_locked(self) -> None:
        """Somebody else holds the user; with a key it may be the first request itself."""
        self.tell(RowLocked() if self.asked.keyed is None else RequestInProgress())

    def tell(self, verdict: Verdict | Exception) -> None:
        """Say how it went, unless whoever asked has left."""
        if self.answer.done():
            return
        if isinstance(verdict, Answer):
            self.answer.set_result(verdict)
        else:
            self.answer.set_exception(verdict)


class Desk:
    """Where money requests are handed in; one for each process. Opened by `open_desk`.

    A batch takes at most `batch_max` requests, in the order they came in; a user who is part of
    a batch that is still being written waits for the next. No batch waits for a user whom
    another process holds: those requests are settled on their own once the user is free.
    """

    def __init__(
        self,
        db: Database,
        *,
        batch_max: int,
        batches_at_once: int = BATCHES_AT_ONCE,
        queue_seconds_max: float = QUEUE_SECONDS_MAX,
    ) -> None:
        assert batch_max >= 1, "settings check it"
        self._db = db
        self._batch_max = batch_max
        self._batches_at_once = batches_at_once
        self._queue_seconds_max = queue_seconds_max
        self._queue: deque[_Waiting] = deque()
        self._writing: set[UserId] = set()
        """Users of whom something is being written; what else they ask waits its turn."""
        self._clerk_count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def ask(self, asked: Asked) -> Answer:
        """The answer, once what it says is durable, or the first answer of the key.

        Raises the refusal where there is no key, KeyReused, RequestInProgress, UserGone and
        what the database raises; after DatabaseUnavailable the key tells what became of it.
        """
        if self._is_closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(asked=asked, since=loop.time(), answer=loop.create_future())
        self._queue.append(waiting)
        self._call_clerk()
        return await waiting.answer

    async def aclose(self) -> None:
        """Finish what is being written; whoever still waits is told Unavailable."""
        self._is_closed = True
        while self._queue:
            self._queue.popleft().tell(_closed())
        while self._tasks:  # what ends may leave a straggler behind
            await asyncio.gather(*self._tasks)

    def _call_clerk(self) -> None:
        if self._queue and self._clerk_count < self._batches_at_once:
            self._clerk_count += 1
            self._start(self._write_batches(), name="desk clerk")

    def _start(self, work: Coroutine[None, None, None], *, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_batches(self) -> None:
        try:
            while batch := self._take():
                missed = await self._settle_lightly(batch)
                by_user: dict[UserId, list[_Waiting]] = {}
                for waiting in missed:
                    by_user.setdefault(waiting.user_id, []).append(waiting)
                self._writing.difference_update(
                    waiting.user_id for waiting in batch if waiting.user_id not in by_user
                )
                for user_id, theirs in by_user.items():
                    self._start(self._write_when_free(user_id, theirs), name="desk straggler")
        finally:
            self._clerk_count -= 1

    async def _write_when_free(self, user_id: UserId, theirs: Sequence[_Waiting]) -> None:
        try:
            await self._settle(theirs, is_waiting_for_users=True)
            self._refuse_who_waited_as_long(user_id, theirs)
        finally:
            self._writing.discard(user_id)
            self._call_clerk()

    def _refuse_who_waited_as_long(self, user_id: UserId, theirs: Sequence[_Waiting]) -> None:
        """Where the user could not be had in time, nobody begins to wait anew."""
        if not all(waiting.is_refused_for_the_lock for waiting in theirs):
            return
        too_long_ago = asyncio.get_running_loop().time() - LOCK_SECONDS_MAX / 2
        for waiting in self._queue:
            if waiting.user_id == user_id and waiting.since < too_long_ago:
                waiting.tell_locked()

    def _take(self) -> list[_Waiting]:
        """The next batch: whoever came first, leaving each user's requests in their order."""
        batch: list[_Waiting] = []
        claims: set[tuple[UserId, str]] = set()
        passed: list[_Waiting] = []
        held_back: set[UserId] = set()
        refuse_before = asyncio.get_running_loop().time() - self._queue_seconds_max
        while self._queue and len(batch) < self._batch_max:
            waiting = self._queue.popleft()
            if waiting.answer.done():
                continue
            if waiting.since < refuse_before:
                waiting.tell(DatabaseUnavailable())
                continue
            user_id, mine = waiting.user_id, _claims(waiting.asked)
            if user_id in self._writing or user_id in held_back or not claims.isdisjoint(mine):
                held_back.add(user_id)
                passed.append(waiting)
                continue
            claims.update(mine)
            batch.append(waiting)
        self._queue.extendleft(reversed(passed))
        self._writing.update(waiting.user_id for waiting in batch)
        return batch

    async def _settle_lightly(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Settle without holding a lock between reading and writing, which nearly always holds.

        Two statements and no transaction around them: the one that writes is one by itself.
        """
        try:
            async with self._db.connection() as conn:
                verdicts = await settle(conn, [waiting.asked for waiting in batch])
        except DatabaseUnavailable:
            for waiting in batch:
                waiting.tell(DatabaseUnavailable())
            return []
        except Exception as error:  # noqa: BLE001 - it will happen again if it was no accident
            _log.info("a batch is done under locks", extra={"reason": type(error).__name__})
            return await self._settle(batch, is_waiting_for_users=False)
        for waiting, verdict in zip(batch, verdicts, strict=True):
            waiting.tell(verdict)
        return []

    async def _settle(
        self, batch: Sequence[_Waiting], *, is_waiting_for_users: bool
    ) -> list[_Waiting]:
        """Tell each its verdict; return those whose user was not free.

        A failure that says nothing about any one request is everybody's. Any other belongs to
        some of them, and the halves are tried alone until nobody else suffers from it.
        """
        work = partial(_settle_locked, batch, is_waiting_for_users=is_waiting_for_users)
        try:
            verdicts = await self._db.run_in_transaction(work, retries_max=RETRIES_MAX - 1)
        except DatabaseUnavailable:
            for waiting in batch:
                waiting.tell(DatabaseUnavailable())
            return []
        except RowLocked:
            for waiting in batch:
                waiting.tell_locked()
            return []
        except Exception as error:  # noqa: BLE001 - told to whoever it belongs to
            if len(batch) == 1:
                batch[0].tell(error)
                return []
            _log.warning(
                "a batch is split", extra={"size": len(batch), "reason": type(error).__name__}
            )
            middle = len(batch) // 2
            missed = []
            for half in (batch[:middle], batch[middle:]):
                missed += await self._settle(half, is_waiting_for_users=is_waiting_for_users)
            return missed
        missed = []
        for waiting, verdict in zip(batch, verdicts, strict=True):
            if verdict is None:
                missed.append(waiting)
            else:
                waiting.tell(verdict)
        return missed


async def _settle_locked(
    batch: Sequence[_Waiting], conn: Connection, *, is_waiting_for_users: bool
) -> list[Verdict | None]:
    """Lock and settle; None for those whose user was not free."""
    lock = users.lock_users if is_waiting_for_users else users.lock_free_users
    locked = await lock(conn, user_ids=[waiting.user_id for waiting in batch])
    # Whoever left while the users were waited for is not served any more.
    present = [w for w in batch if w.user_id in locked and not w.answer.done()]
    verdicts = dict(zip(present, await settle(conn, [w.asked for w in present]), strict=True))
    absent = UserGone() if is_waiting_for_users else None
    return [verdicts.get(waiting, absent) for waiting in batch]


def _claims(asked: Asked) -> set[tuple[UserId, str]]:
    """What cannot occur twice in one batch: a symbol of a user, and a key."""
    request, claims = asked.request, set()
    if isinstance(request, Opening | Closing):
        claims.add((request.user_id, f"symbol {request.symbol}"))
    if asked.keyed is not None:
        claims.add((asked.keyed.user_id, f"key {asked.keyed.key}"))
    return claims


def _closed() -> Unavailable:
    return Unavailable("goblin is shutting down")


@asynccontextmanager
async def open_desk(db: Database, *, batch_max: int) -> AsyncIterator[Desk]:
    """A desk for as long as the block runs.

    With batches of one nothing is gained by waiting for each other: as many are written at
    once as there are connections.
    """
    batches_at_once = BATCHES_AT_ONCE if batch_max > 1 else db.pool_use.connections_max
    desk = Desk(db, batch_max=batch_max, batches_at_once=batches_at_once)
    try:
        yield desk
    finally:
        await desk.aclose()
