"""Orders beside what could be had at most: the empty endpoint, and PostgreSQL without an API.

Every round measures all of it. Of goblin's servers only the one that is measured runs, so that
none works in the background of another, and each is warmed up first.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout, suppress
from itertools import product, repeat
from statistics import median
from typing import Final, TypeAlias

import asyncpg
from app.__main__ import main as goblin

from bench.endpoints import orders
from bench.installation import Installation
from bench.load import Run, drive, request_bytes
from bench.pgbench import CONNECTIONS, FORMS, Pgbench, open_pgbench
from bench.report import Aim, Rounds, per_second, print_rates, ratio

CLIENTS: Final = (1, 20, 64, 256)
MANY: Final = 64
WARM_SECONDS_MAX: Final = 1.0
WARM_CLIENTS: Final = 64

EMPTY, ALONE, SHARED = "empty endpoint", "a transaction for each order", "group commit"

SERVE: Final = ("app", "serve")

Command: TypeAlias = tuple[str, ...]
Address: TypeAlias = tuple[str, int]
Side: TypeAlias = tuple[str, Sequence[Address], Sequence[Iterator[bytes]]]
"""What it is called, where it is served, and what each client sends."""
Row: TypeAlias = tuple[str, int]
"""What is measured, and with how many clients or connections."""


async def measure(installation: Installation, *, rounds: int, seconds: float) -> list[Aim]:
    """Print the tables; return the aims and what they came to."""
    people = await installation.people(max(CLIENTS))
    clients = [orders(person) for person in people]
    constant = [repeat(request_bytes("GET", "/"))] * max(CLIENTS)
    twice, commands = _twice()
    measured: dict[Row, list[Run]] = {}

    async def load(*sides: Side) -> None:
        for _, addresses, requests in sides:
            warm_seconds = min(seconds, WARM_SECONDS_MAX)
            await _drive_all(addresses, requests[:WARM_CLIENTS], seconds=warm_seconds)
        for count in CLIENTS:
            for name, addresses, requests in sides:
                run = await _drive_all(addresses, requests[:count], seconds=seconds)
                measured.setdefault((name, count), []).append(run)

    async with (
        installation.serving("bench.empty") as empty,
        open_pgbench(installation, people_count=len(people)) as pgbench,
    ):
        await _tidy(installation, pgbench)
        for _ in range(rounds):  # what is compared is measured next to each other
            async with _serving(installation, [SERVE], {"ORDERS_PER_COMMIT_MAX": "1"}) as alone:
                await load((ALONE, alone, clients))
            async with _serving(installation, [SERVE], {}) as shared:
                await load((EMPTY, [empty], constant), (SHARED, shared, clients))
            for form, connections in product(FORMS, CONNECTIONS):
                run = await pgbench.run(form, connections=connections, seconds=seconds)
                measured.setdefault((_pgbench(form), connections), []).append(run)
            async with _serving(installation, commands, {}) as both:
                await load((twice, both, clients))
        await pgbench.check_books()
    _print(measured, twice)
    return _aims(measured, twice)


def _print(measured: dict[Row, list[Run]], twice: str) -> None:
    names = (EMPTY, *map(_pgbench, FORMS), ALONE, SHARED, twice)
    rows = sorted(measured, key=lambda row: names.index(row[0]))
    shown: dict[str, Rounds] = {_named(row): measured[row] for row in rows}
    floor = _named((EMPTY, MANY))
    print_rates(f"Orders; ratio to {floor}", shown, of=floor)
    bests = {form: _best(measured, form) for form in FORMS}
    print(f"\nOrders, as a share of\n  {'':<44}{'empty':>9}{'one each':>9}", end="")
    print("".join(f"{form:>9}" for form in FORMS))
    for name in (ALONE, SHARED, twice):
        for count in CLIENTS:
            others = [(EMPTY, count), (ALONE, count), *bests.values()]
            shares = [ratio(measured[name, count], measured[other]) for other in others]
            print(f"  {_named((name, count)):<44}" + "".join(f"{share:>9.2f}" for share in shares))
    print("  (empty, one each: with as many clients; bare, whole: pgbench with its best number,")
    print(f"   {', '.join(_named(best) for best in bests.values())})")


def _aims(measured: dict[Row, list[Run]], twice: str) -> list[Aim]:
    alone_ms = [
        (bare.latency_ms(0.5) + empty.latency_ms(0.5)) / lone.latency_ms(0.5)
        for bare, empty, lone in zip(
            measured[_pgbench(FORMS[0]), 1], measured[EMPTY, 1], measured[SHARED, 1], strict=True
        )
    ]
    return [
        Aim(
            text=f"orders of {MANY} clients that share commits, of the empty endpoint",
            measured=ratio(measured[SHARED, MANY], measured[EMPTY, MANY]),
            wanted_min=0.45,
        ),
        *(
            Aim(
                text=f"{twice}, {MANY} clients, of the best of pgbench {form}",
                measured=ratio(measured[twice, MANY], measured[_best(measured, form)]),
                wanted_min=0.8,
            )
            for form in FORMS
        ),
        Aim(
            text="p50 of pgbench bare plus the empty endpoint, of the p50 of a lone order",
            measured=median(alone_ms),
            wanted_min=0.5,
        ),
    ]


def _pgbench(form: str) -> str:
    return f"pgbench, {form}"


def _named(row: Row) -> str:
    name, count = row
    unit = "connection" if name.startswith("pgbench") else "client"
    return f"{name}, {count} {unit}{'' if count == 1 else 's'}"


def _best(measured: dict[Row, list[Run]], form: str) -> Row:
    rows = [(_pgbench(form), connections) for connections in CONNECTIONS]
    return max(rows, key=lambda row: per_second(measured[row]))


async def _drive_all(
    addresses: Sequence[Address], clients: Sequence[Iterator[bytes]], *, seconds: float
) -> Run:
    """As `drive`, the clients spread over the addresses."""
    shares = [clients[n :: len(addresses)] for n in range(len(addresses))]
    runs = await asyncio.gather(
        *(
            drive(address, share, seconds=seconds)
            for address, share in zip(addresses, shares, strict=True)
            if share
        )
    )
    return Run(
        seconds=max(run.seconds for run in runs),
        latencies_seconds=[latency for run in runs for latency in run.latencies_seconds],
        client_share=max(run.client_share or 0.0 for run in runs),  # each saw the same process
    )


def _twice() -> tuple[str, Sequence[Command]]:
    """How goblin serves with two processes, in words and in commands."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        goblin(["serve", "--help"])
    if "--workers" in printed.getvalue():
        return f"{SHARED}, 2 workers", [(*SERVE, "--workers", "2")]
    print("\nLEFT OUT: `serve` knows no --workers; two processes on two ports stand in for them")
    return f"{SHARED}, 2 processes", [SERVE, SERVE]


@asynccontextmanager
async def _serving(
    installation: Installation, commands: Sequence[Command], settings: dict[str, str]
) -> AsyncIterator[Sequence[Address]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(installation.serving(*command, settings=settings))
            for command in commands
        ]


async def _tidy(installation: Installation, pgbench: Pgbench) -> None:
    """Begin all databases alike: with statistics, and with nothing left to write back."""
    for address in (installation.address, *pgbench.addresses.values()):
        conn = await asyncpg.connect(**address.connect_arguments())
        try:
            await conn.execute("VACUUM ANALYZE")
            await conn.execute("CHECKPOINT")
        finally:
            await conn.close()
