import asyncio
from contextlib import AsyncExitStack

import asyncpg
import httpx
from app.replay import ReplayExchange
from tests.conftest import CloneDatabase, run_installation, settings_for
from tests.integration.api.test_conventions import assert_is_error


async def test_health_tells_whether_the_database_answers_and_comes_back_by_itself(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    admin = await asyncpg.connect(**address.with_database("postgres").connect_arguments())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(admin.close)
        running = await stack.enter_async_context(
            run_installation(settings_for(address, exchange.base_url))
        )
        client = await stack.enter_async_context(running.client())
        healthy = await client.get("/health")
        assert healthy.status_code == 200
        data = healthy.json()["data"]
        parts = data.pop("parts")
        assert {name: part["state"] for name, part in parts.items()}.items() >= {
            "database": "connected",
            "migrations": "current",
            "ledger": "agrees",
            "job reconciler": "running",
            "job poll_events": "running",
        }.items()
        assert all(part["age_seconds"] >= 0 for part in parts.values())
        assert data == {
            "status": "healthy",
            "database": "connected",
            "message": "API and database are operational",
        }

        await admin.execute(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS false")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            address.database,
        )
        for path in ("/health", "/health/ready"):
            away = await client.get(path)
            assert_is_error(away, 503, "database_unavailable")
            assert away.json()["message"] == "API or database dependency is unavailable"
            assert away.headers["retry-after"]
        assert (await client.get("/health/live")).status_code == 200
        login = await client.post("/auth/login", json={"email": "a@b.co", "password": "12345678"})
        assert_is_error(login, 503, "database_unavailable")

        await admin.execute(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS true")
        assert (await client.get("/health")).status_code == 200


async def reconciled(client: httpx.AsyncClient) -> None:
    """Until the reconciler has run, whose first run would clear an alarm that was made up."""
    done = 'goblin_job_last_success_timestamp_seconds{job="reconciler"}'
    async with asyncio.timeout(20):
        while done not in (await client.get("/metrics")).text:  # noqa: ASYNC110 - only a scrape tells
            await asyncio.sleep(0.05)


async def test_ready_means_that_an_order_could_be_placed_and_the_error_says_what_is_missing(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    settings = settings_for(address, exchange.base_url, db_pool_size=2)
    async with AsyncExitStack() as stack:
        admin = await asyncpg.connect(**address.connect_arguments())
        stack.push_async_callback(admin.close)
        running = await stack.enter_async_context(run_installation(settings))
        client = await stack.enter_async_context(running.client())
        ready = await client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["data"]["checks"].items() >= {
            "database": "connected", "migrations": "current", "ledger": "agrees",
        }.items()  # fmt: skip

        await admin.execute("UPDATE schema_version SET version = '0.' || version")
        assert_is_error(await client.get("/health/ready"), 503, "schema_not_current")
        health = await client.get("/health")
        assert health.status_code == 200, "the API and its database work"
        assert health.json()["data"]["parts"]["migrations"]["state"] == "missing"
        await admin.execute("UPDATE schema_version SET version = substr(version, 3)")

        await reconciled(client)
        await admin.execute("INSERT INTO ledger_alarms (discrepancy) VALUES ('made up')")
        assert_is_error(await client.get("/health/ready"), 503, "ledger_stopped")
        await admin.execute("UPDATE ledger_alarms SET cleared_at = now()")
        assert (await client.get("/health/ready")).status_code == 200

        await admin.execute(
            f"ALTER DATABASE {address.database} SET default_transaction_read_only = on"
        )
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = $1 AND application_name = 'goblin'",
            address.database,
        )
        async with asyncio.timeout(20):
            answer = await client.get("/health/ready")
            while "read-only" not in answer.text:  # the old connections come first
                answer = await client.get("/health/ready")
        assert_is_error(answer, 503, "database_read_only")
        assert (await client.get("/health/live")).status_code == 200
