"""Slow clients: what four kinds of hostile sockets do to everybody else, and how long they last.

    python -m bench.slow_clients --count 1000

Normal traffic is measured without and with 4 x count sockets that send nothing, a header or a
body drop by drop, or one request and then nothing. One that is closed is opened again.
"""

import argparse
import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle, repeat
from typing import Final, cast

import uvloop

from bench.installation import Installation, Person, open_installation
from bench.load import Run, drive, request_bytes
from bench.report import Aim, latency_ms, print_aims

CLIENTS: Final = 4
SYMBOL: Final = "BTCUSDT"
P99_MS_MAX: Final = 100.0
CLOSED_SECONDS_MAX: Final = 15.0
DRIP_SECONDS: Final = 2.0
TICK_SECONDS: Final = 0.01
OPENED_A_TICK: Final = 10

KINDS: Final = {
    "sends nothing": (b"", b""),
    "header drips": (b"GET / HTTP/1.1\r\nhost: goblin\r\nx-drip: ", b"a"),
    "body drips": (
        b"POST /auth/login HTTP/1.1\r\nhost: goblin\r\ncontent-length: 900000\r\n\r\n",
        b"a",
    ),
    "asks once": (request_bytes("GET", "/health/live"), b""),
}
"""What is sent at once, and then drop by drop."""


class _Hostile(asyncio.Protocol):
    """One socket, from its opening until the server closes it."""

    def __init__(self, kind: str, flood: "Flood") -> None:
        self.kind = kind
        self._flood = flood
        self._opened_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._opened_at = asyncio.get_running_loop().time()
        self._flood.opened(self)
        self._transport.write(KINDS[self.kind][0])

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        lived = asyncio.get_running_loop().time() - self._opened_at
        self._flood.closed(self, self.kind, lived)

    def drip(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(KINDS[self.kind][1])

    def abort(self) -> None:
        assert self._transport is not None
        self._transport.abort()


class Flood:
    """The hostile sockets; as many of each kind are open as were asked for."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.lifetimes: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.is_over = False
        self._address = address
        self._open: dict[_Hostile, None] = {}
        self._missing = [kind for _ in range(count) for kind in KINDS]
        self._wanted = len(self._missing)
        self.is_full = asyncio.Event()

    def opened(self, hostile: _Hostile) -> None:
        self._open[hostile] = None

    def closed(self, hostile: _Hostile, kind: str, lived: float) -> None:
        del self._open[hostile]
        if not self.is_over:
            self.lifetimes[kind].append(lived)
            self._missing.append(kind)

    async def run(self) -> None:
        """Open, drip, and open again, a few sockets at a time so that nothing comes in bursts."""
        loop = asyncio.get_running_loop()
        dripping: list[_Hostile] = []
        while True:
            for _ in range(min(OPENED_A_TICK, len(self._missing))):
                kind = self._missing.pop()
                await loop.create_connection(partial(_Hostile, kind, self), *self._address)
            if len(self._open) >= 0.95 * self._wanted:
                self.is_full.set()
            share = int(self._wanted * TICK_SECONDS / DRIP_SECONDS) + 1
            dripping = dripping or [h for h in self._open if KINDS[h.kind][1]]
            for hostile in dripping[:share]:
                if hostile in self._open:
                    hostile.drip()
            del dripping[:share]
            await asyncio.sleep(TICK_SECONDS)

    def end(self) -> None:
        self.is_over = True
        for hostile in list(self._open):
            hostile.abort()


@asynccontextmanager
async def flooding(address: tuple[str, int], count: int) -> AsyncIterator[Flood]:
    """The sockets are open for as long as the block runs."""
    flood = Flood(address, count)
    running = asyncio.create_task(flood.run())
    try:
        full = asyncio.create_task(flood.is_full.wait())
        await asyncio.wait({running, full}, return_when=asyncio.FIRST_COMPLETED)
        full.cancel()
        if running.done():
            running.result()
        yield flood
    finally:
        running.cancel()
        await asyncio.wait({running})
        flood.end()


async def measure(installation: Installation, *, count: int, seconds: float) -> list[Aim]:
    """Print what normal traffic sees without and with the flood, and how long that lived."""
    async with installation.serving("app", "serve") as address:
        people = await installation.people(CLIENTS)
        clients = [_traffic(person, index) for index, person in enumerate(people)]
        await drive(address, clients, seconds=min(1.0, seconds))
        alone = await drive(address, clients, seconds=seconds)
        async with flooding(address, count) as flood:
            beside = await drive(address, clients, seconds=seconds)
        again = await drive(address, clients, seconds=seconds)
    print(f"\nNormal traffic, {CLIENTS} clients: orders, and GET /users/me")
    print(f"  {'':<44}{'per second':>11}{'p50 ms':>9}{'p99 ms':>9}")
    _print("alone", alone)
    _print(f"beside {len(KINDS)} x {count} hostile sockets", beside)
    _print("alone again", again)
    print(f"\nHostile sockets{'':<31}{'closed':>11}{'median s':>9}{'longest s':>10}")
    for kind, lifetimes in flood.lifetimes.items():
        ordered = sorted(lifetimes)
        median, longest = (ordered[len(ordered) // 2], ordered[-1]) if ordered else (0.0, 0.0)
        print(f"  {kind:<44}{len(ordered):>11,}{median:>9.1f}{longest:>10.1f}")
    return _aims(beside, flood)


def _aims(beside: Run, flood: Flood) -> list[Aim]:
    lived = max((each for seen in flood.lifetimes.values() for each in seen), default=float("nan"))
    return [
        Aim(
            text=f"{P99_MS_MAX:g} ms, divided by the p99 beside the sockets",
            measured=P99_MS_MAX / latency_ms([beside], 0.99),
            wanted_min=1,
        ),
        Aim(
            text=f"{CLOSED_SECONDS_MAX:g} s, divided by the longest life of a socket",
            measured=CLOSED_SECONDS_MAX / lived,
            wanted_min=1,
        ),
    ]


def _traffic(person: Person, index: int) -> Iterator[bytes]:
    if index % 2:
        return repeat(request_bytes("GET", "/users/me", token=person.token))
    order = {"symbol": SYMBOL, "quantity": "0.001"}
    return cycle(
        [
            request_bytes("POST", "/order", token=person.token, body=order),
            request_bytes("DELETE", f"/order/{SYMBOL}", token=person.token),
        ]
    )


def _print(name: str, run: Run) -> None:
    print(
        f"  {name:<44}{run.per_second:>11,.0f}{run.latency_ms(0.5):>9.2f}"
        f"{run.latency_ms(0.99):>9.2f}"
    )


async def run(*, count: int, seconds: float) -> bool:
    """Measure in a scratch installation; whether every aim was met."""
    async with open_installation() as installation:
        aims = await measure(installation, count=count, seconds=seconds)
    print_aims(aims)
    return all(aim.is_met for aim in aims)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if an aim was missed."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench slow-clients", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=1000, help="sockets of each of four kinds")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    options = parser.parse_args(arguments)
    _, files_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_limit, files_limit))
    return 0 if uvloop.run(run(count=options.count, seconds=options.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
