from contextlib import AsyncExitStack

import asyncpg
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
        assert healthy.json()["data"] == {
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
