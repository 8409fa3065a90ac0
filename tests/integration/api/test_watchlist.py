import asyncio

from tests.conftest import Installation, Person, fill_pool
from tests.integration.api.test_conventions import assert_is_error


async def test_a_symbol_is_one_to_ten_characters(ada: Person) -> None:
    for symbol in ("", "   ", "TOOLONGSYMBOL", None, 1):
        assert_is_error(await ada.client.post("/watchlist", json={"symbol": symbol}), 422)


async def test_a_letter_without_a_capital_of_one_character_stays_as_it_is(ada: Person) -> None:
    response = await ada.client.post("/watchlist", json={"symbol": " ßßßßßßßßßé "})
    assert response.json()["data"]["symbol"] == "ßßßßßßßßßÉ"


async def test_adding_twice_is_adding_once(ada: Person) -> None:
    first = await ada.client.post("/watchlist", json={"symbol": " btcusdt "})
    again = await ada.client.post("/watchlist", json={"symbol": "BTCUSDT"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert set(first.json()["data"]) == {"id", "symbol", "created_at"}
    assert first.json()["data"]["symbol"] == "BTCUSDT"


async def test_eight_simultaneous_additions_make_one_entry(
    installation: Installation, ada: Person
) -> None:
    await fill_pool(installation)
    answers = await asyncio.gather(
        *(ada.client.post("/watchlist", json={"symbol": "SOLUSDT"}) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.text for answer in answers}) == 1


async def test_the_list_is_newest_first_and_the_owners_own(ada: Person, bob: Person) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "ADAUSDT"):
        await ada.client.post("/watchlist", json={"symbol": symbol})
    listed = (await ada.client.get("/watchlist")).json()["data"]
    assert [entry["symbol"] for entry in listed["watchlists"]] == ["ADAUSDT", "ETHUSDT", "BTCUSDT"]
    assert listed["unique_symbols"] == ["ADAUSDT", "BTCUSDT", "ETHUSDT"]
    others = (await bob.client.get("/watchlist")).json()["data"]
    assert others == {"watchlists": [], "unique_symbols": []}


async def test_any_listed_symbol_can_be_deleted(ada: Person, bob: Person) -> None:
    for symbol in ("BTC/USDT", "BTC%USDT", "A B", "A\nB", "É"):
        await ada.client.post("/watchlist", json={"symbol": symbol})
    for path, symbol in (
        ("btc/usdt", "BTC/USDT"), ("BTC%25USDT", "BTC%USDT"), ("A%20B", "A B"), ("A%0AB", "A\nB"),
        ("%C3%A9", "É"),
    ):  # fmt: skip
        assert_is_error(await bob.client.delete(f"/watchlist/{path}"), 404)
        response = await ada.client.delete(f"/watchlist/{path}")
        assert response.json() == {
            "status": "success",
            "message": f"Watchlist entry for symbol '{symbol}' deleted successfully",
            "data": {},
        }
    assert (await ada.client.get("/watchlist")).json()["data"]["watchlists"] == []


async def test_deleting_what_is_not_listed_says_so(ada: Person) -> None:
    missing = await ada.client.delete("/watchlist/xrpusdt")
    assert_is_error(missing, 404, "watchlist_entry_not_found")
    assert missing.json()["message"] == "Watchlist entry for symbol 'XRPUSDT' not found"
    too_long = await ada.client.delete("/watchlist/ELEVENCHARS")
    assert_is_error(too_long, 400, "symbol_too_long")
    assert too_long.json()["message"] == "Symbol must be 10 characters or less"
