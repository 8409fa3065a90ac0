"""Growth: what an order costs among few and many users and past orders.

    scripts/bench growth [--sizes 1000:10000 100000:1000000] [--rounds 5] [--seconds 3]

A size is USERS:ORDERS, the past orders altogether. Each is a database of its own, filled before
anything is measured; then each has its server for a moment, in turn, round after round, with
all its jobs (the reconciler reads every book there is, and has to leave room for orders).
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle

import asyncpg
import uvloop

from bench.crowds import crowd, log_in
from bench.installation import Installation, open_installation
from bench.load import Run, drive, request_bytes
from bench.report import Aim, Rounds, print_aims, print_rates, ratio

CLIENTS = 16
SYMBOL = "BTCUSDT"
SIZES = ("1000:10000", "100000:100000", "1000:1000000")
WARM_SECONDS = 1.0
SHARE_MIN = 0.8


@dataclass(frozen=True, slots=True)
class Size:
    """How many users there are, and how many orders they have closed."""

    users: int
    orders: int

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.orders:,} past orders"


def size(text: str) -> Size:
    """From USERS:ORDERS."""
    users, _, orders = text.partition(":")
    if not (users.isdecimal() and orders.isdecimal() and int(users) >= 1):
        raise argparse.ArgumentTypeError(f"expected USERS:ORDERS, for example 1000:10000: {text}")
    return Size(int(users), int(orders))


async def measure(sizes: list[Size], *, rounds: int, seconds: float) -> list[Aim]:
    """Print the table; return the aims and what they came to."""
    async with AsyncExitStack() as stack:
        installation = await stack.enter_async_context(open_installation())
        crowds: dict[str, Installation] = {}
        for each in sizes:
            began_at = time.perf_counter()
            crowds[str(each)] = crowded = await stack.enter_async_context(
                crowd(installation, users=each.users, orders_each=each.orders // each.users)
            )
            used = await _bytes_of(crowded)
            print(
                f"filled {each} in {time.perf_counter() - began_at:.0f} s, {used >> 20:,} MiB",
                flush=True,
            )
        measured: dict[str, list[Run]] = {name: [] for name in crowds}
        clients = {name: await _clients(crowded) for name, crowded in crowds.items()}
        for number in range(rounds):
            forth = list(crowds)
            for name in forth if number % 2 == 0 else reversed(forth):
                run = await _round(crowds[name], clients[name], seconds=seconds)
                measured[name].append(run)
    shown: dict[str, Rounds] = {**measured}
    smallest = str(sizes[0])
    print_rates(f"POST + DELETE /order, {CLIENTS} clients; ratio to the first", shown, of=smallest)
    return [
        Aim(
            text=f"orders among {name}, of those among the first",
            measured=ratio(measured[name], measured[smallest]),
            wanted_min=SHARE_MIN,
        )
        for name in measured
        if name != smallest
    ]


async def _clients(crowded: Installation) -> list[Iterator[bytes]]:
    clients: list[Iterator[bytes]] = []
    for number in range(1, CLIENTS + 1):
        person = await log_in(crowded, number)
        buy = request_bytes(
            "POST", "/order", token=person.token, body={"symbol": SYMBOL, "quantity": "0.001"}
        )
        sell = request_bytes("DELETE", f"/order/{SYMBOL}", token=person.token)
        clients.append(cycle([buy, sell]))
    return clients


async def _round(crowded: Installation, clients: list[Iterator[bytes]], *, seconds: float) -> Run:
    async with crowded.serving("app", "serve") as address:
        await drive(address, clients, seconds=WARM_SECONDS)
        return await drive(address, clients, seconds=seconds)


async def _bytes_of(crowded: Installation) -> int:
    conn = await asyncpg.connect(**crowded.address.connect_arguments())
    try:
        found: int = await conn.fetchval("SELECT pg_database_size(current_database())")
    finally:
        await conn.close()
    return found


async def run(sizes: list[Size], *, rounds: int, seconds: float) -> None:
    """Measure and print."""
    print(f"medians of {rounds} interleaved rounds of {seconds:g} s")
    print_aims(await measure(sizes, rounds=rounds, seconds=seconds))


def main(arguments: list[str] | None = None) -> int:
    """Measure the sizes that were asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench growth", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--sizes", nargs="+", type=size, default=[size(text) for text in SIZES],
        metavar="USERS:ORDERS", help=f"at least {CLIENTS} users each (default: {' '.join(SIZES)})",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each figure in a round")
    options = parser.parse_args(arguments)
    if any(each.users < CLIENTS for each in options.sizes):
        parser.error(f"each of {CLIENTS} clients is a user: --sizes {CLIENTS}:0 is the smallest")
    uvloop.run(run(options.sizes, rounds=options.rounds, seconds=options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
