"""A long history, read page by page: how long a page takes, and how long everybody else waits."""

from itertools import cycle

import httpx

from bench.crowds import crowd, log_in
from bench.installation import Installation
from bench.load import Run, drive, request_bytes
from bench.report import Aim, Rounds, latency_ms, print_rates
from bench.streams import ANSWER_SECONDS_MAX

HISTORY, PAGE = 10_000, 1_000
FIRST = f"GET /order, the newest {PAGE:,} of {HISTORY:,}, 1 client"
ANY = f"GET /order, any {PAGE:,} of {HISTORY:,}, 1 client"


async def measure(installation: Installation, *, rounds: int, seconds: float) -> list[Aim]:
    """Print the tables; return the aims and what they came to."""
    async with crowd(installation, users=1, orders_each=HISTORY) as crowded:
        reader = await log_in(crowded, 1)
        pages = [
            request_bytes("GET", f"/order?limit={PAGE}&offset={offset}", token=reader.token)
            for offset in range(0, HISTORY, PAGE)
        ]
        clients = {FIRST: [cycle(pages[:1])], ANY: [cycle(pages)]}
        measured: dict[str, list[Run]] = {name: [] for name in clients}
        wall, cpu = [], []
        async with (
            crowded.serving("bench.ticking") as (host, port),
            httpx.AsyncClient(
                base_url=f"http://{host}:{port}", timeout=ANSWER_SECONDS_MAX
            ) as probe,
        ):
            for requests in clients.values():
                await drive((host, port), requests, seconds=min(seconds, 0.5))
            for _ in range(rounds):
                await probe.get("/bench/blocks")
                for name, requests in clients.items():
                    measured[name].append(await drive((host, port), requests, seconds=seconds))
                found = (await probe.get("/bench/blocks")).json()
                wall.append(found["wall_ms"])
                cpu.append(found["cpu_ms"])
    shown: dict[str, Rounds] = {**measured}
    print_rates(f"Reads; ratio to {FIRST}", shown, of=FIRST)
    print(
        f"  the loop was held at worst, in the rounds' order: {_list(wall)} ms by the clock, "
        f"{_list(cpu)} ms of its own CPU"
    )
    return [
        Aim(
            text=f"25 ms, of what a page of {PAGE:,} orders takes (p50)",
            measured=25 / latency_ms(measured[ANY], 0.5),
            wanted_min=1,
        ),
        Aim(
            text="10 ms, of what the loop was held at worst while pages were read (CPU)",
            measured=10 / max(cpu),
            wanted_min=1,
        ),
    ]


def _list(values: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)
