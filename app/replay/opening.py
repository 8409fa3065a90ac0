"""From what a command line says to a running exchange."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from app.domain.instruments import Category
from app.replay.clock import ReplayClock, iso_time, parse_instant_ms
from app.replay.errors import WrongTime
from app.replay.generated import generated_market
from app.replay.recorded import ALSO, recorded_market
from app.replay.server import ReplayExchange, replay_exchange


@asynccontextmanager
async def replay(
    recording: Path | None = None,
    *,
    start: str | None = None,
    speed: float | None = None,
    seed: int = 1,
    also: Collection[Category] = ALSO,
    host: str = "127.0.0.1",
    port: int = 0,
    may_leave_loopback: bool = False,
) -> AsyncIterator[ReplayExchange]:
    """Serve a candle file or folder, or the market of a seed when there is none.

    `start` is an ISO 8601 time or milliseconds (default: where the market starts), `speed`
    exchange seconds in a real second (default 1; 0 stands still until told). Raises
    ReplayError.
    """
    market = (
        generated_market(seed=seed) if recording is None else recorded_market(recording, also=also)
    )
    start_ms = market.start_ms if start is None else parse_instant_ms(start)
    if start_ms < market.first_ms or (market.last_ms is not None and start_ms > market.last_ms):
        until = "" if market.last_ms is None else f" to {iso_time(market.last_ms)}"
        raise WrongTime(
            f"there is nothing at {iso_time(start_ms)}; "
            f"the recording goes from {iso_time(market.first_ms)}{until}"
        )
    clock = ReplayClock(start_ms, last_ms=market.last_ms, speed=1 if speed is None else speed)
    async with replay_exchange(
        market, clock=clock, host=host, port=port, may_leave_loopback=may_leave_loopback
    ) as exchange:
        yield exchange
