"""Which bodies are read, and how much of them."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from starlette.types import Message
from tests.conftest import Installation, Person
from tests.integration.api.sockets import SAFETY_SECONDS, served_as_goblin_serves
from tests.integration.api.test_conventions import assert_is_error

DEPOSIT = "/users/me/deposit"
CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"
A_FIFTH = 10_000_000 // 65_536
"""What fits into buffers, not the whole."""


async def test_a_chunked_body_of_50_megabytes_is_refused_long_before_its_end(
    installation: Installation,
) -> None:
    async with served_as_goblin_serves(installation.app) as address:
        reader, writer = await address.open()
        writer.write(
            b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        async with asyncio.timeout(SAFETY_SECONDS):
            for _ in range(A_FIFTH):
                writer.write(CHUNK)
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 "), "without the rest, which never comes"
        writer.close()


async def test_a_declared_body_that_is_too_large_is_refused_unread(
    installation: Installation,
) -> None:
    async with served_as_goblin_serves(installation.app) as address:
        answer = await address.answer(
            b"POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50000000\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x"])
async def test_a_compressed_body_is_415_and_is_not_unpacked(ada: Person, encoding: str) -> None:
    bomb = gzip.compress(b" " * 900_000 + b'{"amount": "1"}')
    assert len(bomb) < 2000
    answer = await ada.client.post(
        DEPOSIT,
        content=bomb,
        headers={"Content-Type": "application/json", "Content-Encoding": encoding},
    )
    assert_is_error(answer, 415, "unsupported_media_type")
    assert "Content-Encoding" in answer.json()["message"]
    assert answer.headers["accept-encoding"] == "identity"
    assert await ada.balance() == 1_000_000


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded",
     "multipart/form-data; boundary=x", "application/jsonp", "text/json", "json", "*/*",
     "image/svg+json", "text/plain, application/json"],
)  # fmt: skip
async def test_json_that_does_not_call_itself_json_is_415(ada: Person, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await ada.client.post(DEPOSIT, content=b'{"amount": "1"}', headers=headers)
    assert_is_error(answer, 415, "unsupported_media_type")
    assert answer.json()["message"] == "send the body with Content-Type: application/json"
    assert await ada.balance() == 1_000_000


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON",
     "application/vnd.api+json"],
)  # fmt: skip
async def test_json_by_any_of_its_names_is_read(ada: Person, kind: str) -> None:
    answer = await ada.client.post(
        DEPOSIT, content=b'{"amount": "1"}', headers={"Content-Type": kind}
    )
    assert answer.status_code == 200


async def test_a_form_is_not_read_from_json_nor_json_from_a_form(ada: Person) -> None:
    answer = await ada.client.post("/auth/token", json={"username": "a", "password": "b"})
    assert_is_error(answer, 415, "unsupported_media_type")
    assert "application/x-www-form-urlencoded" in answer.json()["message"]


async def test_a_body_that_may_be_left_out_needs_no_type_when_it_is(ada: Person) -> None:
    assert_is_error(await ada.client.delete("/order?symbol=BTCUSDT"), 400, "order_not_found")


@pytest.mark.parametrize(
    "text",
    ["NaN", "sNaN", "Infinity", "-Infinity", "-0", "-1", "+1", "1e400", "1e3", "1e-21", "1_000",
     " 5", "5 ", " 5 ", "5\n", "١٢٣", "１２", "1,5", ".5", "5.", "0x10", "1.000000000000000000001",
     "10000000000", "", "true", "٣.٥", "1 000", "½", "1\u200b"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("path", "member"),
    [(DEPOSIT, "amount"), ("/users/me/withdraw", "amount"), ("/users/me/reset", "balance"),
     ("/order", "quantity"), ("/order/preview", "quantity")],
)  # fmt: skip
async def test_an_amount_in_any_but_the_plain_spelling_is_422_and_books_nothing(
    ada: Person, path: str, member: str, text: str
) -> None:
    answer = await ada.client.post(path, json={"symbol": "BTCUSDT", member: text})
    assert_is_error(answer, 422, "validation_error")
    assert await ada.balance() == 1_000_000


@pytest.mark.parametrize(
    "number", ["-1", "-0.0", "1e10", "1e400", "1e-21", "true", "0.000000000000000000001", "1" * 30]
)
async def test_an_amount_as_a_json_number_keeps_to_the_same_limits(
    ada: Person, number: str
) -> None:
    answer = await ada.client.post(
        DEPOSIT, content=f'{{"amount": {number}}}', headers={"Content-Type": "application/json"}
    )
    assert_is_error(answer, 422, "validation_error")
    assert await ada.balance() == 1_000_000


@pytest.mark.parametrize(
    ("path", "body", "longest"),
    [("/strategy", {"name": "x"}, {"name": 200}),
     ("/strategy", {"name": "x", "slug": "x"}, {"slug": 200}),
     ("/log", {"symbol": "A", "data": {}, "action": "x"}, {"action": 1000})],
)  # fmt: skip
async def test_a_text_has_a_longest_length_and_is_kept_whole_up_to_it(
    ada: Person, path: str, body: dict[str, object], longest: dict[str, int]
) -> None:
    [(member, characters)] = longest.items()
    letter = "e" if member == "slug" else "é"
    kept = await ada.client.post(path, json={**body, member: letter * (characters - 1) + "x"})
    assert kept.status_code == 201
    assert kept.json()["data"][member] == letter * (characters - 1) + "x"
    assert_is_error(await ada.client.post(path, json={**body, member: "x" * (characters + 1)}), 422)


def test_every_text_that_anybody_sends_has_a_longest_length(installation: Installation) -> None:
    schema = installation.app.openapi()
    endless = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            texts = {
                part["name"]: part["schema"] for part in operation["parameters"] if "schema" in part
            }
            for content in operation.get("requestBody", {}).get("content", {}).values():
                model = content["schema"]["$ref"].rpartition("/")[2]
                texts |= schema["components"]["schemas"][model]["properties"]
            endless += [
                f"{method} {path} {name}" for name, text in texts.items() if _is_endless(text)
            ]
    assert not endless


def _is_endless(schema: dict[str, object]) -> bool:
    if schema.get("type") != "string" or "enum" in schema or "const" in schema:
        return False
    pattern = str(schema.get("pattern", ""))
    has_length = "maxLength" in schema or "format" in schema or (pattern and "{" in pattern)
    return not has_length


async def test_members_that_are_not_the_callers_to_set_change_nothing(
    installation: Installation, ada: Person, bob: Person
) -> None:
    wanted = {
        "id": 1, "user_id": bob.user.id, "balance": "999999", "is_admin": True, "role": "admin",
        "created_at": "2001-01-01T00:00:00Z", "status": 2, "fee": "-1", "buy_price": "0.01",
        "sell_price": "999999", "epoch": 7,
    }  # fmt: skip
    registration = {"email": "mass@example.com", "password": "correct horse", "name": "Mass"}
    async with installation.client() as client:
        made = await client.post("/auth/register", json={**wanted, **registration})
    assert made.status_code == 201
    assert made.json()["data"]["balance"] == "0.00000000000000000000"
    assert not made.json()["data"]["created_at"].startswith("2001")

    order = {"symbol": "ETHUSDT", "quantity": "1"}
    placed = (await ada.client.post("/order", json={**wanted, **order})).json()["data"]
    assert (placed["user_id"], placed["status"]) == (ada.user.id, 1)
    assert placed["buy_price"] != "0.01000000000000000000"
    assert "sell_price" not in placed
    bodies: dict[str, dict[str, object]] = {
        DEPOSIT: {"amount": "1"},
        "/watchlist": {"symbol": "A"},
        "/log": {"symbol": "A", "data": {}, "action": "a"},
        "/strategy": {"name": "x"},
        "/trade-strategy": {"symbol": "A", "strategy_id": 1},
    }
    for path in (DEPOSIT, "/watchlist", "/log"):
        body = bodies[path]
        assert (await ada.client.post(path, json={**wanted, **body})).status_code < 300
    assert (await bob.client.get("/users/me")).json()["data"]["balance"] == f"0.{'0' * 20}"
    for path in ("/strategy", "/trade-strategy"):
        for member, value in wanted.items():
            body = {**bodies[path], member: value}
            assert_is_error(await ada.client.post(path, json=body), 422)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "BREW"])
async def test_a_method_that_no_route_has_is_405(ada: Person, method: str) -> None:
    for path in ("/order", "/", "/users/me"):
        answer = await ada.client.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) <= {"GET", "HEAD", "POST", "PUT", "DELETE"}


GET = b"GET / HTTP/1.1\r\n"
POST = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        POST + b"Content-Length: -1\r\n\r\n{}",
        POST + b"Content-Length: +2\r\n\r\n{}",
        POST + b"Content-Length: 0x2\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        GET.replace(b"\r\n", b"\n") + b"Host: x\n\n",
        GET + b"Host: x\r\nX-Nul: a\x00b\r\n\r\n",
        GET + b"Host: x\r\nBad Name: x\r\n\r\n",
        GET + b"Host: x\r\n folded: x\r\n\r\n",
        GET + b"\r\n",
        GET + b"Host: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_request_that_two_servers_could_read_differently_is_400(
    installation: Installation, request_bytes: bytes
) -> None:
    async with served_as_goblin_serves(installation.app) as address:
        reader, writer = await address.open()
        try:
            writer.write(request_bytes)
            async with asyncio.timeout(SAFETY_SECONDS):
                assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        finally:
            writer.close()


async def test_a_request_without_a_host_or_with_two_is_refused_by_any_server(
    installation: Installation,
) -> None:
    for hosts in ([], [b"x", b"y"], [b"x", b"x"]):
        sent: list[Message] = []
        scope: dict[str, Any] = {
            "type": "http", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
            "method": "GET", "scheme": "http", "http_version": "1.1",
            "headers": [(b"host", host) for host in hosts],
        }  # fmt: skip

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        await installation.app(scope, receive, send)
        assert sent[0]["status"] == 400
        assert json.loads(sent[1]["body"])["meta"]["code"] == "bad_request"
