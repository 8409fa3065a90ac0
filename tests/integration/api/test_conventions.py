"""The promises that hold for every route."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
import websockets
from app.core.security import create_access_token
from app.domain.access import SessionId
from app.domain.users import UserId
from app.http.routing import ExactRoute
from app.main import ROUTERS
from fastapi.routing import APIRoute, APIWebSocketRoute
from tests.conftest import Installation, Person
from tests.integration.api.sockets import served_as_goblin_serves

OPEN_PATHS = (
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/auth/register",
    "/auth/login",
    "/auth/token",
    "/auth/refresh",
)
EXAMPLES = {
    "{symbol:text}": "BTCUSDT", "{id_or_symbol:text}": "BTCUSDT", "{id_or_symbol}": "1",
    "{strategy_id}": "1", "{trade_strategy_id}": "1",
    "{api_key_id}": "1", "{user_id}": "1",
}  # fmt: skip


def routes() -> list[tuple[str, str]]:
    found = []
    for route in itertools.chain.from_iterable(router.routes for router in ROUTERS):
        if isinstance(route, APIWebSocketRoute):
            continue  # no request and no status
        assert isinstance(route, ExactRoute)
        path = route.path
        for name, value in EXAMPLES.items():
            path = path.replace(name, value)
        found += [(method, path) for method in sorted(route.methods or ())]
    assert len(found) > 40, "the routes were found"
    return found


def assert_is_error(response: httpx.Response, status: int, code: str | None = None) -> None:
    body = response.json()
    assert response.status_code == status, body
    assert set(body) == {"status", "message", "detail", "meta"}
    assert body["status"] == "error"
    assert set(body["meta"]) == {"code", "request_id"}
    assert body["meta"]["request_id"] == response.headers["x-request-id"]
    if status == 422:
        assert all(set(problem) == {"loc", "msg", "type"} for problem in body["detail"])
    else:
        assert body["detail"] == body["message"]
    if code is not None:
        assert body["meta"]["code"] == code


async def test_every_route_but_the_open_ones_asks_for_a_token_before_anything_else(
    anonymous: httpx.AsyncClient,
) -> None:
    for method, path in routes():
        if path.rstrip("/") in OPEN_PATHS or path == "/" or path.startswith("/market"):
            continue
        response = await anonymous.request(method, path, json={"nonsense": -1})
        assert_is_error(response, 401, "not_authenticated")
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["message"] == "Not authenticated"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Basic abc", "Not authenticated"),
        ("Bearer", "Not authenticated"),
        ("Bearer ", "Not authenticated"),
        ("Bearer nonsense", "Invalid token"),
        ("bearer nonsense", "Invalid token"),
        ("BEARER a.b.c", "Invalid token"),
    ],
)
async def test_a_wrong_authorization_header_is_told_apart(
    anonymous: httpx.AsyncClient, header: str, message: str
) -> None:
    response = await anonymous.get("/users/me", headers={"Authorization": header})
    assert_is_error(response, 401)
    assert response.json()["message"] == message


async def test_a_token_of_a_user_who_is_gone_says_so(
    installation: Installation, ada: Person
) -> None:
    ghost = replace(ada.user, id=UserId(2**40))
    other = replace(ada.user, email="other@example.com")
    for user in (ghost, other, replace(ghost, id=UserId(2**70))):
        token = create_access_token(
            user,
            session_id=SessionId(1),
            key=installation.resources.token_key,
            now=datetime.now(UTC),
        )
        response = await ada.client.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        assert_is_error(response, 401, "user_gone")
        assert response.json()["message"] == "User no longer exists"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/order/nowhere/else", 405, "method_not_allowed"),
        ("PATCH", "/order", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
        ("GET", "/docs-assets/nothing.js", 404, "not_found"),
    ],
)
async def test_what_the_framework_refuses_has_the_same_shape(
    anonymous: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    assert_is_error(await anonymous.request(method, path), status, code)


async def test_a_wrong_method_names_every_right_one(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.patch("/order")
    assert response.headers["allow"] == "DELETE, GET, HEAD, POST"


async def test_an_oversized_body_is_refused_in_the_same_shape(ada: Person) -> None:
    response = await ada.client.post(
        "/log", json={"symbol": "BTCUSDT", "action": "x" * 1_100_000, "data": {}}
    )
    assert_is_error(response, 413, "request_too_large")


async def test_collections_answer_with_and_without_a_trailing_slash(ada: Person) -> None:
    for path in ("/order", "/watchlist", "/log", "/strategy", "/trade-strategy"):
        plain, slashed = await ada.client.get(path), await ada.client.get(path + "/")
        assert plain.status_code == slashed.status_code == 200
        assert plain.json() == slashed.json()


async def test_a_request_id_is_accepted_and_returned_or_made(anonymous: httpx.AsyncClient) -> None:
    sent = await anonymous.get("/", headers={"X-Request-ID": "my-id.1"})
    assert sent.headers["x-request-id"] == "my-id.1"
    made = await anonymous.get("/", headers={"X-Request-ID": "no spaces please"})
    assert made.headers["x-request-id"] not in ("", "no spaces please")
    assert float(made.headers["x-process-time"]) >= 0


async def test_a_bug_is_a_500_that_says_nothing(installation: Installation) -> None:
    def explode() -> None:
        raise RuntimeError("secret internals")

    broken = APIRoute("/explode", explode, methods=["GET"])
    installation.app.router.routes.append(broken)
    try:
        async with installation.client() as client:
            response = await client.get("/explode")
    finally:
        installation.app.router.routes.remove(broken)
    assert_is_error(response, 500, "internal_error")
    assert response.json()["message"] == "internal server error"
    assert "secret" not in response.text


async def test_a_validation_error_never_repeats_what_was_submitted(
    anonymous: httpx.AsyncClient,
) -> None:
    response = await anonymous.post(
        "/auth/register",
        json={"email": "hunter2 secret", "password": "hunter2", "name": " "},
    )
    assert_is_error(response, 422, "validation_error")
    assert "hunter2" not in json.dumps(response.json())
    assert len(response.json()["detail"]) == 3


async def test_a_websocket_to_a_path_that_is_none_is_404_in_the_envelope(
    installation: Installation,
) -> None:
    async with served_as_goblin_serves(installation.app) as address:
        for path in ("/ws/nothing", "/ws/events/", "/order", "/"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with websockets.connect(f"ws://127.0.0.1:{address.port}{path}"):
                    pass
            answer = refused.value.response
            body = json.loads(answer.body or b"{}")
            assert (answer.status_code, body["meta"]["code"]) == (404, "not_found"), path
            assert "/ws/events" in body["message"]
