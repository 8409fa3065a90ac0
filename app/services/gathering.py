"""Questions that come while others are being answered are put together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

AT_ONCE: Final = 2
BATCH_MAX: Final = 100

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Gathering(Generic[Question, Answer]):
    """Answers questions together that would otherwise each cost a round trip of their own.

    Whoever asks while nothing is under way is answered at once; nobody waits for company.
    `answer` is given at most BATCH_MAX questions and returns as many answers, in order. What
    it raises goes to everybody who asked. A caller who leaves disturbs nobody.
    """

    def __init__(self, answer: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]]) -> None:
        self._answer = answer
        self._waiting: deque[tuple[Question, asyncio.Future[Answer]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0

    async def ask(self, question: Question) -> Answer:
        """The answer. Raises what the answering raises."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._running < AT_ONCE:
            self._running += 1
            task = asyncio.create_task(self._answer_all(), name="gathering")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), BATCH_MAX)
                batch = [self._waiting.popleft() for _ in range(count)]
                await self._answer_batch([(q, f) for q, f in batch if not f.done()])
        finally:
            self._running -= 1

    async def _answer_batch(self, batch: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        if not batch:
            return
        try:
            answers = await self._answer([question for question, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
