"""/control: what the operator of the exchange sees and sets; JSON in and out.

A wrong request answers 400 with {"error": what is wrong and what would be right}.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import Any, Final

from starlette.requests import Request

from app.replay.clock import ReplayClock, iso_time, parse_instant_ms
from app.replay.errors import UnreadableRecording
from app.replay.faults import KINDS, STREAM_KINDS, Fault, Faults
from app.replay.market import Instrument, Market

BODY_BYTES_MAX: Final = 65_536
COUNTED_MAX: Final = 10_000
DERIVED: Final = (
    "orderbook, recent-trade, bid, ask, sizes, open interest and funding are derived from "
    "candles; turnover too where a file has none; so is all that the WebSocket says, but for "
    "the topics named as recorded. While ticks are recorded, trades, prices and candles "
    "(publicTrade), the best bid and ask (orderbook.1) or the whole book (orderbook) are theirs; "
    "below recorded best prices the book is derived"
)


class RequestLog:
    """How often each path below /v5 was asked, by symbol. Counts what a client costs a venue."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str | None]] = Counter()

    def record(self, path: str, symbol: str | None) -> None:
        """One more request."""
        key = (path, symbol)
        if key in self._counts or len(self._counts) < COUNTED_MAX:
            self._counts[key] += 1
        else:
            self._counts["(other)", None] += 1

    def count(self, path: str | None = None, *, symbol: str | None = None) -> int:
        """How many requests there were, for a path or a symbol if given."""
        return sum(
            count
            for (its_path, its_symbol), count in self._counts.items()
            if path in (None, its_path) and symbol in (None, its_symbol)
        )

    def clear(self) -> None:
        """Count from zero."""
        self._counts.clear()

    def rows(self) -> list[dict[str, Any]]:
        """Every path and symbol with its count."""
        return [
            {"path": path, "symbol": symbol, "count": count}
            for (path, symbol), count in self._counts.items()
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What can be seen and set."""

    market: Market
    clock: ReplayClock
    faults: Faults = field(default_factory=Faults)
    requests: RequestLog = field(default_factory=RequestLog)

    def overview(self) -> dict[str, Any]:
        """GET /control: what is traded, out of what, and what is made up."""
        now_ms = self.clock.now_ms()
        return {
            "clock": self.clock_state(),
            "instruments": [
                _instrument_state(instrument, now_ms)
                for instrument in self.market.instruments.values()
            ],
            "left_out": list(self.market.left_out),
            "derived": DERIVED,
            "calls": sorted(f"{method} {path}" for method, path in ACTIONS),
            "faults": {kind: meaning for kind, (meaning, _) in KINDS.items()} | STREAM_KINDS,
        }

    def clock_state(self) -> dict[str, Any]:
        """GET /control/clock."""
        now_ms, last_ms = self.clock.now_ms(), self.clock.last_ms
        return {
            "now_ms": now_ms,
            "now": iso_time(now_ms),
            "speed": self.clock.speed,
            "start_ms": self.market.start_ms,
            "last_ms": last_ms,
            "at_end": now_ms == last_ms,
        }

    def set_clock(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """POST /control/clock {"set": ms or ISO time, "advance_ms": n, "speed": x}."""
        _only(wish, "set", "advance_ms", "speed")
        instant_ms = None if "set" not in wish else parse_instant_ms(wish["set"])
        advance_ms = _check_number(wish, "advance_ms", int)
        speed = _check_number(wish, "speed", int | float)
        trial = ReplayClock(self.clock.now_ms(), last_ms=self.clock.last_ms, speed=0)
        for clock in (trial, self.clock):  # what one part of it is wrong in is not done at all
            if instant_ms is not None:
                clock.set(instant_ms)
            if advance_ms is not None:
                clock.advance(advance_ms)
            if speed is not None:
                clock.set_speed(speed)
        return self.clock_state()

    def fault_state(self) -> dict[str, Any]:
        """GET /control/faults."""
        return {"faults": [asdict(fault) for fault in self.faults.active]}

    def add_fault(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """POST /control/faults {"kind", "path", "symbol", "times", "value", "seconds"}."""
        _only(wish, *Fault.__dataclass_fields__)
        for name in ("kind", "path", "symbol", "value"):
            if not isinstance(wish.get(name), str | None):
                raise ValueError(f"{name} is a string")  # noqa: TRY004  one error for all wishes
        _check_number(wish, "times", int)
        _check_number(wish, "seconds", int | float)
        self.faults.add(**{"kind": "", **wish})
        return self.fault_state()

    def clear_faults(self) -> dict[str, Any]:
        """DELETE /control/faults."""
        self.faults.clear()
        return self.fault_state()

    def request_state(self) -> dict[str, Any]:
        """GET /control/requests."""
        return {"total": self.requests.count(), "requests": self.requests.rows()}

    def clear_requests(self) -> dict[str, Any]:
        """DELETE /control/requests."""
        self.requests.clear()
        return self.request_state()


ACTIONS: Final[dict[tuple[str, str], Callable[..., dict[str, Any]]]] = {
    ("GET", "/control"): Control.overview,
    ("GET", "/control/clock"): Control.clock_state,
    ("POST", "/control/clock"): Control.set_clock,
    ("GET", "/control/faults"): Control.fault_state,
    ("POST", "/control/faults"): Control.add_fault,
    ("DELETE", "/control/faults"): Control.clear_faults,
    ("GET", "/control/requests"): Control.request_state,
    ("DELETE", "/control/requests"): Control.clear_requests,
}
"""Every call; a POST takes its JSON object as argument."""


async def answer_control(control: Control, request: Request) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a call below /control."""
    action = ACTIONS.get((request.method, request.url.path))
    if action is None:
        return 404, {"error": f"no such call; GET /control lists them: {request.url.path}"}
    try:
        if request.method != "POST":
            return 200, action(control)
        return 200, action(control, await _wish(request))
    except (ValueError, RecursionError) as error:  # the latter: a body of brackets
        return 400, {"error": str(error)}


def _instrument_state(instrument: Instrument, now_ms: int) -> dict[str, Any]:
    try:
        is_listed, broken = instrument.is_listed(now_ms), None
    except UnreadableRecording as error:  # its rows are read when they are first asked for
        is_listed, broken = False, str(error)
    return {
        "category": instrument.category,
        "symbol": instrument.symbol,
        "listed": is_listed,
        "broken": broken,
        "source": instrument.source,
        "recorded": list(instrument.frames.topics) if instrument.frames else [],
        "ticks": [
            {
                "topic": f"{kind}.{instrument.symbol}",
                "file": path.name,
                "from": iso_time(first_ms),
                "to": iso_time(last_ms),
            }
            for kind, path, first_ms, last_ms in (
                instrument.ticks.recordings if instrument.ticks else ()
            )
        ],
    }


async def _wish(request: Request) -> Mapping[str, Any]:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise ValueError(f"the body is larger than {BODY_BYTES_MAX} bytes")
    wish = json.loads(body)  # its error is a ValueError too
    if not isinstance(wish, dict):
        raise ValueError("the body is a JSON object")  # noqa: TRY004  as above
    return wish


def _only(wish: Mapping[str, Any], *known: str) -> None:
    unknown = [name for name in wish if name not in known]
    if unknown or not wish:
        raise ValueError(f"{', '.join(unknown) or 'nothing'} is none of {', '.join(known)}")


def _check_number(wish: Mapping[str, Any], name: str, kind: type[int] | UnionType) -> Any:
    """The number, None if there is none."""
    value = wish.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
        raise ValueError(f"{name} is {'a whole number' if kind is int else 'a number'}")
    return value
