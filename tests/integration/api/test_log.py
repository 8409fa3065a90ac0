import json

import pytest
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [{}, {"symbol": "A", "data": {}, "action": ""}, {"symbol": "", "data": {}, "action": "a"},
     {"symbol": "ELEVENCHARS", "data": {}, "action": "a"},
     {"symbol": "A", "data": [], "action": "a"}, {"symbol": "A", "data": None, "action": "a"}],
)  # fmt: skip
async def test_an_entry_that_breaks_a_rule_is_422(ada: Person, body: dict[str, object]) -> None:
    assert_is_error(await ada.client.post("/log", json=body), 422)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
async def test_numbers_that_no_json_reader_would_get_back_are_422(ada: Person, number: str) -> None:
    body = f'{{"symbol": "A", "action": "a", "data": {{"x": [1, {number}]}}}}'
    assert_is_error(await ada.client.post("/log", content=body, headers=JSON), 422)
    assert (await ada.client.get("/log")).json()["data"]["total_count"] == 0


async def test_the_users_own_json_is_returned_exactly_as_sent(ada: Person) -> None:
    data = (
        '{"price": 0.12345678901234567891, "big": 123456789012345678901234567890, "none": null,'
        ' "list": [null, {"x": null}], "text": "é \\u2028 \\" \\\\", "empty": {}, "t": true,'
        ' "trailing": 1.10}'
    )
    body = f'{{"symbol": " btcusdt", "action": "hold", "data": {data}}}'
    created = await ada.client.post("/log", content=body.encode(), headers=JSON)
    assert created.status_code == 201
    assert created.json()["message"] == "Log created successfully"
    listed = await ada.client.get("/log")
    for response in (created, listed):
        text = response.text
        for digits in ("0.12345678901234567891", "123456789012345678901234567890", "1.10"):
            assert digits in text
    assert created.json()["data"]["data"] == json.loads(data)
    assert listed.json()["data"]["logs"] == [created.json()["data"]]
    assert set(created.json()["data"]) == {
        "id", "symbol", "data", "action", "created_at", "updated_at",
    }  # fmt: skip


async def test_the_filter_is_literal_and_ignores_case(ada: Person, bob: Person) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "A%B", "A_B", "AXB"):
        await ada.client.post("/log", json={"symbol": symbol, "data": {}, "action": "a"})
    for part, expected in (
        ("usdt", ["ETHUSDT", "BTCUSDT"]), ("%", ["A%B"]), ("_", ["A_B"]), ("\\", []),
        ("a", ["AXB", "A_B", "A%B"]), ("", ["AXB", "A_B", "A%B", "ETHUSDT", "BTCUSDT"]),
    ):  # fmt: skip
        page = (await ada.client.get("/log", params={"symbol": part})).json()["data"]
        assert [entry["symbol"] for entry in page["logs"]] == expected
        assert page["total_count"] == len(expected)
        assert page["unique_symbols"] == ["A%B", "AXB", "A_B", "BTCUSDT", "ETHUSDT"]
    assert (await bob.client.get("/log")).json()["data"]["logs"] == []


async def test_pages_are_newest_first_and_bounded(ada: Person) -> None:
    for number in range(5):
        await ada.client.post("/log", json={"symbol": "A", "data": {"n": number}, "action": "a"})
    page = (await ada.client.get("/log", params={"limit": 2, "offset": 1})).json()["data"]
    assert [entry["data"]["n"] for entry in page["logs"]] == [3, 2]
    assert (page["total_count"], page["limit"], page["offset"]) == (5, 2, 1)
    for query in ({"limit": 0}, {"limit": 1001}, {"offset": -1}, {"limit": "x"}):
        assert_is_error(await ada.client.get("/log", params=query), 422)


async def test_logged_symbols_are_listed_sorted(ada: Person) -> None:
    for symbol in ("ETHUSDT", "BTCUSDT", "ETHUSDT"):
        await ada.client.post("/log", json={"symbol": symbol, "data": {}, "action": "a"})
    assert (await ada.client.get("/log/symbols")).json()["data"] == ["BTCUSDT", "ETHUSDT"]
