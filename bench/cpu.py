"""What a request costs the server in CPU time, beside FastAPI's empty endpoint.

A busy machine lowers every rate; the CPU time of a request it stretches by much less.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from statistics import median
from typing import Final

import httpx

from bench.endpoints import orders
from bench.installation import Installation
from bench.load import drive, request_bytes
from bench.report import Aim
from bench.streams import ANSWER_SECONDS_MAX, CPU

CLIENTS: Final = 64
EMPTY: Final = f"the empty endpoint, {CLIENTS} clients"
ROOT: Final = f"GET /, {CLIENTS} clients"
ME: Final = f"GET /users/me, {CLIENTS} clients"
ORDER: Final = f"an order, {CLIENTS} clients"

Address = tuple[str, int]


async def measure(installation: Installation, *, rounds: int, seconds: float) -> list[Aim]:
    """Print the table; return the aim and what it came to."""
    people = await installation.people(CLIENTS)
    constant = [repeat(request_bytes("GET", "/"))] * CLIENTS
    used: dict[str, list[float]] = {}
    async with (
        installation.serving("bench.empty") as empty,
        installation.serving("app", "serve") as goblin,
        httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS_MAX) as http,
    ):
        sides: dict[str, tuple[Address, Sequence[Iterator[bytes]]]] = {
            EMPTY: (empty, constant),
            ROOT: (goblin, constant),
            ME: (
                goblin,
                [repeat(request_bytes("GET", "/users/me", token=p.token)) for p in people],
            ),
            ORDER: (goblin, [orders(person) for person in people]),
        }
        for address, clients in sides.values():  # prepared statements, caches, first connections
            await drive(address, clients, seconds=min(seconds, 0.5))
        for _ in range(rounds):
            for name, (address, clients) in sides.items():
                before = await _cpu_seconds(http, address)
                run = await drive(address, clients, seconds=seconds)
                spent = await _cpu_seconds(http, address) - before
                used.setdefault(name, []).append(spent / len(run.latencies_seconds) * 1e6)
    print(f"\nCPU of the server for each request; ratio to {EMPTY}")
    print(f"  {'':<52}{'microseconds':>14}{'ratio':>8}")
    for name, rounds_used in used.items():
        print(f"  {name:<52}{median(rounds_used):>14,.0f}{_ratio(rounds_used, used[EMPTY]):>8.2f}")
    return [
        Aim(
            text=f"CPU of the empty endpoint, of that of an order of {CLIENTS} clients",
            measured=_ratio(used[EMPTY], used[ORDER]),
            wanted_min=0.45,
        )
    ]


def _ratio(rounds: list[float], to: list[float]) -> float:
    return median(a / b for a, b in zip(rounds, to, strict=True))


async def _cpu_seconds(http: httpx.AsyncClient, address: Address) -> float:
    """User and system time of the server's process until now, as it says itself."""
    host, port = address
    answer = await http.get(f"http://{host}:{port}/metrics")
    found = CPU.search(answer.raise_for_status().text)
    assert found is not None, "the server says what it has used"
    return float(found[1])
