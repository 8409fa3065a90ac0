import asyncio
import random
import re
import string
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import asyncpg
import httpx
import pytest_asyncio
from app.db.errors import DatabaseUnavailable
from app.domain.circuits import FAILURES_MAX
from app.domain.orders import ActiveOrderExists
from app.main import ROUTERS, create_app
from app.replay import ReplayExchange
from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from tests.conftest import (
    CloneDatabase,
    Installation,
    new_person,
    run_installation,
    settings_for,
)
from tests.integration.api.raw import connected
from tests.integration.api.streaming import eventually, serving
from tests.integration.api.test_conventions import assert_is_error

Labels = frozenset[tuple[str, str]]
TOKEN = "a token for Prometheus alone"


@dataclass(frozen=True)
class Scraped:
    """What GET /metrics said: every sample by its name and labels."""

    text: str
    samples: dict[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        return self.samples.get((name, frozenset(labels.items())), 0)

    def label(self, name: str) -> set[str]:
        return {value for _, labels in self.samples for key, value in labels if key == name}

    def by(self, metric: str, *names: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(dict(labels)[name] for name in names): value
            for (found, labels), value in self.samples.items()
            if found == metric
        }


async def scrape(running: Installation) -> Scraped:
    async with running.client() as client:
        response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return Scraped(
        text=response.text,
        samples={
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        },
    )


@pytest_asyncio.fixture
async def own(clone: CloneDatabase, exchange: ReplayExchange) -> AsyncIterator[Installation]:
    """An installation that nobody else uses, on its own database."""
    async with run_installation(settings_for(await clone(), exchange.base_url)) as running:
        yield running


async def test_orders_are_counted_exactly_by_what_became_of_them(own: Installation) -> None:
    person = await new_person(own, balance="1000000")
    poor = await new_person(own)
    order = {"symbol": "BTCUSDT", "quantity": "0.01"}
    key = {"Idempotency-Key": "the-same"}
    async with person.client as ada, poor.client as bob:
        for _ in range(3):
            assert (await ada.post("/order", json=order)).status_code == 201
            assert (await ada.delete("/order/BTCUSDT")).status_code == 200
        for _ in range(2):  # the second is the first answer once more
            assert (await ada.post("/order", json=order, headers=key)).status_code == 201
            assert (await bob.post("/order", json=order, headers=key)).status_code == 400
        assert (await ada.post("/order", json=order)).status_code == 400
        assert (await bob.post("/order", json=order)).status_code == 400
        assert (await bob.delete("/order?symbol=BTCUSDT")).status_code == 400
        assert (await ada.delete("/order?symbol=BTCUSDT")).status_code == 200
        unknown = {"symbol": "NOSUCHUSDT", "quantity": "1"}
        assert (await ada.post("/order", json=unknown)).status_code == 400
        assert (await ada.post("/order", json={**order, "quantity": "-1"})).status_code == 422
        assert (await ada.post("/order/preview", json=order)).status_code == 200

    seen = await scrape(own)
    assert seen.by("goblin_orders_total", "action", "outcome") == {
        ("open", "done"): 4,
        ("close", "done"): 4,
        ("open", "replayed"): 2,  # one success and one refusal
        ("open", ActiveOrderExists.code): 1,
        ("open", "insufficient_balance"): 2,
        ("open", "unknown_symbol"): 1,
        ("close", "order_not_found"): 1,
    }
    requests = seen.by("goblin_http_requests_total", "method", "route", "status")
    assert requests["POST", "/order", "201"] == 5
    assert requests["POST", "/order", "400"] == 5
    assert requests["POST", "/order", "422"] == 1
    assert requests["DELETE", "/order", "200"] == 1
    for method, route in {(method, route) for method, route, _ in requests}:
        timed = seen.value("goblin_http_request_duration_seconds_count", method=method, route=route)
        counted = sum(n for (m, r, _), n in requests.items() if (m, r) == (method, route))
        assert timed == counted, (method, route)


async def test_a_client_that_leaves_before_its_body_is_there_is_counted_as_nothing_else(
    own: Installation,
) -> None:
    head = (
        b"POST /order HTTP/1.1\r\nHost: goblin\r\nContent-Type: application/json\r\n"
        b"Content-Length: 9\r\n\r\n"
    )
    async with serving(own) as served, connected(served.url) as connection:
        connection.send(head + b"{")
        await eventually(lambda: own.resources.metrics.in_flight == 1)
    scraped = await scrape(own)
    assert scraped.by("goblin_http_requests_total", "route", "status") == {
        ("/order", "aborted"): 1,
    }


async def test_a_thousand_made_up_paths_and_methods_add_one_series_each(own: Installation) -> None:
    random_text = random.Random(4)
    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
    made_up = ["".join(random_text.choices(string.ascii_lowercase, k=12)) for _ in range(1000)]
    async with own.client() as client:
        for number, word in enumerate(made_up):
            method = word[:6].upper() if number % 2 else random_text.choice(methods)
            path = random_text.choice([f"/{word}", f"/order/{word}/{word}", f"/health/{word}"])
            await client.request(method, f"{path}?{word}={word}", headers={"X-Request-ID": word})
    seen = await scrape(own)
    assert not [word for word in made_up if word in seen.text or word[:6].upper() in seen.text]
    assert seen.label("method") <= {*methods, "(other)"}
    assert "(no route)" in seen.label("route")
    requests = seen.by("goblin_http_requests_total", "method", "route", "status")
    assert sum(requests.values()) == 1000
    assert len(requests) < 60


async def test_every_route_that_was_called_stands_under_its_template(own: Installation) -> None:
    templates = {
        (method, route.path.rstrip("/") or "/")
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    } | {("GET", "/docs"), ("GET", "/redoc"), ("GET", "/metrics")}
    assert len(templates) > 30
    async with own.client() as client:
        for method, template in templates:
            path = re.sub(r"{[^}]*}", "Made-Up-Value", template)
            await client.request(method, path)
            if not path.endswith("/"):
                await client.request(method, f"{path}/")
    seen = await scrape(own)
    requests = seen.by("goblin_http_requests_total", "method", "route", "status")
    assert templates <= {(method, route) for method, route, _ in requests}
    assert {route for _, route, _ in requests} == {route for _, route in templates} | {"(no route)"}
    assert "Made-Up-Value" not in seen.text


async def test_no_sample_says_who_asked(own: Installation) -> None:
    person = await new_person(own, balance="10")
    async with person.client as client:
        await client.get("/users/me")
        await client.post("/users/me/deposit", json={"amount": "1"})
    seen = await scrape(own)
    token = person.client.headers["Authorization"].removeprefix("Bearer ")
    for secret in (person.user.email, token, *token.split(".")):
        assert secret not in seen.text
    names = {"method", "route", "status", "le", "job", "version", "python", "venue", "state"}
    assert {key for _, labels in seen.samples for key, _ in labels} <= names


async def test_a_venue_is_timed_by_what_came_of_asking_it(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    async with run_installation(settings_for(address, exchange.base_url)) as running:
        async with running.client() as client:
            for symbol, status in (("BTCUSDT", 200), ("ETHUSDT", 200), ("NOSUCHUSDT", 404)):
                answer = await client.get(f"/market/price?symbol={symbol}")
                assert answer.status_code == status, answer.text
        seen = await scrape(running)
        asked = seen.by("goblin_upstream_duration_seconds_count", "venue", "outcome")
        assert asked == {("Bybit", "answered"): 2, ("Bybit", "unknown_symbol"): 1}
        circuit = seen.by("goblin_venue_circuit", "venue", "state")
        assert circuit == {("Bybit", "closed"): 1, ("Bybit", "open"): 0, ("Bybit", "probing"): 0}
    nobody = "http://127.0.0.1:1"
    async with run_installation(settings_for(address, nobody)) as running:
        async with running.client() as client:
            for _ in range(FAILURES_MAX + 1):
                assert (await client.get("/market/price?symbol=BTCUSDT")).status_code == 503
        seen = await scrape(running)
        asked = seen.by("goblin_upstream_duration_seconds_count", "venue", "outcome")
        assert asked == {
            ("Bybit", "upstream_unavailable"): FAILURES_MAX,
            ("Bybit", "price_unavailable"): 1,
        }
        assert seen.value("goblin_venue_circuit", venue="Bybit", state="open") == 1
        assert seen.value("goblin_venue_circuit", venue="Bybit", state="closed") == 0


async def test_the_pool_shows_who_holds_and_who_waits(own: Installation) -> None:
    db = own.resources.db
    async with AsyncExitStack() as stack:
        borrowed = 0
        while borrowed < db.pool_use.connections_max:
            with suppress(DatabaseUnavailable):  # a busy machine makes few in the second there is
                await stack.enter_async_context(db.connection())
                borrowed += 1
        async with own.client() as client:
            waiting = asyncio.create_task(client.get("/health"))
            while not db.pool_use.waiting:  # noqa: ASYNC110 - it waits a second and tells nobody
                await asyncio.sleep(0)
            assert (db.pool_use.connections, db.pool_use.idle) == (10, 0)
            await stack.aclose()
            assert (await waiting).status_code == 200
    async with asyncio.timeout(20):  # a job may have borrowed one just now
        while (seen := await scrape(own)).value("goblin_database_connections_idle") != 10:
            pass
    assert seen.value("goblin_database_connections_max") == 10
    assert seen.value("goblin_database_waiting") == 0
    assert seen.value("goblin_database_connections") == 10
    assert seen.value("goblin_database_acquire_seconds_count") >= 12
    assert seen.value("goblin_http_requests_in_flight") == 1, "the scrape itself"


async def test_without_a_database_the_metrics_say_so_and_answer(own: Installation) -> None:
    assert (await scrape(own)).value("goblin_database_up") == 1
    database = own.address.database
    admin = await asyncpg.connect(**own.address.with_database("postgres").connect_arguments())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(admin.close)
        await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database
        )
        away = await scrape(own)
        assert away.samples["goblin_database_up", frozenset()] == 0
        assert ("goblin_ledger_alarm", frozenset()) not in away.samples, "nobody knows"
        await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    assert (await scrape(own)).value("goblin_database_up") == 1


async def test_a_discrepancy_of_the_ledger_raises_the_alarm_here_too(own: Installation) -> None:
    async with asyncio.timeout(20):  # the first run of the reconciler would clear the alarm
        while "reconciler" not in (await scrape(own)).label("job"):  # noqa: ASYNC110 - only a scrape tells
            await asyncio.sleep(0.05)
    calm = await scrape(own)
    assert calm.samples["goblin_ledger_alarm", frozenset()] == 0
    async with own.resources.db.transaction() as conn:
        await conn.execute("INSERT INTO ledger_alarms (discrepancy) VALUES ('made up')")
    assert (await scrape(own)).value("goblin_ledger_alarm") == 1


async def test_jobs_and_events_say_how_far_they_are(own: Installation) -> None:
    async with asyncio.timeout(20):
        jobs = {"reconciler", "purge_idempotency_keys"}
        while jobs - (await scrape(own)).label("job"):  # noqa: ASYNC110 - only a scrape tells
            await asyncio.sleep(0.05)
    seen = await scrape(own)
    done_at = seen.value("goblin_job_last_success_timestamp_seconds", job="reconciler")
    assert time.time() - 60 < done_at <= time.time()
    person = await new_person(own)
    own.resources.events.wake(person.user.id)
    untold, lag_seconds = own.resources.events.untold
    assert untold == 1
    assert lag_seconds > 0
    await eventually(lambda: own.resources.events.untold == (0, 0.0))
    seen = await scrape(own)
    assert seen.value("goblin_events_untold_users") == 0
    assert seen.value("goblin_events_lag_seconds") == 0


async def test_two_applications_in_one_process_count_for_themselves(
    own: Installation, installation: Installation
) -> None:
    async with own.client() as client:
        for _ in range(3):
            await client.get("/health/live")
    live = {"method": "GET", "route": "/health/live", "status": "200"}
    before = (await scrape(installation)).value("goblin_http_requests_total", **live)
    assert (await scrape(own)).value("goblin_http_requests_total", **live) == 3
    after = (await scrape(installation)).value("goblin_http_requests_total", **live)
    assert after == before


async def test_with_a_token_the_metrics_are_for_those_who_have_it(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    settings = settings_for(
        await clone(),
        exchange.base_url,
        environment="production",
        jwt_secret_key="0123456789abcdef0123456789abcdef",
        metrics_token=SecretStr(TOKEN),
    )
    async with run_installation(settings) as running, running.client() as client:
        person = await new_person(running)
        async with person.client as somebody:
            assert_is_error(await somebody.get("/metrics"), 401, "invalid_token")
        assert_is_error(await client.get("/metrics"), 401, "not_authenticated")
        for wrong in ("", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "\xff" * 20):
            header = [(b"Authorization", f"Bearer {wrong}".encode("latin-1"))]
            assert (await client.get("/metrics", headers=header)).status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        answer = await client.get("/metrics", headers=right)
        assert answer.status_code == 200
        assert 'goblin_build_info{python="' in answer.text
        assert TOKEN not in answer.text


async def test_in_production_nobody_finds_the_metrics_unless_asked_for(
    installation: Installation,
) -> None:
    for changes, status in (
        ({"environment": "production"}, 404),
        ({"environment": "production", "metrics": "on"}, 200),
        ({"environment": "development", "metrics": "off"}, 404),
    ):
        settings = settings_for(
            installation.address, "http://127.0.0.1:1", jwt_secret_key=string.printable, **changes
        )
        app = create_app(settings)
        app.state.resources = installation.resources
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://goblin") as client:
            answer = await client.get("/metrics")
            assert answer.status_code == status
            if status == 404:
                assert_is_error(answer, 404, "not_found")
