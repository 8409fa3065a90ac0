"""The composition root: what a process needs, opened in order and closed in reverse."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from importlib.util import find_spec

from app.clients.binance import AsterClient, BinanceClient
from app.clients.bybit import BybitClient
from app.clients.bybit_stream import BybitStream, stream_url_of
from app.clients.venue_http import venue_http_client
from app.core.config import PROJECT, Settings
from app.core.constants import VERSION
from app.core.metrics import Metrics
from app.core.security import TokenKey, token_key
from app.db.address import DatabaseAddress
from app.db.database import Database, open_database
from app.db.dataframes import database_address
from app.db.embedded import embedded_postgres
from app.db.migrate import migrate, newest_version
from app.db.reach import check_usable, create_missing
from app.domain.instruments import Venue
from app.domain.registration import Registration, RegistrationMode
from app.jobs import (
    check_streams,
    drop_old_candles,
    note_api_key_uses,
    poll_events,
    purge_attempts,
    purge_idempotency_keys,
    purge_sessions,
    reconciler,
    refresh_instruments,
    stream_market,
    tell_events,
)
from app.jobs.supervisor import Job, JobBoard, supervised
from app.services.authentication import ApiKeyUses, Authenticator
from app.services.board import Board
from app.services.candles import CandleReader
from app.services.demand import Demand
from app.services.desk import Desk, open_desk
from app.services.event_feed import EventFeed
from app.services.exports import ExportLimits, Exports
from app.services.instruments import Listings
from app.services.market_data import MarketData
from app.services.market_feed import MarketFeed
from app.services.passwords import PasswordHasher
from app.services.ports import HearValue, MarketStream
from app.services.readiness import Readiness
from app.services.relay import Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Everything that requests and jobs share, built once for each process."""

    db: Database
    market: MarketData
    listings: Listings
    candles: CandleReader
    board: Board
    demand: Demand
    market_feed: MarketFeed
    passwords: PasswordHasher
    events: EventFeed
    exports: Exports
    desk: Desk
    token_key: TokenKey
    api_key_uses: ApiKeyUses
    authenticator: Authenticator
    registration: Registration
    starting_balance: Decimal
    readiness: Readiness
    jobs: JobBoard
    metrics: Metrics
    registrations_per_hour: int

    def end_streams(self) -> None:
        """Let everything end that has no end of its own: the process is about to stop."""
        self.events.close()
        self.market_feed.close()


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Start or reach the database, migrate it, and open the clients.

    Raises what the parts raise at their start; each says what to do about it.
    """
    passwords = PasswordHasher(rounds=settings.password_rounds)
    metrics = Metrics(version=VERSION)
    # A quarter of a second on a thread of its own, while the database starts.
    preparing = asyncio.create_task(passwords.prepare())
    try:
        async with open_address(settings) as address:
            await migrate(address, PROJECT / "db" / "migration")
            async with (
                open_database(
                    address, pool_size=settings.db_pool_size, acquired=metrics.acquired
                ) as db,
                open_desk(db, batch_max=settings.orders_per_commit_max) as desk,
                open_venues(settings) as venues,
            ):
                price_venue = Venue(settings.price_source)
                listings = Listings(
                    db=db,
                    sources=venues,
                    price_venue=price_venue,
                    strict_lots=settings.strict_lots,
                )
                board = Board(
                    venue=venues[price_venue].venue,
                    monotonic=time.monotonic,
                    is_fed=_stream_url(settings) is not None,
                )
                demand = Demand(monotonic=time.monotonic)
                market = MarketData(
                    venues[price_venue],
                    price_age_seconds_max=settings.price_max_age_seconds,
                    monotonic=time.monotonic,
                    asked=metrics.asked,
                    board=board,
                    demand=demand,
                )
                readiness = Readiness(
                    db,
                    schema_version=newest_version(PROJECT / "db" / "migration"),
                    venue=lambda: market.venue_state,
                    monotonic=time.monotonic,
                )
                try:
                    await preparing
                    key, uses = token_key(settings), ApiKeyUses()
                    resources = Resources(
                        db=db,
                        market=market,
                        listings=listings,
                        candles=CandleReader(db=db, sources=venues, listings=listings),
                        board=board,
                        demand=demand,
                        market_feed=MarketFeed(
                            board=board, demand=demand, monotonic=time.monotonic
                        ),
                        passwords=passwords,
                        events=EventFeed(),
                        exports=Exports(
                            ExportLimits(per_process=max(1, settings.db_pool_size // 4)),
                            has_arrow=find_spec("pyarrow") is not None,
                        ),
                        desk=desk,
                        token_key=key,
                        api_key_uses=uses,
                        authenticator=Authenticator(db, key=key, uses=uses),
                        registration=Registration(mode=RegistrationMode(settings.registration)),
                        starting_balance=settings.starting_balance,
                        readiness=readiness,
                        jobs=JobBoard(),
                        metrics=metrics,
                        registrations_per_hour=settings.registrations_per_hour,
                    )
                    # What a replay says is old by our clock and not by its own.
                    days = 0 if settings.is_replay else settings.candle_retention_days
                    jobs = _jobs(resources, address, days=days)
                    jobs |= _stream_jobs(resources, address, settings)
                    async with supervised(jobs, board=resources.jobs):
                        yield resources
                finally:
                    await readiness.aclose()
                    await market.aclose()
    finally:
        preparing.cancel()
        passwords.close()


def _jobs(resources: Resources, address: DatabaseAddress, *, days: int) -> dict[str, Job]:
    """What runs in the background of this process, by name; candles are kept for `days`."""
    db, events = resources.db, resources.events
    jobs: dict[str, Callable[..., Awaitable[None]]] = {
        "purge_idempotency_keys": partial(purge_idempotency_keys.run, db),
        "purge_attempts": partial(purge_attempts.run, db),
        "purge_sessions": partial(purge_sessions.run, db),
        "reconciler": partial(reconciler.run, db, address),
        "poll_events": partial(poll_events.run, db, events),
        "check_streams": partial(check_streams.run, db, events),
        "note_api_key_uses": partial(note_api_key_uses.run, db, resources.api_key_uses),
        "tell_events": partial(tell_events.run, address, events),
        "refresh_instruments": partial(refresh_instruments.run, resources.listings, address),
        "drop_old_candles": partial(drop_old_candles.run, db, days=days),
    }
    succeeded = resources.metrics.job_succeeded
    return {name: partial(job, done=partial(succeeded, name)) for name, job in jobs.items()}


def _stream_url(settings: Settings) -> str | None:
    """Where the prices of the price source are streamed, None where nothing is."""
    if settings.market_streams == "off" or settings.price_source != "bybit":
        return None
    return settings.bybit_stream_url or stream_url_of(settings.bybit_base_url)


def _stream_jobs(
    resources: Resources, address: DatabaseAddress, settings: Settings
) -> dict[str, Job]:
    """The market's streams, if they are wanted and there are any of the price source."""
    url = _stream_url(settings)
    if url is None:
        return {}

    def open_stream(hear: HearValue) -> MarketStream:
        return BybitStream(url, hear=hear)

    holder = secrets.token_hex(8)
    streaming = stream_market.Streaming(
        address=address,
        db=resources.db,
        board=resources.board,
        demand=resources.demand,
        open_stream=open_stream,
        source=resources.candles.sources[Venue.BYBIT],
        monotonic=time.monotonic,
        holder=holder,
        listener=Listener(resources.board, holder=holder, monotonic=time.monotonic),
    )
    return {
        "ingest_market": partial(stream_market.ingest, streaming),
        "follow_market": partial(stream_market.follow, streaming),
        "tell_clients": resources.market_feed.run,
    }


