"""What every answer tells a browser, whatever the answer is."""

from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from tests.conftest import Installation, Person
from tests.integration.api.sockets import served_as_goblin_serves
from tests.integration.api.test_conventions import routes


def assert_is_guarded(response: httpx.Response) -> None:
    headers = response.headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'"), response.url
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "strict-transport-security" not in headers, "it came over plain HTTP"
    assert all(headers.get_list(name) for name in ("x-request-id", "x-process-time"))
    for name in ("content-security-policy", "x-content-type-options", "cache-control"):
        assert len(headers.get_list(name)) == 1, f"{name} once"


async def test_every_route_answers_a_stranger_with_the_security_headers_and_no_store(
    anonymous: httpx.AsyncClient,
) -> None:
    for method, path in routes():
        response = await anonymous.request(method, path, json={"nonsense": -1})
        assert_is_guarded(response)
        assert response.headers["cache-control"] == "no-store", (method, path)


async def test_what_belongs_to_somebody_is_never_kept_by_a_cache(ada: Person) -> None:
    for method, path in routes():
        if method == "GET" and not path.startswith("/events/stream"):
            response = await ada.client.get(path)
            assert_is_guarded(response)
            assert response.headers["cache-control"] == "no-store", path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/redoc", 200),
        ("GET", "/docs-assets/swagger-ui.css", 200),
        ("GET", "/docs-assets/redoc.js", 200),
        ("GET", "/docs-assets/nothing.js", 404),
        ("GET", "/nowhere", 404),
        ("PATCH", "/order", 405),
        ("POST", "/auth/login", 413),
        ("POST", "/auth/login", 422),
    ],
)
async def test_every_kind_of_answer_has_the_security_headers(
    anonymous: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    content = b"x" * (1_000_001 if status == 413 else 1)
    headers = {"Content-Type": "application/json"}
    body: dict[str, Any] = {"content": content, "headers": headers} if method == "POST" else {}
    response = await anonymous.request(method, path, **body)
    assert response.status_code == status
    assert_is_guarded(response)


async def test_a_500_has_the_security_headers(installation: Installation) -> None:
    def explode() -> None:
        raise RuntimeError

    broken = APIRoute("/explode-guarded", explode, methods=["GET"])
    installation.app.router.routes.append(broken)
    try:
        async with installation.client() as client:
            response = await client.get("/explode-guarded")
    finally:
        installation.app.router.routes.remove(broken)
    assert response.status_code == 500
    assert_is_guarded(response)
    assert response.headers["cache-control"] == "no-store"


async def test_a_browser_is_told_to_stay_with_tls_only_where_it_came_by_tls(
    installation: Installation,
) -> None:
    transport = httpx.ASGITransport(installation.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://goblin") as client:
        response = await client.get("/")
    assert response.headers["strict-transport-security"] == "max-age=31536000"


async def test_the_pages_of_the_documentation_run_only_their_own_scripts(
    anonymous: httpx.AsyncClient,
) -> None:
    for path in ("/docs", "/redoc"):
        policy = (await anonymous.get(path)).headers["content-security-policy"]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert "'unsafe-inline'" not in directives["script-src"]
        assert "http" not in policy, "nothing from elsewhere"


async def test_a_script_of_the_documentation_is_kept_until_it_changes(
    anonymous: httpx.AsyncClient,
) -> None:
    first = await anonymous.get("/docs-assets/swagger-ui.css")
    assert first.headers["cache-control"] == "no-cache"
    again = await anonymous.get(
        "/docs-assets/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]}
    )
    assert again.status_code == 304
    assert again.headers["cache-control"] == "no-cache"


async def test_no_answer_names_the_server_software(installation: Installation) -> None:
    async with served_as_goblin_serves(installation.app) as address:
        for path in (b"/", b"/nowhere", b"/docs"):
            answer = await address.answer(
                b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path
            )
            head = answer.partition(b"\r\n\r\n")[0].lower()
            assert head.startswith(b"http/1.1 ")
            assert b"\r\nserver:" not in head
            assert b"uvicorn" not in head
