"""What hostile requests leave in the log, and what a bug leaves in the answer."""

import io
import json

import httpx
import pytest
from app.core.logging import configure_logging
from fastapi.routing import APIRoute
from tests.conftest import Installation, Person
from tests.integration.api.test_conventions import assert_is_error

FORGED = 'x\r\n{"level":"info","message":"forged"} \x1b[31m\u2028\u2029\x85\x00\u202e'


@pytest.fixture
def log() -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level="DEBUG", style="json", stream=stream)
    return stream


async def test_whatever_a_caller_sends_is_one_line_of_json_for_each_request(
    ada: Person, log: io.StringIO
) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in FORGED.encode())
    raw = httpx.URL("http://goblin").copy_with(raw_path=b"/" + quoted.encode())
    sent = [
        await ada.client.get(raw),
        await ada.client.get(f"/log?symbol={quoted}"),
        await ada.client.delete(f"/watchlist/{quoted}"),
        await ada.client.get("/", headers=[(b"User-Agent", FORGED.encode())]),
        await ada.client.get("/", headers=[(b"X-Request-ID", FORGED.encode())]),
        await ada.client.get("/users/me", headers=[(b"Authorization", FORGED.encode())]),
        await ada.client.post("/auth/login", json={"email": FORGED, "password": FORGED}),
        await ada.client.post("/order", json={"symbol": FORGED, "quantity": FORGED}),
        await ada.client.post("/strategy", json={"name": FORGED.replace("\0", "")}),
        await ada.client.request("GET\x1b[31m", "/"),
    ]
    written = log.getvalue()
    assert written.isascii()
    assert "\x1b" not in written
    lines = [json.loads(line) for line in written.split("\n")[:-1]]
    requests = [line for line in lines if line["logger"] == "goblin.request"]
    assert [line["request_id"] for line in requests] == [
        answer.headers["x-request-id"] for answer in sent
    ]
    assert all(line["message"] != "forged" for line in lines)
    known = {"at", "level", "logger", "message", "method", "route", "status", "milliseconds",
             "request_id", "user_id"}  # fmt: skip
    assert all(set(line) == known for line in requests)


async def test_a_bug_is_in_the_log_with_everything_and_in_the_answer_with_its_id_alone(
    installation: Installation, log: io.StringIO
) -> None:
    async def explode() -> None:
        raise RuntimeError("SELECT secret_column FROM users")

    broken = APIRoute("/explode-in-sql", explode, methods=["GET"])
    installation.app.router.routes.append(broken)
    try:
        async with installation.client() as client:
            response = await client.get("/explode-in-sql")
    finally:
        installation.app.router.routes.remove(broken)
    assert_is_error(response, 500, "internal_error")
    request_id = response.headers["x-request-id"]
    assert response.json() == {
        "status": "error",
        "message": "internal server error",
        "detail": "internal server error",
        "meta": {"code": "internal_error", "request_id": request_id},
    }
    [line] = [
        line
        for line in map(json.loads, log.getvalue().splitlines())
        if line.get("request_id") == request_id
    ]
    assert line["level"] == "error"
    assert line["route"] == "/explode-in-sql"
    assert "secret_column" in line["exception"]
    assert "Traceback" in line["exception"]
