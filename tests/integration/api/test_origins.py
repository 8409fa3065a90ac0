"""Which web pages may call, and what a browser is told about it."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
import websockets
from app.core.config import SettingsError, load_settings
from app.db.address import DatabaseAddress
from app.replay import ReplayExchange
from fastapi.routing import APIRoute
from tests.conftest import Installation, Person, run_installation, settings_for
from tests.integration.api.sockets import served_as_goblin_serves
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.api.test_security_headers import assert_is_guarded
from websockets.typing import Origin

DESK, LOCAL = "https://desk.example.com", "http://localhost:5173"
FOREIGN = [
    "https://evil.example", "null", "https://desk.example.com.evil.example", "*", "",
    "https://sub.desk.example.com", "http://desk.example.com", "https://desk.example.com:8443",
    "https://desk.example.com/", "HTTPS://DESK.EXAMPLE.COM", "https://deskXexample.com",
    "http://localhost", "https://desk.example.com, https://evil.example", "file://", "http://goblin",
]  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def listed(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    settings = settings_for(postgres, exchange.base_url, cors_origins=f"{DESK}, {LOCAL}")
    async with run_installation(settings) as running:
        yield running


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }


def permissions(response: httpx.Response) -> dict[str, str]:
    return {
        name: value
        for name, value in response.headers.items()
        if name.startswith("access-control-")
    }


@pytest.mark.parametrize("origin", [DESK, LOCAL])
async def test_a_listed_page_may_ask_and_read(listed: Installation, origin: str) -> None:
    async with listed.client() as client:
        asked = await client.options("/order", headers=preflight(origin))
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == origin
        assert "POST" in asked.headers["access-control-allow-methods"].split(", ")
        allowed = asked.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type", "idempotency-key", "x-api-key"} <= set(allowed)
        assert asked.headers["vary"] == "Origin"
        answer = await client.get("/", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"
        readable = answer.headers["access-control-expose-headers"].split(", ")
        # When to come again, and under which name to save an export.
        assert {"Retry-After", "Content-Disposition"} <= set(readable)
        assert_is_guarded(answer)


async def test_a_listed_page_can_read_errors_too(listed: Installation) -> None:
    def explode() -> None:
        raise RuntimeError

    broken = APIRoute("/explode-for-a-page", explode, methods=["GET"])
    listed.app.router.routes.append(broken)
    try:
        async with listed.client(Origin=DESK) as client:
            answers = {
                401: await client.get("/order"),
                404: await client.get("/nowhere"),
                413: await client.post("/auth/login", content=b"x" * 1_000_001),
                500: await client.get("/explode-for-a-page"),
            }
    finally:
        listed.app.router.routes.remove(broken)
    for status, answer in answers.items():
        assert_is_error(answer, status)
        assert answer.headers["access-control-allow-origin"] == DESK


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_page_of_any_other_origin_is_told_nothing(
    listed: Installation, origin: str
) -> None:
    async with listed.client() as client:
        for answer in (
            await client.options("/order", headers=preflight(origin)),
            await client.get("/", headers={"Origin": origin}),
            await client.post("/auth/login", json={}, headers={"Origin": origin}),
        ):
            assert permissions(answer) == {}
        assert (await client.options("/order", headers=preflight(origin))).status_code == 405


@pytest.mark.parametrize("origin", [DESK, *FOREIGN])
async def test_without_a_list_no_page_is_told_anything(
    anonymous: httpx.AsyncClient, origin: str
) -> None:
    for answer in (
        await anonymous.options("/order", headers=preflight(origin)),
        await anonymous.get("/", headers={"Origin": origin}),
    ):
        assert permissions(answer) == {}


async def test_no_page_may_send_cookies_and_no_answer_is_for_everybody(
    listed: Installation,
) -> None:
    async with listed.client() as client:
        for origin in (DESK, *FOREIGN):
            for answer in (
                await client.options("/order", headers=preflight(origin)),
                await client.get("/", headers={"Origin": origin}),
            ):
                assert "access-control-allow-credentials" not in answer.headers
                assert answer.headers.get("access-control-allow-origin") != "*"


@pytest.mark.parametrize(
    "text",
    ["*", "null", "desk.example.com", "https://desk.example.com/", "https://desk.example.com/x",
     "https://*.example.com", "ftp://desk.example.com", "https://a.example;https://b.example",
     "https://Desk.example.com", "https://desk.example.com:port", "https://user@desk.example.com"],
)  # fmt: skip
def test_a_list_with_what_no_browser_sends_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS: expected origins"):
        load_settings(env_file=None, cors_origins=text)


async def test_a_foreign_page_cannot_open_a_websocket(
    listed: Installation, installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    for running, own in ((listed, [DESK, LOCAL]), (installation, [])):
        async with served_as_goblin_serves(running.app) as address:
            url = f"ws://127.0.0.1:{address.port}/ws/events"
            allowed = (*own, f"http://127.0.0.1:{address.port}")
            for origin in (*map(Origin, allowed), None):
                async with websockets.connect(url, origin=origin):
                    pass
            others = (*FOREIGN, f"http://127.0.0.1:{address.port + 1}", "http://127.0.0.1")
            for origin in map(Origin, (*others, *(() if own else (DESK,)))):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    async with websockets.connect(url, origin=origin):
                        pass
                answer = refused.value.response
                assert answer.status_code == 403, origin
                assert b'"code":"origin_not_allowed"' in (answer.body or b"")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest_asyncio.fixture(scope="module")
async def undocumented(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    settings = settings_for(postgres, exchange.base_url, docs_enabled=False)
    async with run_installation(settings) as running:
        yield running


async def test_the_documentation_can_be_switched_off(
    undocumented: Installation, ada: Person
) -> None:
    async with undocumented.client() as client:
        for path in ("/docs", "/redoc", "/openapi.json", "/docs-assets/redoc.js",
                     "/docs-assets/swagger-ui.css", "/docs/oauth2-redirect"):  # fmt: skip
            answer = await client.get(path)
            assert_is_error(answer, 404, "not_found")
            assert "see /docs" not in answer.json()["message"]
        assert (await client.get("/")).status_code == 200
    assert (await ada.client.get("/docs")).status_code == 200
