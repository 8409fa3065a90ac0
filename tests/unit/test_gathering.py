"""Questions that come while others are being answered are put together."""

import asyncio
from collections.abc import Sequence

import pytest
from app.services.gathering import BATCH_MAX, Gathering


class Oracle:
    """Doubles numbers, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.may_answer.wait()
        if -1 in numbers:
            raise LookupError("unlucky")
        return [2 * number for number in numbers]


async def test_who_asks_alone_is_answered_alone_and_at_once() -> None:
    oracle = Oracle()
    gathering = Gathering(oracle.answer)
    assert [await gathering.ask(n) for n in (1, 2)] == [2, 4]
    assert oracle.batches == [[1], [2]]


async def test_who_asks_meanwhile_is_answered_together_and_in_order() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    asked = []
    for number in range(50):
        asked.append(asyncio.create_task(gathering.ask(number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    oracle.may_answer.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(50)]
    assert len(oracle.batches) == 3, "two were under way, and one more for all the others"


async def test_no_batch_is_larger_than_it_may_be() -> None:
    oracle = Oracle()
    gathering = Gathering(oracle.answer)
    count = 3 * BATCH_MAX + 1
    answers = await asyncio.gather(*(gathering.ask(number) for number in range(100, 100 + count)))
    assert answers == [2 * number for number in range(100, 100 + count)]
    assert max(map(len, oracle.batches)) == BATCH_MAX


async def test_a_failure_goes_to_those_who_asked_with_it_and_to_nobody_later() -> None:
    gathering = Gathering(Oracle().answer)
    results = await asyncio.gather(*map(gathering.ask, (-1, 1)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError]
    assert await gathering.ask(1) == 2


async def test_a_failure_still_reaches_those_who_stayed_when_one_who_asked_has_left() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    tasks = [asyncio.create_task(gathering.ask(number)) for number in (-1, 1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert oracle.batches == [[-1, 1, 2]]
    tasks[0].cancel()
    oracle.may_answer.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds == [asyncio.CancelledError, LookupError, LookupError]


async def test_a_caller_who_leaves_disturbs_nobody() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    tasks = [asyncio.create_task(gathering.ask(number)) for number in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[2].cancel()
    oracle.may_answer.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(2), asyncio.CancelledError)
    assert answers == [0, 2, 6, 8]


async def test_questions_whose_callers_have_all_left_are_not_asked() -> None:
    oracle = Oracle()
    gathering = Gathering(oracle.answer)
    task = asyncio.create_task(gathering.ask(1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert oracle.batches == []


async def test_when_the_answering_is_cancelled_so_is_who_waits_for_it() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    asking = asyncio.create_task(gathering.ask(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "gathering"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
