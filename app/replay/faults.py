"""Misbehaviour on request: each kind is one line of KINDS, a change made to the true answer."""

import asyncio
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from app.replay.wire import encoded, envelope

MEBIBYTE: Final = 2**20
HUGE_BYTES: Final = 100 * 10**6
BOMB_MEBIBYTES: Final = 1024
FAULTS_MAX: Final = 100
SECONDS_MAX: Final = 3600
PRICE_MARK: Final = "\ue000price\ue001"
"""Stands for a price until the JSON is text: private characters that no answer contains."""

CLOUDFRONT: Final = b"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" \
"http://www.w3.org/TR/html4/loose.dtd">
<HTML><HEAD><META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=iso-8859-1">
<TITLE>ERROR: The request could not be satisfied</TITLE>
</HEAD><BODY>
<H1>403 ERROR</H1>
<H2>The request could not be satisfied.</H2>
<HR noshade size="1px">
The Amazon CloudFront distribution is configured to block access from your country.
</BODY></HTML>
"""
BAD_GATEWAY: Final = b"<html><head><title>502 Bad Gateway</title></head><body></body></html>"
HTML: Final = {"content-type": "text/html"}
JSON: Final = {"content-type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What will be sent. `body` is bytes, or a function that makes them piece by piece.

    `wait_seconds` None waits for ever; `byte_seconds` sends single bytes at that distance;
    `drop_after` closes the connection after so many bytes of the body, -1 before the status.
    """

    document: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str]
    body: bytes | Callable[[], Iterator[bytes]]
    wait_seconds: float | None = 0
    byte_seconds: float = 0
    drop_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One misbehaviour, for the next `times` answers that match, or until it is cleared.

    `path` and `symbol` None match every request below /v5. `value` and `seconds` are what the
    kind makes of them. Raises ValueError with the remedy when it cannot be.
    """

    kind: str
    path: str | None = None
    symbol: str | None = None
    times: int | None = None
    value: str | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS and self.kind not in STREAM_KINDS:
            known = ", ".join((*KINDS, *STREAM_KINDS))
            raise ValueError(f"kind {self.kind!r} is none of {known}")
        if self.kind in NUMBER_KINDS and not (self.value or "0").isdecimal():
            raise ValueError(f"the value of {self.kind} is a whole number")
        if self.times is not None and self.times < 1:
            raise ValueError("times is at least 1; leave it out for until it is cleared")
        if self.seconds is not None and not 0 <= self.seconds <= SECONDS_MAX:
            raise ValueError(f"seconds is a number from 0 to {SECONDS_MAX}")

    def matches(self, path: str, symbol: str | None) -> bool:
        """Whether a request is meant."""
        return self.path in (None, path) and self.symbol in (None, symbol)


Change = Callable[[Answer, Fault], Answer]


class Faults:
    """The misbehaviours that are switched on, in order; all that match are applied."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self.delays: set[asyncio.Timeout] = set()
        """Those that are waited for at present."""

    @property
    def active(self) -> Sequence[Fault]:
        """What is switched on; `times` counts down."""
        return tuple(self._active)

    def add(self, kind: str, **options: Any) -> Fault:
        """Switch one on: `add("status_429", times=2, symbol="BTCUSDT")`; see Fault."""
        fault = Fault(kind=kind, **options)
        if len(self._active) >= FAULTS_MAX:
            raise ValueError(f"{FAULTS_MAX} faults are switched on already; clear them first")
        self._active.append(fault)
        return fault

    def clear(self) -> None:
        """Behave again, at once towards who waits for a delay to end."""
        self._active.clear()
        for delay in self.delays:
            if not delay.expired():  # its waiter is about to see it
                delay.reschedule(0)

    def apply(self, answer: Answer, *, path: str, symbol: str | None) -> Answer:
        """The answer as the matching faults leave it; each has then happened once more."""
        left: list[Fault] = []
        for fault in self._active:
            if fault.kind in STREAM_KINDS or not fault.matches(path, symbol):
                left.append(fault)
                continue
            answer = KINDS[fault.kind][1](answer, fault)
            left += _once_less(fault)
        self._active = left
        return answer

    def take(self, kind: str, *, path: str, topic: str | None) -> Fault | None:
        """The first fault of this kind for a WebSocket's path or topic, once less from now on."""
        symbol = topic.rpartition(".")[2] if topic is not None else None
        for index, fault in enumerate(self._active):
            is_meant = fault.path in (None, path, topic) and fault.symbol in (None, symbol)
            if fault.kind == kind and is_meant:
                self._active[index : index + 1] = _once_less(fault)
                return fault
        return None


def _once_less(fault: Fault) -> list[Fault]:
    if fault.times is None:
        return [fault]
    return [replace(fault, times=fault.times - 1)] if fault.times > 1 else []


def _instead(status: int, body: bytes, headers: Mapping[str, str] = JSON) -> Change:
    """Another answer altogether; `seconds` becomes Retry-After where there is one."""

    def change(answer: Answer, fault: Fault) -> Answer:
        sent = dict(headers)
        if "retry-after" in sent and fault.seconds is not None:
            sent["retry-after"] = f"{fault.seconds:.0f}"
        return replace(answer, status=status, headers=sent, body=body)

    return change


