"""Most requests reach their function without FastAPI's general case; nobody may notice."""

import itertools
from typing import Final

import httpx
from app.core.config import Settings
from app.http.short_way import ShortWays, short_way
from app.main import ROUTERS, create_app
from fastapi.routing import APIRoute
from tests.conftest import Installation, Person, new_person
from tests.integration.api.test_conventions import routes

FASTAPIS_WAY: Final = {
    *("/auth/token", "/events/stream", "/market/stream"),
    *("/export/{table}", "/export/candles"),
}
JSON: Final = {"Content-Type": "application/json"}
BODIES: Final[tuple[tuple[dict[str, str], bytes], ...]] = (
    ({}, b""),
    (JSON, b""),
    (JSON, b"{}"),
    (JSON, b"null"),
    (JSON, b"[1]"),
    (JSON, b'{"symbol": 7, "quantity": "-1", "amount": 1e500, "name": [], "email": {}}'),
    (JSON, b'{"symbol": "X", "symbol": "Y"}'),
    (JSON, b"{nonsense"),
    (JSON, b"\xff"),
    ({"Content-Type": "application/vnd.api+json; charset=utf-8"}, b"{}"),
    ({"Content-Type": "text/plain"}, b"{}"),
    ({**JSON, "Content-Encoding": "gzip"}, b"{}"),
    ({**JSON, "Idempotency-Key": "not a key"}, b"{}"),
)
QUERIES: Final = ("limit=0&offset=-1&epoch=x", "symbol=&as_of=never&active=perhaps&after=-1")
LEFT_OUT: Final = FASTAPIS_WAY | {
    *("/auth/logout", "/auth/refresh"),  # would end the session
    *("/health", "/account/statistics"),  # tell instants
}


async def test_every_route_but_forms_streams_and_files_takes_the_short_way() -> None:
    every = itertools.chain.from_iterable(router.routes for router in ROUTERS)
    long = {r.path.rstrip("/") for r in every if isinstance(r, APIRoute) and short_way(r) is None}
    assert long == FASTAPIS_WAY


async def test_the_short_way_answers_to_the_letter_as_fastapi_does(
    installation: Installation, ada: Person
) -> None:
    without = create_app(Settings(_env_file=None, rate_limit_per_minute=0))
    left_out: object = ShortWays
    without.user_middleware = [part for part in without.user_middleware if part.cls is not left_out]
    assert len(without.user_middleware) == len(installation.app.user_middleware) - 1
    without.state.resources = installation.resources
    transport = httpx.ASGITransport(without, raise_app_exceptions=False)
    token = {"Authorization": ada.client.headers["Authorization"]}
    ended = {"Authorization": await _of_an_ended_session(installation)}
    statuses = set()
    async with httpx.AsyncClient(transport=transport, base_url="http://goblin") as fastapi:
        for method, path in routes():
            if path.endswith("/") or path in LEFT_OUT:
                continue
            asked: list[tuple[str, dict[str, str], bytes]] = [(path, {}, b""), (path, token, b"")]
            asked += [(f"{path}?{query}", token, b"") for query in QUERIES]
            asked += [(path, ended, b""), (f"{path}?{QUERIES[0]}", ended, b"")]
            if method != "GET":
                asked += [(path, headers | ended, body) for headers, body in BODIES]
                asked += [(path, JSON, body) for body in (b"{}", b"{nonsense")]
                asked += [(path, headers | token, body) for headers, body in BODIES]
            for url, headers, body in asked:
                sent = {"Authorization": "", "X-Request-ID": "the-same", **headers}
                ours, theirs = [
                    await client.request(method, url, headers=sent, content=body)
                    for client in (ada.client, fastapi)
                ]
                assert _shown(ours) == _shown(theirs), (method, url, headers, body)
                statuses.add(ours.status_code)
    assert statuses >= {200, 400, 401, 404, 415, 422}


async def _of_an_ended_session(installation: Installation) -> str:
    somebody = await new_person(installation)
    assert (await somebody.client.post("/auth/logout")).status_code == 200
    return somebody.client.headers["Authorization"]


def _shown(response: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    headers = [(k, v) for k, v in response.headers.items() if k != "x-process-time"]
    return response.status_code, headers, response.text
