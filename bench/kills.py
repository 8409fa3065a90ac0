"""The kill loop: kill -9 under load, and nothing that was acknowledged is lost or doubled.

    python -m bench.kills --count 500 --clients 64 [--workers 2]

Clients send every change with a key, again and again until it is answered, and write down
each answer. Server, database, both, or one backend are killed meanwhile. In the end the
database must hold exactly what was answered.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Context, Decimal
from typing import Any, Final

import asyncpg
import httpx
from app.core.security import TokenKey
from app.db.address import DatabaseAddress
from app.db.dao.users import Credentials
from app.db.database import open_database
from app.domain.users import User
from app.services.accounts import open_account
from app.services.sessions import open_session

from bench.books import discrepancies
from bench.victims import SECRET, Victims, victims

KINDS: Final = ("server", "database", "both", "backend")
KINDS_OF_WORKERS: Final = ("worker", *KINDS)
"""With several workers; `server` is their parent then."""
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
STARTING_BALANCE: Final = Decimal(5_000_000)
EXACT: Final = Context(prec=80)
CLIENTS_OF_ONE_USER: Final = 2
RETRY_SECONDS: Final = 0.05
DUPLICATES: Final = 0.05
STEADY_SECONDS: Final = (0.1, 0.5)
RECOVERY_SECONDS_MAX: Final = 120.0
"""After this nothing is measured any more: the loop has failed."""


@dataclass(frozen=True)
class Acknowledged:
    """One change and the answer that its client was given."""

    kind: str
    key: str
    user_id: int
    data: dict[str, Any]
    amount: Decimal = Decimal(0)


@dataclass
class Journal:
    """Everything that all clients saw."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken_connections: int = 0
    replays: int = 0
    anomalies: list[str] = field(default_factory=list)
    killed_at: float = 0.0
    expected_since: float = 0.0
    recovered: asyncio.Event = field(default_factory=asyncio.Event)
    recovery_seconds: list[float] = field(default_factory=list)

    def succeeded(self, began_at: float) -> None:
        """A change that was sent after the last kill has been made."""
        if began_at >= self.expected_since and not self.recovered.is_set():
            self.recovery_seconds.append(time.monotonic() - self.killed_at)
            self.recovered.set()

    def expect_recovery(self, *, killed_at: float) -> None:
        """From now on the next change that is sent and made counts."""
        self.killed_at = killed_at
        self.expected_since = time.monotonic()
        self.recovered.clear()


