"""The sandbox through HTTP: what each endpoint takes beside the framework's floor."""

import asyncio
from collections.abc import Iterator
from itertools import cycle, repeat
from secrets import token_hex

from bench.bookings import new_client_traders, trade
from bench.installation import PASSWORD, Installation, Person
from bench.load import Run, drive, request_bytes
from bench.report import Aim, Rounds, latency_ms, print_rates, ratio

CLIENTS = 16
LOGINS = 8
SYMBOL = "BTCUSDT"
ORDER = {"symbol": SYMBOL, "quantity": "0.001"}

FLOOR, ME, PRICE = "GET /", "GET /users/me", "GET /market/price"
ONE, MANY = "POST + DELETE /order, 1 client", f"POST + DELETE /order, {CLIENTS} clients"
KEYED = f"  the same with Idempotency-Key, {CLIENTS} clients"
PLAIN_ONE, PLAIN_MANY = "  without a ledger, 1 client", f"  without a ledger, {CLIENTS} clients"
NEW_CLIENT = "  a new HTTP client for each order's price, no API"
LOGIN = f"POST /auth/login, {LOGINS} clients"
IDLE, BUSY = "GET / alone, 1 client", f"GET / while {LOGINS} clients log in, 1 client"


async def measure(installation: Installation, *, rounds: int, seconds: float) -> list[Aim]:
    """Print the tables; return the aims and what they came to."""
    async with (
        installation.serving("app", "serve") as address,
        installation.serving("bench.plain", plain=True) as plain_address,
    ):
        clients = await _clients(installation)
        addresses = dict.fromkeys(clients, address)
        addresses |= {PLAIN_ONE: plain_address, PLAIN_MANY: plain_address}
        traders = await new_client_traders(installation, CLIENTS)
        logins = [_logins(p) for p in await installation.people(LOGINS, password=PASSWORD)]
        rows = (*clients, NEW_CLIENT, LOGIN, IDLE, BUSY)
        measured: dict[str, list[Run]] = {name: [] for name in rows}
        for name, requests in clients.items():  # prepared statements, caches, first connections
            await drive(addresses[name], requests, seconds=min(seconds, 0.5))
        for _ in range(rounds):
            for name, requests in clients.items():
                measured[name].append(await drive(addresses[name], requests, seconds=seconds))
            measured[NEW_CLIENT].append(await trade(traders, seconds=seconds))
            floor = [repeat(request_bytes("GET", "/"))]
            measured[IDLE].append(await drive(address, floor, seconds=seconds))
            busy, logged_in = await asyncio.gather(
                drive(address, floor, seconds=seconds),
                drive(address, logins, seconds=seconds),
            )
            measured[BUSY].append(busy)
            measured[LOGIN].append(logged_in)
    _print(measured)
    return _aims(measured)


def _print(measured: dict[str, list[Run]]) -> None:
    shown: dict[str, Rounds] = {k: v for k, v in measured.items() if k not in {LOGIN, IDLE, BUSY}}
    print_rates(
        f"Endpoints, {CLIENTS} clients unless said otherwise; ratio to {FLOOR}", shown, of=FLOOR
    )
    logins: dict[str, Rounds] = {name: measured[name] for name in (LOGIN, IDLE, BUSY)}
    print_rates(f"Logins; ratio to {IDLE}", logins, of=IDLE)


def _aims(measured: dict[str, list[Run]]) -> list[Aim]:
    hash_ms = latency_ms(measured[LOGIN], 0.5)
    return [
        Aim(
            text="GET /users/me is at least 0.30 of GET /",
            measured=ratio(measured[ME], measured[FLOOR]),
            wanted_min=0.3,
        ),
        Aim(
            text="a login lasts at least 5 x GET / beside it (p99): nobody waits for a hash",
            measured=hash_ms / latency_ms(measured[BUSY], 0.99),
            wanted_min=5,
        ),
        Aim(
            text=f"orders at {CLIENTS} clients are at least 20 x those of one upstream call each",
            measured=ratio(measured[MANY], measured[NEW_CLIENT]),
            wanted_min=20,
        ),
        Aim(
            text=f"orders with ledger and events at {CLIENTS} clients, of those without",
            measured=ratio(measured[MANY], measured[PLAIN_MANY]),
            wanted_min=2 / 3,
        ),
        Aim(
            text=f"orders with ledger, events and keys at {CLIENTS} clients, of those without",
            measured=ratio(measured[KEYED], measured[PLAIN_MANY]),
            wanted_min=2 / 3,
        ),
    ]


async def _clients(installation: Installation) -> dict[str, list[Iterator[bytes]]]:
    people = await installation.people(CLIENTS)
    return {
        FLOOR: [repeat(request_bytes("GET", "/"))] * CLIENTS,
        ME: [repeat(request_bytes("GET", "/users/me", token=p.token)) for p in people],
        PRICE: [repeat(request_bytes("GET", f"/market/price?symbol={SYMBOL}"))] * CLIENTS,
        ONE: [orders(p) for p in await installation.people(1)],
        PLAIN_ONE: [orders(p, "/plain") for p in await installation.people(1, plain=True)],
        MANY: [orders(p) for p in await installation.people(CLIENTS)],
        KEYED: [_keyed_orders(p) for p in await installation.people(CLIENTS)],
        PLAIN_MANY: [orders(p, "/plain") for p in await installation.people(CLIENTS, plain=True)],
    }


def orders(person: Person, path: str = "/order") -> Iterator[bytes]:
    """What somebody sends who buys and sells in turn."""
    buy = request_bytes("POST", path, token=person.token, body=ORDER)
    sell = request_bytes("DELETE", f"{path}/{SYMBOL}", token=person.token)
    return cycle([buy, sell])


def _keyed_orders(person: Person) -> Iterator[bytes]:
    for request in orders(person):
        key = f"\r\nidempotency-key: {token_hex(8)}\r\n\r\n".encode()
        yield request.replace(b"\r\n\r\n", key, 1)


def _logins(person: Person) -> Iterator[bytes]:
    body = {"email": person.user.email, "password": PASSWORD}
    return repeat(request_bytes("POST", "/auth/login", body=body))