@asynccontextmanager
async def open_address(settings: Settings) -> AsyncIterator[DatabaseAddress]:
    """The user's own database, or the embedded one for as long as the block runs.

    Raises DatabaseNotUsable or EmbeddedPostgresError.
    """
    own = database_address(settings)
    if own is not None:
        if settings.is_replay:
            await create_missing(own)
        await check_usable(own)
        yield own
        return
    async with embedded_postgres(
        settings.data_dir / "postgres", database=settings.db_name
    ) as address:
        yield address


@asynccontextmanager
async def open_venues(
    settings: Settings,
) -> AsyncIterator[dict[Venue, BybitClient | BinanceClient]]:
    """A client for each venue; none is asked anything before somebody needs it."""
    timeout_seconds = settings.bybit_timeout_seconds
    async with (
        venue_http_client(settings.bybit_base_url) as bybit,
        venue_http_client(settings.binance_api_url) as binance,
        venue_http_client(settings.aster_api_url) as aster,
    ):
        yield {
            Venue.BYBIT: BybitClient(bybit, timeout_seconds=timeout_seconds),
            Venue.BINANCE: BinanceClient(binance, timeout_seconds=timeout_seconds),
            Venue.ASTER: AsterClient(aster, timeout_seconds=timeout_seconds),
        }
