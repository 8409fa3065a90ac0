"""Where the pages of GET /market/candles begin and end."""

import httpx
from tests.conftest import CloneDatabase
from tests.integration.api.test_candles import KLINE, asked, installed


async def test_an_end_to_come_makes_nothing_missing_and_leads_to_no_further_page(
    clone: CloneDatabase,
) -> None:
    async with installed(clone, None, "2025-01-05T00:00:00Z") as (_, client, exchange):
        query: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "1m", "limit": 10_000}
        day = await asked(client, **query, **{"from": "2025-01-04", "to": "2025-02-01"})
        assert len(day["data"]["candles"]) == 1440
        assert day["meta"]["to"] == "2025-01-05T00:00:00Z"
        assert (day["meta"]["missing"], day["meta"].get("next_cursor")) == ([], None)
        before = exchange.requests.count(KLINE)
        much = await asked(client, **query, **{"from": "2024-12-30", "to": "2025-02-01"})
        assert exchange.requests.count(KLINE) == before, "5 days are too much while you wait"
        assert much["meta"]["missing"] == [
            {"from": "2024-12-30T00:00:00Z", "to": "2025-01-04T00:00:00Z"}
        ]
        assert much["meta"].get("next_cursor") is None


async def test_the_last_page_is_of_what_has_closed_however_late_it_may_end(
    anonymous: httpx.AsyncClient,
) -> None:
    query: dict[str, str | int] = {"symbol": "ETHUSDT", "interval": "1h", "limit": 3}
    now = await asked(anonymous, **query)
    assert len(now["data"]["candles"]) == 3
    for late in ("2090-01-01T00:00:01Z", "2099-12-31"):
        assert await asked(anonymous, **query, to=late) == now
    rows = []
    for end in ({}, {"to": "2099-12-31"}):
        params = {**query, **end, "indicator": "sma:2"}
        response = await anonymous.get("/market/indicators", params=params)
        rows.append(response.json()["data"]["rows"])
    assert rows[0] == rows[1] != []


async def test_a_cursor_alone_is_where_the_page_begins(anonymous: httpx.AsyncClient) -> None:
    query: dict[str, str | int] = {"symbol": "ETHUSDT", "interval": "1h", "limit": 3}
    begun = await asked(anonymous, **query, **{"from": "2024-12-01"})
    assert await asked(anonymous, **query, cursor="2024-12-01") == begun
