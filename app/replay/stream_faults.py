"""Misbehaviour of the exchange's WebSocket on request.

`path` of such a fault is a connection's path or a topic's name; `times` counts messages, or
connections for the kinds that end or silence one.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from app.replay.faults import Fault, Faults
from app.replay.feeds import Told
from app.replay.wire import encoded

FLOOD: Final = 10_000
BIG_BYTES: Final = 3_000_000
NORMAL_CLOSE: Final = 1000
FORBIDDEN: Final = 403


class Break(Enum):
    """How a connection ends without a closing frame."""

    CUT = "cut"
    DEAF = "deaf"
    """Half-open: nothing is read and nothing is sent any more, and nobody says so."""


class Spoiler:
    """The faults that one connection is served with."""

    def __init__(self, faults: Faults, *, path: str) -> None:
        self._faults = faults
        self._path = path
        self._held: dict[str, list[bytes]] = {}
        self._restarting: set[str] = set()
        self._late_answers: list[Mapping[str, Any]] = []
        self._shift: dict[str, int] = {}
        self.is_mute = False

    def handshake_status(self) -> int | None:
        """The HTTP status to refuse the connection with."""
        fault = self._take("stream_refuse_connection", None)
        return None if fault is None else int(fault.value or FORBIDDEN)

    def refuses(self, name: str) -> bool:
        """Whether the venue pretends not to know the topic."""
        return self._take("stream_refuse_topic", name) is not None

    def answers(self, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What is said to a request: the true answer, another one, or nothing."""
        if answer["op"] == "ping" and self._take("stream_no_pong", None) is not None:
            return []
        if answer["op"] == "ping" and self._take("stream_option_pong", None) is not None:
            return [{"args": ["1672916271846"], "op": "pong"}]
        if answer["op"] == "subscribe":
            if self._take("stream_no_ack", None) is not None:
                return []
            if self._take("stream_late_ack", None) is not None:
                self._late_answers.append(answer)
                return []
        return [answer]

    def end(self, symbols: Collection[str]) -> int | Break | None:
        """Whether and how the connection ends now: a closing code, or a break without one."""
        if not symbols:  # a connection misbehaves once it is used
            return None
        for symbol in symbols:
            name = f".{symbol}"
            if (fault := self._take("stream_close", name)) is not None:
                return int(fault.value or NORMAL_CLOSE)
            if self._take("stream_cut", name) is not None:
                return Break.CUT
            if not self.is_mute and self._take("stream_silence", name) is not None:
                self.is_mute = True
            if not self.is_mute and self._take("stream_half_open", name) is not None:
                self.is_mute = True
                return Break.DEAF
        return None

    def restarts(self, name: str) -> bool:
        """Whether the venue begins this book anew: all of it, as update number 1."""
        restarts = name.startswith("orderbook.") and self._take("stream_restart", name) is not None
        if restarts:
            self._restarting.add(name)
        return restarts

    def spoil(self, told: Told) -> Iterator[bytes]:
        """One message as the faults leave it: none, one or many."""
        earlier = self._held.pop(told.topic, [])
        raw: list[bytes] = [self._numbered(told)]
        for kind, change in MESSAGE_KINDS.items():
            fault = self._take(kind, told.topic) if change.fits(told) else None
            if fault is not None:
                raw = change.make(raw, fault)
        if not earlier and self._take("stream_reorder", told.topic) is not None:
            self._held[told.topic], raw = raw, []
        yield from raw + earlier
        if raw and self._late_answers:
            yield from map(encoded, self._late_answers)
            self._late_answers.clear()

    def _numbered(self, told: Told) -> bytes:
        if told.topic not in self._restarting and told.topic not in self._shift:
            return told.raw
        document = json.loads(told.raw)
        if told.topic in self._restarting:
            self._restarting.remove(told.topic)
            self._shift[told.topic] = document["data"]["u"] - 1
        document["data"]["u"] -= self._shift[told.topic]
        return encoded(document)

    def _take(self, kind: str, name: str | None) -> Fault | None:
        return self._faults.take(kind, path=self._path, topic=name)


class _Change:
    """What a kind makes of a message, and of which messages."""

    def __init__(
        self,
        make: Callable[[list[bytes], Fault], list[bytes]],
        *,
        of: str = "",
        only: str = "",
    ) -> None:
        self.make = make
        self._of = of
        self._only = only.encode()

    def fits(self, told: Told) -> bool:
        """Whether it is a message that this can happen to."""
        return told.topic.startswith(self._of) and self._only in told.raw


def _edited(
    edit: Callable[[dict[str, Any], Fault], None],
) -> Callable[[list[bytes], Fault], list[bytes]]:
    def make(raw: list[bytes], fault: Fault) -> list[bytes]:
        documents = [json.loads(one) for one in raw]
        for document in documents:
            edit(document, fault)
        return [encoded(document) for document in documents]

    return make


def _crossed(document: dict[str, Any], _: Fault) -> None:
    document["data"]["b"].append(["999999999", "1"])


def _price(document: dict[str, Any], fault: Fault) -> None:
    document["data"]["lastPrice"] = fault.value or "NaN"


def _without_price(document: dict[str, Any], _: Fault) -> None:
    document["data"].pop("lastPrice", None)


DELTA: Final = '"type":"delta"'
SNAPSHOT: Final = '"type":"snapshot"'
SURPRISE: Final = b'{"topic":"surprise.BTCUSDT","type":"snapshot","ts":1,"data":{}}'

MESSAGE_KINDS: Final[Mapping[str, _Change]] = {
    "stream_gap": _Change(lambda *_: [], of="orderbook.", only=DELTA),
    "stream_no_snapshot": _Change(lambda *_: [], only=SNAPSHOT),
    "stream_crossed": _Change(_edited(_crossed), of="orderbook.", only=DELTA),
    "stream_price": _Change(_edited(_price), of="tickers."),
    "stream_price_absent": _Change(_edited(_without_price), of="tickers."),
    "stream_unknown_topic": _Change(lambda raw, _: [*raw, SURPRISE]),
    "stream_malformed": _Change(lambda raw, _: [one[: len(one) // 2] for one in raw]),
    "stream_garbage": _Change(lambda *_: [bytes(range(128, 256))]),
    "stream_big": _Change(lambda raw, _: [b" " * BIG_BYTES + raw[0]]),
    "stream_duplicate": _Change(lambda raw, _: raw * 2),
    "stream_flood": _Change(lambda raw, fault: raw * int(fault.value or FLOOD)),
}
"""What can happen to a message, in the order in which it does."""
