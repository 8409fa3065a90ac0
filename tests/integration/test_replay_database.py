"""A replay and the live market never meet in one database, nor do two replays."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.backfill import add_arguments, backfill
from app.core.config import Settings, SettingsError
from app.core.security import InvalidToken, create_access_token, read_access_token, token_key
from app.db.address import DatabaseAddress
from app.db.reach import REPLAY_LOCK_KEY, DatabaseNotUsable, create_missing, sole_replay
from app.domain.access import SessionId
from app.domain.users import User, UserId
from app.replay import replay
from app.serving import UsageError, replay_database, replaying
from tests.conftest import Installation, new_person, run_installation, settings_for

OPENED_MS = 1_748_736_000_000
"""2025-06-01T00:00Z, where both recordings begin."""

HOUR = {"symbol": "BTCUSDT", "interval": "1m", "from": "2025-06-01", "to": "2025-06-01T01:00Z"}
NEVER = "http://127.0.0.1:1"
"""Where the live venue would be: nobody listens."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same symbol and hour at 100 and at 200."""
    folder = tmp_path_factory.mktemp("recordings")
    made = []
    for name, price in (("cheap", 100), ("dear", 200)):
        file = folder / name / "bybit_spot_BTCUSDT_1.csv"
        file.parent.mkdir()
        rows = [
            f"{OPENED_MS + minute * 60_000},{price},{price},{price},{price},1"
            for minute in range(61)
        ]
        file.write_text("\n".join(["ts,open,high,low,close,volume", *rows, ""]))
        made.append(file.parent)
    return made[0], made[1]


@pytest_asyncio.fixture
async def own(postgres: DatabaseAddress) -> AsyncIterator[DatabaseAddress]:
    """Where the live database would be; it is not there yet, nor is any of a replay."""
    yield postgres.with_database("apart")
    admin = await asyncpg.connect(**postgres.connect_arguments())
    for name in ("apart_replay", "second_replay", "modest_replay"):
        await admin.execute(f"DROP DATABASE IF EXISTS {name}")
    await admin.execute("DROP ROLE IF EXISTS modest")
    await admin.close()


@pytest.fixture
def live(own: DatabaseAddress) -> Settings:
    return settings_for(own, NEVER)


@asynccontextmanager
async def replayed(live: Settings, folder: Path) -> AsyncIterator[Installation]:
    """What `serve --replay FOLDER --start ... --speed 0` serves, without its socket."""
    options = argparse.Namespace(replay=str(folder), start="2025-06-01T01:00:30Z", speed=0.0)
    async with (
        replaying(live, options) as (settings, _),
        replay_database(settings),
        run_installation(settings) as running,
    ):
        yield running


async def closes(client: httpx.AsyncClient) -> set[Decimal]:
    answer = await client.get("/market/candles", params=HOUR)
    assert answer.is_success, answer.text
    rows = answer.json()["data"]["candles"]
    assert len(rows) == 60
    return {Decimal(row["close"]) for row in rows}


async def candles_in(address: DatabaseAddress, database: str) -> int:
    conn = await asyncpg.connect(**address.with_database(database).connect_arguments())
    rows: int = await conn.fetchval("SELECT count(*) FROM candles")
    await conn.close()
    return rows


async def test_another_recording_mixes_no_candle_and_keeps_every_account_and_order(
    live: Settings, own: DatabaseAddress, recordings: tuple[Path, Path]
) -> None:
    cheap, dear = recordings
    async with replayed(live, cheap) as running:
        person = await new_person(running, balance="1000")
        assert await closes(person.client) == {100}
        order = {"symbol": "BTCUSDT", "quantity": "2"}
        assert (await person.client.post("/order", json=order)).is_success
        headers = person.client.headers
        await person.client.aclose()
    assert await candles_in(own, "apart_replay") == 60

    async with (
        replayed(live, dear) as running,
        running.client(Authorization=headers["Authorization"]) as client,
    ):
        assert await closes(client) == {200}
        closed = await client.delete("/order/BTCUSDT")
        assert closed.json()["data"]["diffDollar"].startswith("200.0")
        me = await client.get("/users/me")
        assert me.json()["data"]["balance"].startswith("1200.0")

    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await candles_in(own, "apart")


async def test_two_replays_at_once_are_refused_and_told_how_to_be_two(
    own: DatabaseAddress, live: Settings, recordings: tuple[Path, Path]
) -> None:
    async with replayed(live, recordings[0]):
        with pytest.raises(DatabaseNotUsable) as failure:
            async with sole_replay(own.with_database("apart_replay"), patience_seconds=0):
                pass
        assert "another replay uses the database apart_replay" in str(failure.value)
        assert "DB_NAME=second" in str(failure.value)
        second = live.model_copy(update={"db_name": "second"})
        async with replayed(second, recordings[1]) as running, running.client() as client:
            assert await closes(client) == {200}


