"""Head and body of an answer leave together, and neither ever waits for what does not come."""

import asyncio
from collections.abc import Sequence
from typing import cast

from app.http.connection import WholeAnswers

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire:
    """A transport that remembers each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def writelines(self, parts: Sequence[bytes]) -> None:
        self.writes.append(b"".join(parts))

    def close(self) -> None:
        self.writes.append(b"(closed)")

    def is_closing(self) -> bool:
        return b"(closed)" in self.writes


def answers_on(wire: Wire) -> WholeAnswers:
    return WholeAnswers(cast("asyncio.Transport", wire), asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_write_and_what_follows_is_not_held() -> None:
    wire = Wire()
    answers = answers_on(wire)
    for data in (HEAD, b"{}", b"more"):
        answers.write(data)
    assert wire.writes == [HEAD + b"{}", b"more"]
    await asyncio.sleep(0)
    assert wire.writes == [HEAD + b"{}", b"more"]


async def test_the_head_of_a_stream_leaves_though_nothing_follows() -> None:
    wire = Wire()
    answers_on(wire).write(HEAD)
    assert wire.writes == []
    await asyncio.sleep(0)
    assert wire.writes == [HEAD]


async def test_a_head_without_a_body_leaves_before_the_connection_closes() -> None:
    wire = Wire()
    answers = answers_on(wire)
    answers.write(HEAD)
    answers.close()
    assert wire.writes == [HEAD, b"(closed)"]
    assert answers.is_closing()
