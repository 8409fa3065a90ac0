import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
import pytest_asyncio
from app.db.dao.instruments import get_instrument
from app.domain.errors import UpstreamUnavailable
from app.domain.instruments import Category, Instrument, Symbol, Venue
from app.jobs import drop_old_candles, refresh_instruments
from app.replay import ReplayExchange
from app.resources import open_resources
from app.services.instruments import UNLISTED, Listings
from app.services.ports import InstrumentSource
from tests.conftest import (
    CloneDatabase,
    Installation,
    fill_pool,
    new_person,
    run_installation,
    settings_for,
)
from tests.integration.api.test_conventions import assert_is_error

INFO = "/v5/market/instruments-info"


@pytest_asyncio.fixture
async def strict(clone: CloneDatabase, exchange: ReplayExchange) -> AsyncIterator[Installation]:
    """An installation of its own with STRICT_LOTS=true."""
    settings = settings_for(await clone(), exchange.base_url, strict_lots=True)
    async with run_installation(settings) as running:
        await fill_pool(running)
        await refreshed(running)
        yield running


async def refreshed(running: Installation) -> None:
    """Until the daily refresh has looked for once: it would ask for what a test makes old."""
    done = 'goblin_job_last_success_timestamp_seconds{job="refresh_instruments"}'
    async with asyncio.timeout(20), running.client() as client:
        while done not in (await client.get("/metrics")).text:  # noqa: ASYNC110 - only a scrape tells
            await asyncio.sleep(0.02)