def _redirect(answer: Answer, fault: Fault) -> Answer:
    location = fault.value or "http://169.254.169.254/"
    return replace(answer, status=302, headers={"location": location}, body=b"")


def _business_error(code: int, message: str) -> Change:
    def change(answer: Answer, _: Fault) -> Answer:
        document = envelope({}, code=code, message=message, time_ms=answer.document["time"])
        return replace(answer, document=document, body=encoded(document))

    return change


def _too_many_visits(answer: Answer, fault: Fault) -> Answer:
    """The reset time is in the client's real time, which it sleeps in: `seconds` (2) from now."""
    seconds = 2 if fault.seconds is None else fault.seconds
    limited = _business_error(10006, "Too many visits!")(answer, fault)
    headers = {
        **limited.headers,
        "X-Bapi-Limit": "10",
        "X-Bapi-Limit-Status": "0",
        "X-Bapi-Limit-Reset-Timestamp": str(int((time.time() + seconds) * 1000)),
    }
    return replace(limited, headers=headers)


def _document(change_document: Callable[[dict[str, Any], Fault], None]) -> Change:
    """Change the true answer's JSON."""

    def change(answer: Answer, fault: Fault) -> Answer:
        document = json.loads(encoded(answer.document))
        change_document(document, fault)
        return replace(answer, document=document, body=encoded(document))

    return change


