"""GET /account/statistics where candles of what was held are stored, and where they are not."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from app.db.dao import candles
from app.domain.candles import Candle, Interval
from app.domain.instruments import Category, Symbol, Venue
from app.replay import ReplayExchange
from app.services.candle_store import store
from tests.conftest import (
    CloneDatabase,
    Installation,
    Person,
    new_person,
    run_installation,
    settings_for,
)
from tests.integration.api.test_account import PATH, statistics
from tests.integration.api.test_conventions import assert_is_error

DAY = timedelta(days=1)
QUANTITY = Decimal("0.00123456789012345678")
AGO = timedelta(days=40)


@dataclass(frozen=True)
class Past:
    """Somebody who bought bitcoin and ether forty days ago and sold the ether on the next."""

    running: Installation
    ada: Person
    today: datetime

    def midnight(self, days_ago: int) -> datetime:
        return self.today - days_ago * DAY

    async def keep(
        self,
        closes: Mapping[datetime, str],
        interval: Interval,
        *,
        venue: Venue = Venue.BYBIT,
        category: Category = Category.SPOT,
    ) -> None:
        """Store candles of bitcoin that open at these instants."""
        db = self.running.resources.db
        async with db.connection() as conn:
            series = await candles.upsert_series(
                conn,
                venue=venue,
                category=category,
                symbol=Symbol("BTCUSDT"),
                interval=interval,
                first_open_time=None,
            )
        await store(db, series, [flat(at, price) for at, price in closes.items()])


def flat(open_time: datetime, price: str) -> Candle:
    close = Decimal(price)
    return Candle(
        open_time=open_time, open=close, high=close, low=close, close=close, volume=close,
        turnover=close,
    )  # fmt: skip


SHIFTS = (
    "UPDATE ledger_accounts SET opened_at = opened_at - $1::interval",
    "UPDATE ledger_entries SET event_at = event_at - $1::interval",
    "UPDATE transact SET created_at = created_at - $1::interval",
)


@asynccontextmanager
async def past(clone: CloneDatabase, exchange: ReplayExchange) -> AsyncIterator[Past]:
    """What was done a moment ago, as if it had been done forty days ago."""
    async with run_installation(settings_for(await clone(), exchange.base_url)) as running:
        ada = await new_person(running, balance="1000000")
        async with ada.client:
            for symbol in ("BTCUSDT", "ETHUSDT"):
                order = {"symbol": symbol, "quantity": str(QUANTITY)}
                assert (await ada.client.post("/order", json=order)).status_code == 201
            conn = await asyncpg.connect(**running.address.connect_arguments())
            await conn.execute("SET session_replication_role = replica")  # history is append-only
            for shift, by in [(each, DAY) for each in SHIFTS]:
                await conn.execute(shift, by)
            assert (await ada.client.delete("/order/ETHUSDT")).status_code == 200
            for shift, by in [(each, AGO - DAY) for each in SHIFTS]:
                await conn.execute(shift, by)
            await conn.close()
            now = datetime.now(UTC)
            yield Past(running, ada, now.replace(hour=0, minute=0, second=0, microsecond=0))


def of(found: dict[str, Any], symbol: str) -> dict[str, Any]:
    [outcome] = [each for each in found["symbols"] if each["symbol"] == symbol]
    return dict(outcome)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.usefixtures("one_day")
async def test_open_orders_are_marked_where_candles_are_stored_and_elsewhere_it_is_said(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    async with past(clone, exchange) as its:
        plain = await statistics(its.ada)
        assert plain["marks"] == {
            "venue": "bybit", "category": "spot", "interval": "1d", "marked": 0, "unmarked": 41,
        }  # fmt: skip
        for end in ("begin", "end"):
            assert plain[f"marked_equity_at_{end}"] == plain[f"equity_at_{end}"]
        assert len(plain["days"]) == 2, "without a price nothing moves"
        assert "only one price of BTCUSDT" in plain["buy_and_hold"]["reason"]

        days = {its.midnight(n): str(10_000 + 100 * n) for n in range(1, 31)}
        await its.keep(days, Interval.DAY)
        minutes = {its.midnight(n) - timedelta(minutes=1): "20000" for n in (32, 33)}
        await its.keep(minutes, Interval.MINUTE)
        await its.keep({its.midnight(32): "1"}, Interval.DAY, category=Category.LINEAR)
        await its.keep({its.midnight(35): "1"}, Interval.DAY, venue=Venue.BINANCE)
        found = await statistics(its.ada)
        assert found["marks"]["marked"] == 32
        assert found["marks"]["unmarked"] == 9
        btc, eth = of(found, "BTCUSDT"), of(found, "ETHUSDT")
        assert (btc["marked"], btc["unmarked"]) == (32, 8)
        assert [(instant(s["from"]), instant(s["to"])) for s in btc["unmarked_spans"]] == [
            (its.midnight(40), its.midnight(34)),
            (its.midnight(32), its.midnight(30)),
        ]
        assert (eth["marked"], eth["unmarked"]) == (0, 1)
        worth = (QUANTITY * Decimal(10_100)).quantize(Decimal("1e-20"))
        gained = worth - Decimal(found["open_cost"])
        ended = Decimal(found["equity_at_end"]) + gained
        assert Decimal(found["marked_equity_at_end"]) == ended, "to the last digit"
        for name in ("equity_at_begin", "equity_at_end", "flow", "open_cost", "trades"):
            assert found[name] == plain[name]
        assert btc["prices"]["last"] == "10100.00000000000000000000"
        assert instant(btc["prices"]["last_at"]) == its.today
        assert found["max_drawdown"]["value"] > plain["max_drawdown"]["value"]
        assert "value" in found["sharpe"]
        assert "are needed" in plain["sharpe"]["reason"]
        assert "value" in found["buy_and_hold"]
        assert instant(found["days"][-1]["on"]).date() == (its.today - DAY).date()
        assert found["days"][-1]["marked_equity"] == found["marked_equity_at_end"]

        weekly = await statistics(its.ada, interval="W")
        assert weekly["marks"]["interval"] == "1w"
        assert 4 <= weekly["marks"]["marked"] <= 5
        alone = await statistics(its.ada, symbol="ethusdt")
        assert (alone["marks"]["marked"], alone["marks"]["unmarked"]) == (0, 1)
        cut = {"from": its.midnight(20).isoformat(), "to": its.midnight(10).isoformat()}
        part = await statistics(its.ada, **cut)
        assert part["marks"]["marked"] == 10
        before = await statistics(its.ada, to=cut["from"])
        assert before["marked_equity_at_end"] == part["marked_equity_at_begin"]

        refused = await its.ada.client.get(PATH, params={"interval": "1m"})
        assert_is_error(refused, 400, "too_many_marks")
        assert "ask for a longer interval" in refused.json()["message"]
        unknown = await its.ada.client.get(PATH, params={"interval": "7m"})
        assert_is_error(unknown, 422, "validation_error")
