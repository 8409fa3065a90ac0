"""Logins: whether others notice them, and whether their time tells which e-mails are known."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, repeat
from secrets import token_hex
from statistics import median

import httpx

from bench.installation import PASSWORD, Installation, Person
from bench.load import Run, drive, request_bytes
from bench.report import Aim, Rounds, latency_ms, print_rates

LOGINS = 20
PROBES = 5
"""Wrong passwords of each kind in a round."""

ALONE, BESIDE = "GET / alone, 1 client", f"GET / while {LOGINS} clients log in, 1 client"
LOGIN = f"POST /auth/login, {LOGINS} clients"
_addresses = count(1)


async def measure(installation: Installation, *, rounds: int, seconds: float) -> list[Aim]:
    """Print the tables; return the aims and what they came to."""
    people = await installation.people(LOGINS, password=PASSWORD)
    measured: dict[str, Rounds] = {}
    known: list[float] = []
    unknown: list[float] = []
    # Everybody who guesses comes from an address of their own, or they would have to wait.
    settings = {"TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_PER_MINUTE": "0"}
    async with installation.serving("app", "serve", settings=settings) as address:
        runs: dict[str, list[Run]] = {ALONE: [], BESIDE: [], LOGIN: []}
        floor = [repeat(request_bytes("GET", "/"))]
        logins = [_logins(person) for person in people]
        for _ in range(rounds):
            runs[ALONE].append(await drive(address, floor, seconds=seconds))
            beside, logged_in = await asyncio.gather(
                drive(address, floor, seconds=seconds), drive(address, logins, seconds=seconds)
            )
            runs[BESIDE].append(beside)
            runs[LOGIN].append(logged_in)
        measured |= runs
        async with _client(address) as client:
            for _ in range(PROBES * rounds):
                known.append(await _refused_seconds(client, people[0].user.email))
                unknown.append(await _refused_seconds(client, f"{token_hex(8)}@example.com"))
    print_rates(f"{LOGINS} logins at once; ratio to {ALONE}", measured, of=ALONE)
    apart = median(unknown) / median(known)
    print(
        f"\nA wrong password, {len(known)} of each, taking turns: known e-mail "
        f"{median(known) * 1000:.1f} ms, unknown {median(unknown) * 1000:.1f} ms, ratio {apart:.3f}"
    )
    return [
        Aim(
            text=f"50 ms, of what GET / takes beside {LOGINS} logins (p99)",
            measured=50 / latency_ms(measured[BESIDE], 0.99),
            wanted_min=1,
        ),
        Aim(
            text="a wrong password of a known and an unknown e-mail take the same time",
            measured=min(apart, 1 / apart),
            wanted_min=0.9,
        ),
    ]


def _logins(person: Person) -> Iterator[bytes]:
    body = {"email": person.user.email, "password": PASSWORD}
    return repeat(request_bytes("POST", "/auth/login", body=body))


@asynccontextmanager
async def _client(address: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    host, port = address
    async with httpx.AsyncClient(
        base_url=f"http://{host}:{port}", timeout=30, trust_env=False
    ) as client:
        yield client


async def _refused_seconds(client: httpx.AsyncClient, email: str) -> float:
    number = next(_addresses)
    begun = time.perf_counter()
    response = await client.post(
        "/auth/login",
        json={"email": email, "password": "wrong horse"},
        headers={"X-Forwarded-For": f"10.0.{number // 256}.{number % 256}"},
    )
    elapsed = time.perf_counter() - begun
    assert response.status_code == httpx.codes.UNAUTHORIZED, response.text
    return elapsed
