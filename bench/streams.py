"""scripts/bench streams: how long a ticker is on its way through goblin to many clients.

A venue in its own process tells tickers with the instant at which each was written; goblin, in
its own process too, follows it; clients in this one follow goblin, and read that instant.
"""

import argparse
import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import httpx
import uvloop
from app.db.dao import instruments
from app.db.database import Database
from app.domain.instruments import Category, Instrument, Symbol, Venue
from websockets.asyncio.client import ClientConnection, connect

from bench.installation import Installation, open_installation
from bench.report import Aim, print_aims

P99_MS_MAX: Final = 100.0
CLIENTS_PER_ADDRESS: Final = 10
FIRST_SECONDS_MAX: Final = 60.0
"""How long the first tickers of all may take to the clients."""
SETTLE_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.05
ANSWER_SECONDS_MAX: Final = 60.0
CPU: Final = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
INSTANT: Final = re.compile(r'"venue_time_ms":(\d+)')


@dataclass(slots=True)
class Seen:
    """What all clients together were told, since they were asked to look."""

    told: set[ClientConnection] = field(default_factory=set)
    """Who was told anything at all."""
    is_looking: bool = False
    messages: int = 0
    latencies_ms: list[int] = field(default_factory=list)

    async def listen(self, connection: ClientConnection) -> None:
        async for message in connection:
            if connection not in self.told and INSTANT.search(str(message)):
                self.told.add(connection)
            if self.is_looking:
                now_ms = time.time_ns() // 1_000_000
                self.messages += 1
                self.latencies_ms += [now_ms - int(ms) for ms in INSTANT.findall(str(message))]

    def quantile_ms(self, share: float) -> int:
        """The latency that this share of the updates did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(
    installation: Installation, *, clients: int, symbols: int, rate: float, seconds: float
) -> list[Aim]:
    """Print what the clients saw, and what it cost whom."""
    async with asyncio.TaskGroup() as listening:
        names = [f"COIN{number}USDT" for number in range(symbols)]
        topics = [f"linear/{name}/ticker" for name in names]
        await _list(installation.db, names)
        frames = ("bench.tickers", "--rate", str(rate))
        async with installation.process(*frames) as venue:
            settings = {"BYBIT_STREAM_URL": venue.replace("http", "ws"), "MARKET_STREAMS": "on"}
            async with (
                installation.serving("app", "serve", settings=settings) as (host, port),
                httpx.AsyncClient(
                    base_url=f"http://{host}:{port}", timeout=ANSWER_SECONDS_MAX
                ) as http,
            ):
                seen = Seen()
                connections = []
                for number in range(clients):
                    local = f"127.0.0.{2 + number // CLIENTS_PER_ADDRESS}"
                    connection = await connect(
                        f"ws://{host}:{port}/ws/market",
                        proxy=None, compression=None, local_addr=(local, 0),
                    )  # fmt: skip
                    await connection.send(json.dumps({"op": "subscribe", "topics": topics}))
                    connections.append(connection)
                    listening.create_task(seen.listen(connection))
                await _until(lambda: len(seen.told) == clients)
                await asyncio.sleep(SETTLE_SECONDS)
                server_before, own_before = await _cpu_seconds(http), _own_cpu_seconds()
                seen.is_looking, began_at = True, time.monotonic()
                await asyncio.sleep(seconds)
                await _until(lambda: bool(seen.latencies_ms))  # all may stand still for so long
                seen.is_looking, took = False, time.monotonic() - began_at
                server = (await _cpu_seconds(http) - server_before) / took
                own = (_own_cpu_seconds() - own_before) / took
                for connection in connections:
                    await connection.close()
    print(
        f"{clients} clients on {len(topics)} symbols, {rate:g} tickers a second of each, "
        f"{took:.1f} s"
    )
    print(f"  messages to each client     {seen.messages / took / clients:>10.1f} a second")
    print(
        f"  updates to each client      {len(seen.latencies_ms) / took / clients:>10.1f} a second"
    )
    for name, share in (("p50", 0.5), ("p99", 0.99), ("worst", 1.0)):
        print(f"  {name:<27} {seen.quantile_ms(share):>10} ms from frame in to frame out")
    print(f"  of a core: goblin           {server:>10.0%}")
    print(f"  of a core: the clients      {own:>10.0%}")
    return [
        Aim(
            text=f"{P99_MS_MAX:g} ms, divided by the p99",
            measured=P99_MS_MAX / max(seen.quantile_ms(0.99), 1),
            wanted_min=1,
        )
    ]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(FIRST_SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - tickers announce nothing
            await asyncio.sleep(POLL_SECONDS)


async def _list(db: Database, symbols: Sequence[str]) -> None:
    """As if the venue had listed them today."""
    listed = [
        Instrument(
            venue=Venue.BYBIT, category=Category.LINEAR, symbol=Symbol(symbol), base=symbol,
            quote="USDT", status="Trading", tick_size=Decimal("0.1"), lot_step=Decimal("0.001"),
            quantity_min=Decimal("0.001"), quantity_max=None, amount_min=None,
        )
        for symbol in symbols
    ]  # fmt: skip
    async with db.transaction() as conn:
        refreshed_at = await instruments.get_instant(conn)
        await instruments.upsert_instruments(conn, instruments=listed, refreshed_at=refreshed_at)


async def _cpu_seconds(http: httpx.AsyncClient) -> float:
    found = CPU.search((await http.get("/metrics")).text)
    assert found is not None, "every Prometheus client shows it"
    return float(found[1])


def _own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def run(*, clients: int, symbols: int, rate: float, seconds: float) -> list[Aim]:
    """Measure in a scratch installation."""
    async with open_installation() as installation:
        return await measure(
            installation, clients=clients, symbols=symbols, rate=rate, seconds=seconds
        )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if the aim was missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench streams", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--rate", type=float, default=50.0, help="tickers a second of each symbol")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args(arguments)
    aims = uvloop.run(
        run(
            clients=options.clients,
            symbols=options.symbols,
            rate=options.rate,
            seconds=options.seconds,
        )
    )
    print_aims(aims)
    return 0 if all(aim.is_met for aim in aims) else 1


if __name__ == "__main__":
    sys.exit(main())