@dataclass
class Client:
    """Changes one user's account, one change after the other, and never gives up on one."""

    number: int
    user: User
    symbol: str
    http: httpx.AsyncClient
    journal: Journal
    dice: random.Random
    is_holding: bool = False
    count: int = 0

    async def live(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            self.count += 1
            key = f"{self.number}-{self.count}"
            if self.dice.random() < 0.2:
                amount = f"{self.dice.randrange(1, 1000)}.{self.dice.randrange(10**20):020}"
                await self.change("deposit", key, {"amount": amount})
            elif self.is_holding:
                await self.change("sell", key, {"symbol": self.symbol})
                self.is_holding = False
            else:
                quantity = f"0.0{self.dice.randrange(1, 10**18):018}"
                body = {"symbol": self.symbol, "quantity": quantity, "client_order_id": key}
                await self.change("buy", key, body)
                self.is_holding = True

    async def change(self, kind: str, key: str, body: dict[str, str]) -> None:
        """Ask until there is an answer; sometimes ask once more."""
        answer = await self.insist(kind, key, body)
        if not answer.is_success:
            self.journal.anomalies.append(f"{kind} {key}: {answer.status_code} {answer.text}")
            return
        amount = Decimal(body.get("amount", 0))
        data = answer.json()["data"]
        self.journal.acknowledged.append(Acknowledged(kind, key, self.user.id, data, amount))
        if self.dice.random() < DUPLICATES:
            again = await self.insist(kind, key, body)
            if again.content != answer.content or "idempotent-replayed" not in again.headers:
                self.journal.anomalies.append(f"{kind} {key}: {answer.text} became {again.text}")

    async def insist(self, kind: str, key: str, body: dict[str, str]) -> httpx.Response:
        method, url = {
            "deposit": ("POST", "/users/me/deposit"),
            "buy": ("POST", "/order"),
            "sell": ("DELETE", "/order"),
        }[kind]
        # Every other order relies on its client_order_id alone.
        headers = {} if kind == "buy" and self.count % 2 else {"Idempotency-Key": key}
        while True:
            began_at = time.monotonic()
            try:
                answer = await self.http.request(method, url, json=body, headers=headers)
            except httpx.TransportError:
                self.journal.broken_connections += 1
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.journal.statuses[answer.status_code] += 1
            if answer.is_success:
                self.journal.replays += "idempotent-replayed" in answer.headers
                self.journal.succeeded(began_at)
                return answer
            if answer.status_code not in {503, 409}:
                return answer
            await asyncio.sleep(RETRY_SECONDS)


@dataclass(frozen=True)
class Outcome:
    """What a kill loop has shown."""

    journal: Journal
    kinds: Sequence[str]
    wrong: Sequence[str]
    """Each a sentence about something lost, doubled or contradictory; empty is good."""
    log: str

    def recovery_of(self, kind: str) -> list[float]:
        """Seconds from each kill of this kind until the next change was made."""
        measured = zip(self.kinds, self.journal.recovery_seconds, strict=True)
        return [seconds for its, seconds in measured if its == kind]

    def report(self) -> str:
        lines = [
            f"{len(self.kinds)} kills, {len(self.journal.acknowledged)} changes acknowledged",
            f"{self.journal.replays} first answers given again",
            f"statuses {dict(sorted(self.journal.statuses.items()))}",
            f"{self.journal.broken_connections} broken connections",
        ]
        for kind in KINDS_OF_WORKERS:
            seconds = self.recovery_of(kind)
            if seconds:
                lines.append(
                    f"{kind:>9}: first success after {statistics.median(seconds):.2f} s "
                    f"(median), {max(seconds):.2f} s (longest)"
                )
        return "\n".join([*lines, *self.wrong])


async def kill_loop(
    *,
    count: int,
    clients: int,
    seed: int,
    workers: int = 1,
    kinds_in_turn: Sequence[str] = KINDS,
) -> Outcome:
    """Kill `count` times under `clients` clients of a server with so many workers."""
    dice = random.Random(seed)
    journal, is_over = Journal(), asyncio.Event()
    kinds = [kinds_in_turn[number % len(kinds_in_turn)] for number in range(count)]
    async with victims(dice, workers=workers) as installation:
        address = await installation.address()
        async with people(installation, address, clients, journal, dice) as everybody:
            living = [asyncio.create_task(client.live(is_over)) for client in everybody]
            async with asyncio.timeout(RECOVERY_SECONDS_MAX):
                await journal.recovered.wait()
            journal.recovery_seconds.clear()  # that was the start
            for kind in kinds:
                await asyncio.sleep(dice.uniform(*STEADY_SECONDS))
                killed_at = time.monotonic()
                installation.kill(kind)
                await installation.orphans_gone()  # they still serve whom they were serving
                journal.expect_recovery(killed_at=killed_at)
                async with asyncio.timeout(RECOVERY_SECONDS_MAX):
                    await journal.recovered.wait()
            is_over.set()
            await asyncio.gather(*living)
        wrong = [*journal.anomalies]
        if installation.unexpected_ends:
            wrong.append(f"the server ended by itself {installation.unexpected_ends} times")
        wrong += await contradictions(await installation.address(), journal, everybody)
        return Outcome(journal=journal, kinds=kinds, wrong=wrong, log=installation.log())


@asynccontextmanager
async def people(
    installation: Victims,
    address: DatabaseAddress,
    count: int,
    journal: Journal,
    dice: random.Random,
) -> AsyncIterator[list[Client]]:
    """Clients with accounts; two of them share one, so that they meet at its lock."""
    key = TokenKey(secret=SECRET, algorithm="HS256", lifetime=timedelta(days=1))
    async with httpx.AsyncClient(base_url=installation.url, timeout=10) as probe:
        await until_it_serves(probe)
    logins = []
    async with open_database(address, pool_size=2) as db, db.transaction() as conn:
        for number in range(-(-count // CLIENTS_OF_ONE_USER)):
            user = await open_account(
                conn,
                email=f"client{number}@example.com",
                password_hash="!",
                name="Client",
                starting_balance=STARTING_BALANCE,
                request_id="kills",
            )
            login = Credentials(user=user, password_hash="!")
            logins.append((user, (await open_session(conn, login, key=key)).access_token))
    limits = httpx.Limits(max_connections=2 * count, max_keepalive_connections=count)
    transport = httpx.AsyncHTTPTransport(limits=limits)
    found = []
    for number in range(count):
        user, token = logins[number // CLIENTS_OF_ONE_USER]
        http = httpx.AsyncClient(
            base_url=installation.url,
            transport=transport,
            timeout=10,
            headers={"Authorization": f"Bearer {token}"},
        )
        symbol = SYMBOLS[number % CLIENTS_OF_ONE_USER]
        its_dice = random.Random(dice.random())
        found.append(Client(number, user, symbol, http, journal, its_dice))
    try:
        yield found
    finally:
        await transport.aclose()


async def until_it_serves(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(RECOVERY_SECONDS_MAX):
        while True:
            try:
                if (await http.get("/health")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def contradictions(
    address: DatabaseAddress, journal: Journal, clients: Sequence[Client]
) -> list[str]:
    """Where the database and the journals differ, and what is wrong with the books."""
    conn = await asyncpg.connect(**address.connect_arguments())
    try:
        wrong = await discrepancies(conn)
        wrong += await orders_that_differ(conn, journal)
        wrong += await balances_that_differ(conn, journal, clients)
        stored = {row["key"] for row in await conn.fetch("SELECT key FROM idempotency_keys")}
        kept = {key.removeprefix("order:") for key in stored}
        acknowledged = {change.key for change in journal.acknowledged}
        wrong += [f"{key} was acknowledged and its key is lost" for key in acknowledged - kept]
        wrong += [f"{key} was kept and never acknowledged" for key in kept - acknowledged]
    finally:
        await conn.close()
    return wrong


async def orders_that_differ(conn: asyncpg.Connection, journal: Journal) -> list[str]:
    rows = await conn.fetch("SELECT id, client_order_id, sell_price, quantity FROM transact")
    stored = {row["client_order_id"]: row for row in rows}
    wrong = [] if len(stored) == len(rows) else ["two orders have one client order id"]
    bought = {change.key: change for change in journal.acknowledged if change.kind == "buy"}
    sold = {ch.data["id"]: ch.data for ch in journal.acknowledged if ch.kind == "sell"}
    sales = sum(change.kind == "sell" for change in journal.acknowledged)
    if len(sold) != sales:
        wrong.append(f"{sales} sales were acknowledged, of {len(sold)} orders")
    wrong += [f"order {key} was acknowledged and is lost" for key in bought if key not in stored]
    for key, row in stored.items():
        if key not in bought:
            wrong.append(f"order {key} was never acknowledged")
            continue
        shown = bought[key].data
        closed = sold.get(row["id"], {})
        expected = (shown["id"], Decimal(shown["quantity"]), closed.get("sell_price"))
        found = (row["id"], row["quantity"], row["sell_price"])
        if expected[:2] != found[:2] or (expected[2] is None) != (found[2] is None):
            wrong.append(f"order {key} is {found}, and was answered as {expected}")
        elif expected[2] is not None and Decimal(expected[2]) != found[2]:
            wrong.append(f"order {key} was sold at {found[2]}, and answered with {expected[2]}")
    return wrong


async def balances_that_differ(
    conn: asyncpg.Connection, journal: Journal, clients: Sequence[Client]
) -> list[str]:
    expected: dict[int, Decimal] = {client.user.id: STARTING_BALANCE for client in clients}
    for change in journal.acknowledged:
        match change.kind:
            case "deposit":
                gained = change.amount
            case "buy":
                gained = EXACT.minus(Decimal(change.data["buyAggregate"]))
            case _:
                gained = Decimal(change.data["sellAggregate"])
        expected[change.user_id] = EXACT.add(expected[change.user_id], gained)
    rows = await conn.fetch("SELECT id, balance FROM users")
    return [
        f"user {row['id']} has {row['balance']}; the answers come to {expected[row['id']]}"
        for row in rows
        if row["balance"] != expected[row["id"]]
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the loop and print what it has shown; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="bench.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="how many kills")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    parser.add_argument("--kinds", nargs="+", choices=KINDS_OF_WORKERS)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    outcome = asyncio.run(
        kill_loop(
            count=options.count,
            clients=options.clients,
            seed=options.seed,
            workers=options.workers,
            kinds_in_turn=options.kinds or (KINDS if options.workers == 1 else KINDS_OF_WORKERS),
        )
    )
    print(outcome.report())
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
