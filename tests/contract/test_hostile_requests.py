"""No request, however hostile, is more than a client's error: generated from /openapi.json."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from tests.concurrency.conftest import patiently
from tests.conftest import Installation, Person, fill_pool, make_administrator
from tests.contract.hostile import (
    HOSTILE_BODIES,
    HOSTILE_TEXTS,
    HOSTILE_VALUES,
    NEVER_READ,
    NEVER_STORED,
    WELL_FORMED,
    Operation,
    operations,
)
from tests.integration.api.test_conventions import assert_is_error

JSON = {"Content-Type": "application/json"}
TOGETHER_MAX = 8


@pytest_asyncio.fixture(scope="module", autouse=True)
async def patience(installation: Installation) -> AsyncIterator[None]:
    """Whoever waits for a connection or a row is answered at last, and not told 503 or 409."""
    await fill_pool(installation)  # from which what is read of the market comes
    async with patiently(installation, size=TOGETHER_MAX):
        yield


@pytest_asyncio.fixture
async def owner(installation: Installation, ada: Person) -> Person:
    """Ada, whom no route refuses before it has looked at what she sends."""
    await make_administrator(installation, ada)
    return ada


@pytest.fixture(scope="module")
def every_operation(installation: Installation) -> list[Operation]:
    return list(operations(installation.app.openapi()))


@pytest.fixture(scope="module")
def every_json_route(every_operation: list[Operation]) -> list[Operation]:
    return [
        operation
        for operation in every_operation
        if (body := operation.body()) is not None and body[0] == "application/json"
    ]


async def send_all(
    client: httpx.AsyncClient, requests: dict[str, httpx.Request]
) -> dict[str, httpx.Response]:
    """The answers by the name of the request, asked for a few at a time."""
    answers: dict[str, httpx.Response] = {}
    waiting = list(requests.items())

    async def work() -> None:
        while waiting:
            name, request = waiting.pop()
            answers[name] = await client.send(request)
            assert answers[name].status_code < 500, (name, answers[name].text)
            assert_is_proper(answers[name])

    await asyncio.gather(*(work() for _ in range(TOGETHER_MAX)))
    return answers


def assert_is_proper(response: httpx.Response) -> None:
    if response.status_code >= 400:
        assert_is_error(response, response.status_code)


async def test_no_hostile_body_is_more_than_a_client_error_on_any_route(
    owner: Person, every_operation: list[Operation]
) -> None:
    assert len(HOSTILE_BODIES) >= 33
    with_body = [operation for operation in every_operation if operation.body() is not None]
    assert len(with_body) >= 15
    requests = {
        f"{operation.name} {name}": owner.client.build_request(
            operation.method, operation.url(), content=body, headers=JSON
        )
        for operation in with_body
        for name, body in HOSTILE_BODIES.items()
    }
    await send_all(owner.client, requests)


async def test_a_body_that_is_no_proper_json_is_422_with_the_reason_on_every_route(
    owner: Person, every_json_route: list[Operation]
) -> None:
    for operation in every_json_route:
        for name in NEVER_READ:
            answer = await owner.client.request(
                operation.method, operation.url(), content=HOSTILE_BODIES[name], headers=JSON
            )
            assert_is_error(answer, 422, "validation_error")
            [problem] = answer.json()["detail"]
            assert problem["type"] == "json_invalid"
            assert problem["msg"].startswith("JSON decode error: ")


async def test_no_hostile_value_of_any_member_of_a_body_is_more_than_a_client_error(
    owner: Person, every_json_route: list[Operation]
) -> None:
    requests = {}
    for operation in every_json_route:
        body = operation.body()
        assert body is not None
        _, members, example = body
        for member in members:
            for name, value in HOSTILE_VALUES.items():
                if "password" in members and name in WELL_FORMED:
                    continue
                others = {key: text for key, text in example.items() if key != member}
                start = json.dumps(others)[:-1] + (", " if others else "")
                requests[f"{operation.name} {member} {name}"] = owner.client.build_request(
                    operation.method,
                    operation.url(),
                    content=f'{start}"{member}": {value}}}'.encode(),
                    headers=JSON,
                )
    answers = await send_all(owner.client, requests)
    for name, answer in answers.items():
        if name.endswith(NEVER_STORED):
            assert answer.status_code == 422, (name, answer.text)
    assert len(answers) > 300


async def test_no_hostile_path_or_query_is_more_than_a_client_error(
    owner: Person, every_operation: list[Operation]
) -> None:
    requests = {}
    for operation in every_operation:
        body = operation.body()
        for part in (*operation.parameters("path"), *operation.parameters("query")):
            for text in HOSTILE_TEXTS:
                raw = operation.url(**{part["name"]: text}).encode()
                requests[f"{operation.name} {part['name']} {text}"] = owner.client.build_request(
                    operation.method,
                    httpx.URL("http://goblin").copy_with(raw_path=raw),
                    json=None if body is None else body[2],
                )
    assert len(requests) > 500
    await send_all(owner.client, requests)


@pytest.mark.parametrize("text", ["\0", "%00", "a\0b", "%E0%80%80%00"])
async def test_a_nul_in_a_query_is_422_on_every_route_that_stores_or_looks_for_it(
    owner: Person, every_operation: list[Operation], text: str
) -> None:
    count = 0
    for operation in every_operation:
        for part in operation.parameters("query"):
            raw = operation.url(**{part["name"]: text}).encode()
            url = httpx.URL("http://goblin").copy_with(raw_path=raw)
            body = operation.body()
            response = await owner.client.request(
                operation.method, url, json=None if body is None else body[2]
            )
            assert_is_error(response, 422)
            count += 1
    assert count > 20


async def test_a_number_in_a_query_is_taken_in_plain_digits_only(
    owner: Person, every_operation: list[Operation]
) -> None:
    count = 0
    for operation in every_operation:
        for part in operation.parameters("query"):
            if part["schema"].get("type") not in ("integer", "number"):
                continue
            for text in ("1_0", " 1", "1 ", "١", "１", "+1", "1e0", "0x1", "true", "", "1\n"):
                url = operation.url(**{part["name"]: text})
                answer = await owner.client.request(operation.method, url)
                assert_is_error(answer, 422)
            count += 1
    assert count >= 10, "limits, offsets, cursors, epochs, event numbers"


CANDLES_PER_PAGE_MAX = 10_000


async def test_no_page_is_larger_than_a_thousand_or_of_candles_than_ten_thousand(
    owner: Person, every_operation: list[Operation]
) -> None:
    paged = [
        (operation, part)
        for operation in every_operation
        for part in operation.parameters("query")
        if part["name"] == "limit"
    ]
    assert len(paged) >= 4
    for operation, part in paged:
        most = CANDLES_PER_PAGE_MAX if operation.path == "/market/candles" else 1000
        assert part["schema"]["maximum"] <= most
        for text in ("1000000000", str(most + 1), "0", "-1", "9" * 40):
            assert_is_error(await owner.client.get(f"{operation.path}?limit={text}"), 422)


@pytest.mark.parametrize("cursor", ["0", "-1", "9223372036854775808", "abc", "1' OR '1'='1", "MQ"])
async def test_a_cursor_that_was_tampered_with_is_422(ada: Person, cursor: str) -> None:
    assert_is_error(await ada.client.get("/ledger/entries", params={"cursor": cursor}), 422)


async def test_a_cursor_of_somebody_else_shows_nothing_of_theirs(ada: Person, bob: Person) -> None:
    await ada.client.post("/users/me/deposit", json={"amount": "1"})
    entries = (await ada.client.get("/ledger/entries")).json()["data"]["entries"]
    newest = max(entry["id"] for entry in entries)
    stolen = await bob.client.get("/ledger/entries", params={"cursor": newest + 1})
    ids = {entry["id"] for entry in stolen.json()["data"]["entries"]}
    assert not ids & {entry["id"] for entry in entries}


@pytest.mark.parametrize("header", ["Idempotency-Key", "Last-Event-ID"])
async def test_a_hostile_header_is_422(ada: Person, header: str) -> None:
    for text in (
        b"a\xff",
        b"\xed\xa0\x80",
        b"x" * 65,
        b"a b",
        b"",
        "١".encode(),
        b"a\\",
        b"1_0\xa0",
    ):
        if header == "Idempotency-Key":
            answer = await ada.client.post(
                "/users/me/deposit", json={"amount": "1"}, headers=[(header.encode(), text)]
            )
        else:
            answer = await ada.client.get("/events/stream", headers=[(header.encode(), text)])
        assert_is_error(answer, 422)


@pytest.mark.parametrize(
    "token", [b"\xff\xfe", b"a\xed\xa0\x80", b"x" * 60_000, b"a.b.c\\u0000", b"\xc3\xa9"]
)
async def test_a_hostile_token_is_401(ada: Person, token: bytes) -> None:
    headers = [(b"Authorization", b"Bearer " + token)]
    assert_is_error(await ada.client.get("/users/me", headers=headers), 401)