def _items(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["result"].get("list", ()):
        if isinstance(item, dict):
            yield item


def _price(raw: str | None) -> Change:
    """`lastPrice` as this JSON text; None takes the fault's value as a string."""

    def change(answer: Answer, fault: Fault) -> Answer:
        document = json.loads(encoded(answer.document))
        true_texts = []
        for item in _items(document):
            if "lastPrice" in item:
                true_texts.append(item["lastPrice"])
                item["lastPrice"] = PRICE_MARK
        text = encoded(document).decode()
        for true_text in true_texts:
            shown = json.dumps(fault.value or "") if raw is None else raw.format(true_text)
            text = text.replace(f'"{PRICE_MARK}"', shown, 1)
        return replace(answer, body=text.encode())

    return change


def _without_price(document: dict[str, Any], _: Fault) -> None:
    for item in _items(document):
        item.pop("lastPrice", None)


def _wrong_symbol(document: dict[str, Any], fault: Fault) -> None:
    wrong = fault.value or "WRONGUSDT"
    for item in _items(document):
        item["symbol"] = wrong
    for key in ("symbol", "s"):
        if key in document["result"]:
            document["result"][key] = wrong


def _wrong_category(document: dict[str, Any], fault: Fault) -> None:
    document["result"]["category"] = fault.value or "inverse"


def _empty_list(document: dict[str, Any], _: Fault) -> None:
    document["result"]["list"] = []


def _shifted_time(sign: int) -> Callable[[dict[str, Any], Fault], None]:
    def change_document(document: dict[str, Any], fault: Fault) -> None:
        seconds = 3600 if fault.seconds is None else fault.seconds
        document["time"] += sign * int(seconds * 1000)

    return change_document


def _cut(answer: Answer, _: Fault) -> Answer:
    body = encoded(answer.document)
    return replace(answer, body=body[: len(body) // 2])


def _huge() -> Iterator[bytes]:
    yield b'{"retCode":0,"retMsg":"'
    for _ in range(HUGE_BYTES // MEBIBYTE + 1):
        yield b"A" * MEBIBYTE
    yield b'"}'


def _bomb() -> Iterator[bytes]:
    """A gigabyte of blanks in a megabyte of gzip; without the checksum that nobody gets to."""
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
    block = _compressed_mebibyte()
    for _ in range(BOMB_MEBIBYTES):
        yield block
    yield zlib.compressobj(wbits=-15).flush()


@lru_cache(maxsize=1)
def _compressed_mebibyte() -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return compressor.compress(b" " * MEBIBYTE) + compressor.flush(zlib.Z_FULL_FLUSH)


def _sent(**how: Any) -> Change:
    """The answer with these fields."""
    return lambda answer, _: replace(answer, **how)


def _seconds(field: str, default: float) -> Change:
    """The answer with the fault's `seconds` in this field."""

    def change(answer: Answer, fault: Fault) -> Answer:
        how: dict[str, Any] = {field: default if fault.seconds is None else fault.seconds}
        return replace(answer, **how)

    return change


KINDS: Final[dict[str, tuple[str, Change]]] = {
    # the connection
    "delay": ("the answer comes after `seconds` (1)", _seconds("wait_seconds", 1)),
    "hang": ("no answer, the connection stays open", _sent(wait_seconds=None)),
    "drop": ("the connection closes before an answer", _sent(drop_after=-1)),
    "drop_midway": ("the connection closes after 20 bytes of the body", _sent(drop_after=20)),
    "trickle": ("one byte every `seconds` (0.1)", _seconds("byte_seconds", 0.1)),
    # HTTP
    "status_403": ("CloudFront's country block, HTML", _instead(403, CLOUDFRONT, HTML)),
    "status_403_limit": ("the IP limit", _instead(403, b"403, access too frequent", HTML)),
    "status_418": ("banned, as Binance says it", _instead(418, b'{"code":-1003,"msg":"banned"}')),
    "status_429": ("too many requests", _instead(429, b"{}")),
    "status_429_retry_after": (
        "with Retry-After of `seconds` (1)",
        _instead(429, b"{}", {**JSON, "retry-after": "1"}),
    ),
    "status_500": ("JSON", _instead(500, b'{"retCode":10016,"retMsg":"Server error."}')),
    "status_502": ("HTML", _instead(502, BAD_GATEWAY, HTML)),
    "status_503": ("no body", _instead(503, b"", {})),
    "redirect": (
        "302 to `value` (the address that cloud machines keep their secrets at)",
        _redirect,
    ),
    # retCode
    "code_10000": ("server timeout", _business_error(10000, "Server Timeout")),
    "code_10006": ("rate limit, reset header `seconds` (2) from now", _too_many_visits),
    "code_10016": (
        "server error",
        _business_error(10016, "System error. Please try again later."),
    ),
    # the body
    "html": ("HTTP 200 with a page", _instead(200, b"<html><body>Welcome</body></html>", HTML)),
    "garbage": ("HTTP 200, not JSON, not even text", _instead(200, bytes(range(128, 256)))),
    "truncated": ("JSON cut in half", _cut),
    "empty": ("no bytes", _instead(200, b"")),
    "huge": ("100 MB of JSON", _sent(body=_huge)),
    "gzip_bomb": (
        "1 MB that unpacks to 1 GB",
        _sent(body=_bomb, headers={**JSON, "content-encoding": "gzip"}),
    ),
    "content_type": (
        "the true JSON called text/plain",
        _sent(headers={"content-type": "text/plain"}),
    ),
    # what it says
    "empty_list": ("result.list is []", _document(_empty_list)),
    "wrong_symbol": ("another symbol: `value` (WRONGUSDT)", _document(_wrong_symbol)),
    "wrong_category": ("another category: `value` (inverse)", _document(_wrong_category)),
    "time_stale": ("the envelope's time `seconds` (3600) ago", _document(_shifted_time(-1))),
    "time_future": ("the envelope's time in `seconds` (3600)", _document(_shifted_time(1))),
    # lastPrice
    "price": ("the text `value`", _price(None)),
    "price_absent": ("no such key", _document(_without_price)),
    "price_empty": ('""', _price('""')),
    "price_nan": ('"NaN"', _price('"NaN"')),
    "price_nan_number": ("NaN, which is not JSON", _price("NaN")),
    "price_infinity": ('"Infinity"', _price('"Infinity"')),
    "price_zero": ('"0"', _price('"0"')),
    "price_negative": ("the true one with a minus", _price('"-{}"')),
    "price_1e30": ('"1e30"', _price('"1e30"')),
    "price_40_decimals": ("the true one and 40 decimals", _price('"{}' + "1" * 40 + '"')),
    "price_number": ("the true one as a JSON number", _price("{}")),
    "price_array": ("the true one in an array", _price('["{}"]')),
    "price_null": ("null", _price("null")),
}
"""Every kind: what it does, and the change."""

STREAM_KINDS: Final[dict[str, str]] = {
    # the connection; `times` counts connections
    "stream_refuse_connection": "the handshake answers HTTP `value` (403)",
    "stream_close": "closed with code `value` (1000)",
    "stream_cut": "gone without a closing frame (1006)",
    "stream_silence": "nothing is said any more, not even pong",
    "stream_half_open": "nothing is read or said any more",
    # answers
    "stream_no_pong": "no pong",
    "stream_option_pong": "pong in the shape of options",
    "stream_no_ack": "no answer to a subscription that holds",
    "stream_late_ack": "the answer comes after the first news",
    "stream_refuse_topic": "the topic is said to be unknown",
    # messages; `times` counts messages
    "stream_gap": "a book's delta is left out",
    "stream_no_snapshot": "a snapshot is left out",
    "stream_restart": "the whole book again as update 1",
    "stream_crossed": "a bid above every ask",
    "stream_price": "a ticker's lastPrice is the text `value` (NaN)",
    "stream_price_absent": "a ticker without lastPrice",
    "stream_unknown_topic": "news about a topic that nobody knows, besides",
    "stream_malformed": "half the JSON",
    "stream_garbage": "bytes that are no text",
    "stream_big": "3 MB in front of the message",
    "stream_duplicate": "said twice",
    "stream_reorder": "said after the topic's next message",
    "stream_flood": "said `value` times (10000)",
}
"""Every kind that happens to WebSockets, and what it does; see stream_faults."""

NUMBER_KINDS: Final = frozenset(("stream_refuse_connection", "stream_close", "stream_flood"))
