"""A Bybit that answers as it is told, and the client that asks it."""

from collections.abc import Callable
from typing import Any

import httpx
from app.clients.bybit import BybitClient
from app.clients.venue_http import DEFAULT_PAUSES, Pauses
from app.domain.instruments import Symbol

BTCUSDT = Symbol("BTCUSDT")
TIME_MS = 1_692_163_162_284
ANSWER: dict[str, Any] = {
    "retCode": 0,
    "retMsg": "OK",
    "result": {"category": "spot", "list": [{"symbol": "BTCUSDT", "lastPrice": "29208.01"}]},
    "retExtInfo": {},
    "time": TIME_MS,
}


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return TIME_MS + int(self.seconds * 1000)


class Bybit:
    """Answers in the order given, the last one for ever; remembers what was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answers[min(len(self.requests), len(self._answers)) - 1]


def client(
    handler: Callable[[httpx.Request], httpx.Response],
    clock: Clock | None = None,
    pauses: Pauses = DEFAULT_PAUSES,
) -> BybitClient:
    clock = clock or Clock()
    return BybitClient(
        httpx.AsyncClient(
            transport=httpx.MockTransport(handler), base_url="https://api.bybit.test"
        ),
        timeout_seconds=10,
        pauses=pauses,
        monotonic=clock.monotonic,
        now_ms=clock.now_ms,
    )


def changed(**members: Any) -> dict[str, Any]:
    return ANSWER | members


def priced(price: Any, **members: Any) -> dict[str, Any]:
    ticker = {"symbol": "BTCUSDT", "lastPrice": price} | members
    return changed(result={"category": "spot", "list": [ticker]})


def ok() -> httpx.Response:
    return httpx.Response(200, json=ANSWER)