async def test_a_category_is_listed_page_by_page_with_its_rules(
    anonymous: httpx.AsyncClient,
) -> None:
    listed: list[str] = []
    cursor = ""
    while True:
        response = await anonymous.get(
            "/market/instruments", params={"limit": 2, "cursor": cursor, "venue": "bybit"}
        )
        assert response.status_code == 200, response.text
        body = response.json()
        listed += [instrument["symbol"] for instrument in body["data"]["instruments"]]
        assert len(body["data"]["instruments"]) <= 2
        if "next_cursor" not in body["meta"]:
            break
        cursor = body["meta"]["next_cursor"]
    assert listed == ["BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]

    one = await anonymous.get("/market/instruments", params={"symbol": " btcusdt "})
    assert one.json()["data"]["instruments"] == [
        {
            "venue": "bybit", "category": "spot", "symbol": "BTCUSDT", "base": "BTC",
            "quote": "USDT", "status": "Trading", "tick_size": "0.1", "lot_step": "0.000001",
            "quantity_min": "0.000011", "quantity_max": "50", "amount_min": "5",
        }
    ]  # fmt: skip
    none = await anonymous.get("/market/instruments", params={"symbol": "NOSUCH"})
    assert none.json() == {"status": "success", "meta": {}, "data": {"instruments": []}}
    for category in ("linear", "inverse", "option"):
        found = await anonymous.get("/market/instruments", params={"category": category})
        assert found.json()["data"]["instruments"]
    wrong = {"venue": "binance", "category": "linear"}
    assert_is_error(
        await anonymous.get("/market/instruments", params=wrong), 404, "category_not_listed"
    )
    for query in ({"venue": "nyse"}, {"category": "bonds"}, {"limit": 0}, {"cursor": "A" * 31}):
        assert_is_error(await anonymous.get("/market/instruments", params=query), 422)


async def test_a_first_need_is_fetched_once_however_many_have_it(
    strict: Installation, exchange: ReplayExchange
) -> None:
    async with strict.client() as client:
        exchange.faults.add("status_503", times=1, path=INFO)
        before = exchange.requests.count(INFO)
        assert_is_error(await client.get("/market/instruments"), 503, "upstream_unavailable")
        answers = await asyncio.gather(*(client.get("/market/instruments") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert exchange.requests.count(INFO) == before + 2


async def test_a_symbol_that_came_after_the_daily_refresh_is_found_and_nonsense_costs_no_flood(
    strict: Installation, exchange: ReplayExchange
) -> None:
    async def read(client: httpx.AsyncClient, symbol: str) -> int:
        query = {"symbol": symbol, "interval": "1d", "to": "2024-12-02", "limit": "1"}
        return (await client.get("/market/candles", params=query)).status_code

    async with strict.client() as client:
        assert await read(client, "ETHUSDT") == 200
        before = exchange.requests.count(INFO)
        assert await read(client, "NOSUCHUSDT") == 404
        assert exchange.requests.count(INFO) == before, "the list is seconds old"
        async with strict.resources.db.connection() as conn:
            await conn.execute("DELETE FROM instruments WHERE symbol = 'BTCUSDT'")
            await conn.execute("UPDATE instruments SET refreshed_at = now() - interval '1 hour'")
        assert await asyncio.gather(*(read(client, "BTCUSDT") for _ in range(5))) == [200] * 5
        for _ in range(3):
            async with strict.resources.db.connection() as conn:
                await conn.execute("UPDATE instruments SET refreshed_at = '2025-01-01'")
            assert await read(client, "NOSUCHUSDT") == 404
        assert exchange.requests.count(INFO) == before + 1


async def test_an_order_that_the_venue_would_not_take_is_told_the_rule_and_the_nearest_quantity(
    strict: Installation, installation: Installation
) -> None:
    person = await new_person(strict, balance="1000000000")
    for quantity, rule, nearest in (
        ("0.0000115", "a multiple of the lot step 0.000001", None),
        ("0.123456789", "a multiple of the lot step 0.000001", "0.123457"),
        ("0.000001", "at least 0.000011", None),
        ("50.5", "at most 50", "50"),
        ("0.000011", "price times quantity has to be at least 5 USDT", None),
    ):
        body = {"symbol": "BTCUSDT", "quantity": quantity}
        told = ""
        for path in ("/order", "/order/preview"):
            refused = await person.client.post(path, json=body)
            assert_is_error(refused, 400, "lot_rule")
            message = refused.json()["message"]
            assert rule in message
            told = message.rpartition(" ")[2]
            assert nearest is None or told == nearest
        assert (await person.client.get("/order")).json()["meta"]["total_count"] == 0
        opened = await person.client.post("/order", json={"symbol": "BTCUSDT", "quantity": told})
        assert opened.status_code == 201, "the nearest allowed quantity is allowed"
        await person.client.delete("/order/BTCUSDT")
        await person.client.post("/users/me/reset", json={"balance": "1000000000"})
    unknown = await person.client.post("/order", json={"symbol": "NOSUCH", "quantity": "1"})
    assert_is_error(unknown, 400, "unknown_symbol")

    async with strict.resources.db.transaction() as conn:
        await conn.execute("DELETE FROM instruments WHERE symbol = 'ETHUSDT'")
    free = await person.client.post("/order", json={"symbol": "ETHUSDT", "quantity": "0.0000001"})
    assert free.status_code == 201, "what the venue has not described is not checked"
    await person.client.aclose()

    lenient = await new_person(installation, balance="1000000")
    body = {"symbol": "BTCUSDT", "quantity": "0.0000001"}
    assert (await lenient.client.post("/order", json=body)).status_code == 201
    await lenient.client.aclose()


class Venues:
    """A venue whose list changes; only what a refresh asks of it."""

    venue = "Bybit"
    categories = (Category.SPOT,)

    def __init__(self, listed: list[Instrument]) -> None:
        self.listed = listed

    async def fetch_instruments(self, category: Category) -> list[Instrument]:
        assert category is Category.SPOT
        return self.listed


def listings_of(running: Installation, source: InstrumentSource) -> Listings:
    """Another process's, which asks this venue."""
    return Listings(
        db=running.resources.db,
        sources={Venue.BYBIT: source},
        price_venue=Venue.BYBIT,
        strict_lots=False,
    )


async def known_bitcoin(running: Installation) -> Instrument:
    async with running.resources.db.connection() as conn:
        known = await get_instrument(
            conn, venue=Venue.BYBIT, category=Category.SPOT, symbol=Symbol("BTCUSDT")
        )
    assert known is not None
    return known


async def test_what_a_venue_stops_listing_is_marked_and_an_empty_list_is_not_believed(
    strict: Installation,
) -> None:
    before = strict.resources.listings
    await before.refresh(Venue.BYBIT, Category.SPOT)
    known = await known_bitcoin(strict)
    changed = replace(known, tick_size=Decimal("0.5"))
    source = Venues([changed, changed])
    listings = listings_of(strict, source)

    async def statuses() -> dict[str, str]:
        page = await listings.list_page(
            Venue.BYBIT, Category.SPOT, symbol=None, after="", limit=100
        )
        return {instrument.symbol: instrument.status for instrument in page}

    assert await listings.refresh(Venue.BYBIT, Category.SPOT) == 2
    assert await listings.require(Venue.BYBIT, Category.SPOT, Symbol("BTCUSDT")) == changed
    shown = await statuses()
    assert shown.pop("BTCUSDT") == "Trading"
    assert set(shown.values()) == {UNLISTED}
    source.listed = []
    await listings.refresh(Venue.BYBIT, Category.SPOT)
    assert (await statuses())["BTCUSDT"] == "Trading"


async def test_a_list_that_was_asked_for_earlier_unlists_nothing_that_a_later_one_has(
    strict: Installation,
) -> None:
    """As of two processes, of which one is slow, on the day of a new symbol."""
    await strict.resources.listings.refresh(Venue.BYBIT, Category.SPOT)
    known = await known_bitcoin(strict)
    new = replace(known, symbol=Symbol("NEWUSDT"))
    later = listings_of(strict, Venues([known, new]))

    class Slow(Venues):
        async def fetch_instruments(self, category: Category) -> list[Instrument]:
            listed = await super().fetch_instruments(category)
            await later.refresh(Venue.BYBIT, category)
            return listed

    await listings_of(strict, Slow([known])).refresh(Venue.BYBIT, Category.SPOT)
    found = await later.require(Venue.BYBIT, Category.SPOT, Symbol("NEWUSDT"))
    assert found.status == "Trading"


async def test_a_new_symbol_is_not_called_unknown_because_the_venue_was_away_for_a_moment(
    strict: Installation,
) -> None:
    async with strict.resources.db.connection() as conn:
        await conn.execute("DELETE FROM instruments")
    await strict.resources.listings.refresh(Venue.BYBIT, Category.SPOT)
    async with strict.resources.db.connection() as conn:
        await conn.execute("UPDATE instruments SET refreshed_at = now() - interval '2 minutes'")
    known = await known_bitcoin(strict)

    class Away(Venues):
        is_away = True

        async def fetch_instruments(self, category: Category) -> list[Instrument]:
            if self.is_away:
                raise UpstreamUnavailable(self.venue)
            return await super().fetch_instruments(category)

    new = replace(known, symbol=Symbol("NEWUSDT"))
    source = Away([known, new])
    listings = listings_of(strict, source)
    with pytest.raises(UpstreamUnavailable):
        await listings.require(Venue.BYBIT, Category.SPOT, new.symbol)
    source.is_away = False
    assert await listings.require(Venue.BYBIT, Category.SPOT, new.symbol) == new


async def test_the_daily_refresh_asks_for_what_is_in_use_and_survives_a_bad_venue(
    strict: Installation, exchange: ReplayExchange, caplog: pytest.LogCaptureFixture
) -> None:
    listings = strict.resources.listings
    assert await refresh_instruments.refresh(listings, age_max=timedelta(0)) == 0
    await listings.refresh(Venue.BYBIT, Category.SPOT)
    await listings.refresh(Venue.BYBIT, Category.LINEAR)
    assert await refresh_instruments.refresh(listings) == 0, "not a day old"
    exchange.faults.add("status_500", times=1, path=INFO)
    assert await refresh_instruments.refresh(listings, age_max=timedelta(0)) == 1
    assert "instruments could not be refreshed" in caplog.text


async def test_old_candles_are_dropped_by_the_job_and_kept_without_the_setting(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    settings = settings_for(address, exchange.base_url)
    async with run_installation(settings) as running, running.client() as client:
        query: dict[str, str | int] = {
            "symbol": "BTCUSDT", "interval": "1h", "to": "2024-12-01", "limit": 2,
        }  # fmt: skip
        assert (await client.get("/market/candles", params=query)).status_code == 200
        db = running.resources.db
        assert await drop_old_candles.drop(db, before=datetime(2024, 11, 30, tzinfo=UTC)) == []

        async def months() -> list[str]:
            async with db.connection() as conn:
                rows = await conn.fetch("SELECT DISTINCT tableoid::regclass::text FROM candles")
            return [row["tableoid"] for row in rows]

        assert await months() == ["candles_2024_11"]
        async with open_resources(settings.model_copy(update={"candle_retention_days": 30})):
            async with asyncio.timeout(20):
                while await months():  # noqa: ASYNC110 - a job of another process
                    await asyncio.sleep(0.05)
