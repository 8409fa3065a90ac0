"""GET /metrics for Prometheus: what was counted, and how things stand when it is asked."""

import secrets
import time
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.security import InvalidToken, NotAuthenticated
from app.db.dao import ledger_alarms
from app.db.errors import DatabaseBusy, DatabaseUnavailable
from app.domain.circuits import CircuitState
from app.http.dependencies import ResourcesOf
from app.resources import Resources

NO_ROUTE: Final = "(no route)"
"""Every path that nothing answers to, and every file of the documentation pages."""

_bearer = HTTPBearer(auto_error=False)


class MeasureRequests:
    """Counts and times every HTTP request under its route's template."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics = scope["app"].state.resources.metrics
        status: int | None = None

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began_at = time.perf_counter()
        metrics.in_flight += 1
        try:
            await self._app(scope, receive, send_and_look)
        finally:
            metrics.in_flight -= 1
            metrics.request(
                method=scope["method"],
                route=_route(scope),
                status=status,
                seconds=time.perf_counter() - began_at,
            )


def _route(scope: Scope) -> str:
    """The template, the same with and without a trailing slash."""
    path: str = getattr(scope.get("route"), "path", NO_ROUTE)
    return path.rstrip("/") or "/"


def install_metrics(
    app: FastAPI, *, shown: bool, token: SecretStr | None, worker: int | None
) -> None:
    """Serve GET /metrics, to those who have the token if there is one.

    Where several workers share a port each answers for itself, under its number as a label,
    and ends the connection: the next scrape may reach another.
    """
    if not shown:
        return
    expected = None if token is None else token.get_secret_value().encode()

    @app.get("/metrics", include_in_schema=False)
    async def get_metrics(
        resources: ResourcesOf,
        sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Response:
        if expected is not None:
            if sent is None:
                raise NotAuthenticated
            if not secrets.compare_digest(sent.credentials.encode(), expected):
                raise InvalidToken
        return Response(
            await exposition(resources, worker=worker),
            media_type=CONTENT_TYPE_LATEST,
            headers={} if worker is None else {"connection": "close"},
        )


async def exposition(resources: Resources, *, worker: int | None = None) -> bytes:
    """The metrics of this process in Prometheus's text format, also without a database."""
    try:
        async with resources.db.connection() as conn:
            alarm = await ledger_alarms.get_standing_alarm(conn)
    except (DatabaseUnavailable, DatabaseBusy):
        ledger = {"goblin_database_up": 0.0}
    else:
        ledger = {"goblin_database_up": 1.0, "goblin_ledger_alarm": float(alarm is not None)}
    now: Collector = _Now(resources, ledger)
    return generate_latest(now if worker is None else _OfWorker(now, str(worker)))


@dataclass(frozen=True, slots=True)
class _Now(Collector):
    """What was counted and what is so now, as one registry."""

    resources: Resources
    ledger: dict[str, float]

    def collect(self) -> Iterable[Metric]:
        yield from self.resources.metrics.registry.collect()
        for name, value in {**self.ledger, **_states(self.resources)}.items():
            yield GaugeMetricFamily(name, _HELP[name], value)
        yield _circuit(self.resources)


@dataclass(frozen=True, slots=True)
class _OfWorker(Collector):
    """Every series under the number of the process that it is about."""

    collector: Collector
    number: str

    def collect(self) -> Iterable[Metric]:
        for family in self.collector.collect():
            labelled = copy(family)
            labelled.samples = [
                sample._replace(labels={**sample.labels, "worker": self.number})
                for sample in family.samples
            ]
            yield labelled


_HELP: Final = {
    "goblin_database_up": "1 if the database answered just now.",
    "goblin_ledger_alarm": "1 while a discrepancy of the ledger stops order entry everywhere.",
    "goblin_http_requests_in_flight": "Requests that this process works on.",
    "goblin_database_connections": "Connections that the pool has open.",
    "goblin_database_connections_idle": "Open connections that nobody uses.",
    "goblin_database_connections_max": "Most connections that the pool opens: DB_POOL_SIZE.",
    "goblin_database_waiting": "Requests and jobs that wait for a connection.",
    "goblin_event_streams": "Readers of events: long polls, Server-Sent Events and WebSockets.",
    "goblin_market_streams": "Clients that follow markets: Server-Sent Events and WebSockets.",
    "goblin_events_untold_users": "Users whose events other processes were not told of yet.",
    "goblin_events_lag_seconds": "How long the first of them has been waiting to be told of.",
}


def _states(resources: Resources) -> dict[str, float]:
    pool = resources.db.pool_use
    untold, lag_seconds = resources.events.untold
    return {
        "goblin_http_requests_in_flight": resources.metrics.in_flight,
        "goblin_database_connections": pool.connections,
        "goblin_database_connections_idle": pool.idle,
        "goblin_database_connections_max": pool.connections_max,
        "goblin_database_waiting": pool.waiting,
        "goblin_event_streams": resources.events.count,
        "goblin_market_streams": resources.market_feed.count,
        "goblin_events_untold_users": untold,
        "goblin_events_lag_seconds": lag_seconds,
    }


def _circuit(resources: Resources) -> Metric:
    venue = resources.market.venue_state
    family = GaugeMetricFamily(
        "goblin_venue_circuit",
        "1 for the state of the venue's circuit breaker.",
        labels=("venue", "state"),
    )
    for state in CircuitState:
        family.add_metric((venue.venue, state.value), venue.state is state)
    return family
