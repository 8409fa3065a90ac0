"""What counting and timing every request costs: GET / with and without it, in one process.

There is no socket and no HTTP parser in between, so the share is larger than a client sees.
"""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, Final

from app.core.config import Settings
from app.core.metrics import Metrics
from app.http.metrics import MeasureRequests
from app.main import create_app
from fastapi import FastAPI

from bench.installation import Installation
from bench.load import Run
from bench.report import Aim, Rounds, print_rates, ratio

WITH, WITHOUT = "GET / measured", "GET / not measured"
BATCH: Final = 50


async def measure(installation: Installation, *, rounds: int, seconds: float) -> list[Aim]:  # noqa: ARG001 - every part has this form
    """Print the two rates; return the aim and what it came to."""
    apps = {WITH: _app(is_measured=True), WITHOUT: _app(is_measured=False)}
    measured: dict[str, list[Run]] = {name: [] for name in apps}
    for app in apps.values():
        await _run(app, seconds=min(seconds, 0.5))
    for _ in range(rounds):
        for name, app in apps.items():
            measured[name].append(await _run(app, seconds=seconds))
    shown: dict[str, Rounds] = dict(measured.items())
    print_rates("Metrics, no server around", shown, of=WITHOUT)
    return [
        Aim(
            text="GET / counted and timed is at least 0.85 of GET / alone",
            measured=ratio(measured[WITH], measured[WITHOUT]),
            wanted_min=0.85,
        )
    ]


def _app(*, is_measured: bool) -> FastAPI:
    app = create_app(Settings(_env_file=None))
    app.state.resources = SimpleNamespace(metrics=Metrics(version="bench"))
    if not is_measured:
        left_out: object = MeasureRequests
        app.user_middleware = [part for part in app.user_middleware if part.cls is not left_out]
    return app


async def _run(app: FastAPI, *, seconds: float) -> Run:
    latencies: list[float] = []
    begun_at = time.perf_counter()
    while time.perf_counter() - begun_at < seconds:
        for _ in range(BATCH):
            asked_at = time.perf_counter()
            await app(_scope(), _receive, _send)
            latencies.append(time.perf_counter() - asked_at)
        await asyncio.sleep(0)
    return Run(seconds=time.perf_counter() - begun_at, latencies_seconds=latencies)


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"goblin")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_: Any) -> None:
    """Nobody listens."""