async def test_a_replay_is_the_only_one_also_after_the_database_was_restarted(
    own: DatabaseAddress,
) -> None:
    replays = own.with_database("apart_replay")
    await create_missing(replays)
    async with sole_replay(replays, check_seconds=0.01), asyncio.timeout(10):
        conn = await asyncpg.connect(**replays.connect_arguments())
        held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND granted"
        holder = await conn.fetchval(held, REPLAY_LOCK_KEY)
        await conn.execute("SELECT pg_terminate_backend($1)", holder)
        while await conn.fetchval(held, REPLAY_LOCK_KEY) in (holder, None):
            pass
        await conn.close()
        with pytest.raises(DatabaseNotUsable):
            async with sole_replay(replays, patience_seconds=0):
                pass
    async with sole_replay(replays, patience_seconds=5):
        pass


async def test_a_role_that_may_not_create_databases_is_told_the_command(
    own: DatabaseAddress,
) -> None:
    admin = await asyncpg.connect(**own.with_database("postgres").connect_arguments())
    await admin.execute("CREATE ROLE modest LOGIN")
    modest = replace(own, user="modest", database="modest_replay")
    with pytest.raises(DatabaseNotUsable) as failure:
        await create_missing(modest)
    command = f"createdb -h {own.host} -p {own.port} -U postgres -O modest modest_replay"
    assert str(failure.value).endswith(f"Remedy: {command}")
    await admin.execute("CREATE DATABASE modest_replay OWNER modest")  # what it does
    await create_missing(modest)
    await admin.close()


def test_a_token_of_the_replay_opens_nothing_of_the_live_market(live: Settings) -> None:
    user = User(
        id=UserId(1), email="first@example.com", name="First", balance=Decimal(0),
        created_at=datetime.now(UTC), epoch=1,
    )  # fmt: skip
    token = create_access_token(
        user, session_id=SessionId(1), key=token_key(live.for_replay()), now=datetime.now(UTC)
    )
    assert read_access_token(token, key=token_key(live.for_replay())).user_id == user.id
    with pytest.raises(InvalidToken):
        read_access_token(token, key=token_key(live))


async def test_the_replay_of_a_replay_is_itself_and_a_name_that_postgresql_would_cut_is_refused(
    live: Settings,
) -> None:
    assert live.for_replay().db_name == "apart_replay"
    assert live.for_replay().for_replay().db_name == "apart_replay"
    with pytest.raises(SettingsError, match="shorter DB_NAME"):
        live.model_copy(update={"db_name": "g" * 57}).for_replay()


@pytest.mark.parametrize(
    "changes", [{"bybit_base_url": "https://api.bybit.com"}, {"price_source": "binance"}]
)
async def test_live_prices_are_not_served_into_the_database_of_replays(
    live: Settings, changes: dict[str, str]
) -> None:
    options = argparse.Namespace(replay=None, start=None, speed=None)
    wrong = live.for_replay().model_copy(update=changes)
    with pytest.raises(UsageError, match=r"apart_replay is for replays, .*: add --replay"):
        async with replaying(wrong, options):
            pass
    async with replaying(live.for_replay(), options) as (settings, _):  # of `python -m app.replay`
        assert settings.is_replay


async def test_a_replay_follows_its_own_stream_whatever_the_environment_says(
    live: Settings, recordings: tuple[Path, Path]
) -> None:
    live = live.model_copy(update={"bybit_stream_url": "wss://stream.bybit.com"})
    options = argparse.Namespace(replay=str(recordings[0]), start=None, speed=0.0)
    async with replaying(live, options) as (settings, _):
        assert settings.bybit_stream_url == settings.bybit_base_url.replace("http", "ws")


@pytest.mark.parametrize(
    ("url", "venue"), [("https://api.bybit.com", "bybit"), (NEVER, "binance"), (NEVER, "aster")]
)
async def test_nothing_of_a_live_venue_is_downloaded_into_a_replay(
    live: Settings, capsys: pytest.CaptureFixture[str], url: str, venue: str
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args(["BTCUSDT", "1m", "--from", "2025-01-01", "--venue", venue])
    replayed = live.for_replay().model_copy(update={"bybit_base_url": url})
    assert await backfill(replayed, options) == 2
    assert "come from its replay exchange alone" in capsys.readouterr().err


@pytest.mark.parametrize("day", ["2025-01-01", "2090-01-01"])
async def test_a_replay_is_downloaded_by_its_own_clock_and_whatever_the_live_market_keeps(
    live: Settings, own: DatabaseAddress, capsys: pytest.CaptureFixture[str], day: str
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    begin_at = datetime.fromisoformat(f"{day}T00:00Z") - timedelta(hours=1)
    options = parser.parse_args(["BTCUSDT", "1m", "--from", begin_at.isoformat()])
    await create_missing(own.with_database("apart_replay"))
    async with replay(start=f"{day}T00:00:30Z", speed=0) as exchange:
        changes = {"bybit_base_url": exchange.base_url, "candle_retention_days": 30}
        settings = live.for_replay().model_copy(update=changes)
        assert await backfill(settings, options) == 0, capsys.readouterr().err
    assert "60 candles new, 60 open times" in capsys.readouterr().out
