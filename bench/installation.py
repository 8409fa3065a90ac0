"""What is measured: the real server, the replay exchange and a PostgreSQL, each its own process.

All of it lives in a scratch folder inside the project, not in /tmp, which may be memory where
a durable commit costs nothing. Nothing of the user's is touched: every setting that says
where data is comes from here, whatever .env says.
"""

import asyncio
import os
import re
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import asyncpg
from app.core.config import PROJECT
from app.core.security import TokenKey, hash_password
from app.db.address import DatabaseAddress
from app.db.dao.users import Credentials
from app.db.database import Database, open_database
from app.db.embedded import embedded_postgres, remove_data
from app.db.migrate import migrate
from app.domain.users import User
from app.services.accounts import open_account
from app.services.sessions import open_session

POOL_SIZE: Final = 20
PASSWORD: Final = "correct horse battery"
STARTING_BALANCE: Final = Decimal(1_000_000_000)
START_SECONDS_MAX: Final = 150.0
STOP_SECONDS_MAX: Final = 15.0

PLAIN: Final = "goblin_plain"
"""The database whose orders are booked without ledger, events and keys."""


class NotStartedError(Exception):
    """A process of the bench ended before it served; its own words are the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with an account, and the token that speaks for them."""

    user: User
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where everything is, and the way to the two databases."""

    folder: Path
    exchange_url: str
    address: DatabaseAddress
    db: Database
    plain_address: DatabaseAddress
    plain_db: Database
    key: TokenKey

    async def people(
        self,
        count: int,
        *,
        plain: bool = False,
        password: str | None = None,
        db: Database | None = None,
    ) -> list[Person]:
        """New accounts, rich enough never to be refused an order; without a password nobody
        can log in to them, and nothing is hashed. `db` is another database than the two."""
        hashed = "!" if password is None else await asyncio.to_thread(hash_password, password)
        made = []
        for _ in range(count):
            async with (db or (self.plain_db if plain else self.db)).transaction() as conn:
                user = await open_account(
                    conn,
                    email=f"{secrets.token_hex(8)}@example.com",
                    password_hash=hashed,
                    name="Somebody",
                    starting_balance=STARTING_BALANCE,
                    request_id="bench",
                )
                login = Credentials(user=user, password_hash=hashed)
                issued = await open_session(conn, login, key=self.key)
            made.append(Person(user=user, token=issued.access_token))
        return made

    @asynccontextmanager
    async def another_database(self, name: str) -> AsyncIterator[tuple[DatabaseAddress, Database]]:
        """A new one with the same schema, beside the two."""
        address = await _create_database(self.address, name)
        async with open_database(address, pool_size=2) as db:
            yield address, db

    @asynccontextmanager
    async def process(self, *arguments: str) -> AsyncIterator[str]:
        """Another Python process of ours, and the URL that it announces."""
        async with _process(arguments, {}, self.folder / "process.log") as url:
            yield url

    @asynccontextmanager
    async def serving(
        self, *arguments: str, plain: bool = False, settings: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[str, int]]:
        """A server process of this installation; its host and port."""
        environment = {
            "DB_HOST": self.address.host,
            "DB_PORT": str(self.address.port),
            "DB_NAME": PLAIN if plain else self.address.database,
            "DB_USER": self.address.user,
            "DB_PASSWORD": "unused",
            "DB_POOL_SIZE": str(POOL_SIZE),
            "DATA_DIR": str(self.folder),
            "JWT_SECRET_KEY": self.key.secret,
            "JWT_ALGORITHM": self.key.algorithm,
            "BYBIT_BASE_URL": self.exchange_url,
            "PRICE_SOURCE": "bybit",
            "PRICE_MAX_AGE_SECONDS": "1.0",
            "ENVIRONMENT": "development",
            "RATE_LIMIT_PER_MINUTE": "0",
            "LOG_LEVEL": "INFO",
            "LOG_FORMAT": "json",
            "HOST": "127.0.0.1",
            "PORT": "0",
            **(settings or {}),
        }
        async with _process(arguments, environment, self.folder / "server.log") as url:
            host, port = url.removeprefix("http://").split(":")
            yield host, int(port)


@asynccontextmanager
async def open_installation() -> AsyncIterator[Installation]:
    """Everything but the servers, in a scratch folder that is removed afterwards."""
    async with AsyncExitStack() as stack:
        (PROJECT / "data").mkdir(exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix="bench-", dir=PROJECT / "data")
        folder = Path(stack.enter_context(scratch))
        stack.push_async_callback(remove_data, folder / "postgres")  # it may be somewhere else
        address = await stack.enter_async_context(embedded_postgres(folder / "postgres"))
        await migrate(address, PROJECT / "db" / "migration")
        plain = await _create_database(address, PLAIN)
        exchange_url = await stack.enter_async_context(
            _process(("app.replay",), {}, folder / "replay.log")
        )
        yield Installation(
            folder=folder,
            exchange_url=exchange_url,
            address=address,
            db=await stack.enter_async_context(open_database(address, pool_size=POOL_SIZE)),
            plain_address=plain,
            plain_db=await stack.enter_async_context(open_database(plain, pool_size=POOL_SIZE)),
            key=TokenKey(
                secret=secrets.token_urlsafe(48), algorithm="HS256", lifetime=timedelta(hours=24)
            ),
        )


async def _create_database(beside: DatabaseAddress, name: str) -> DatabaseAddress:
    admin = await asyncpg.connect(**beside.connect_arguments())
    try:
        await admin.execute(f"CREATE DATABASE {name}")
    finally:
        await admin.close()
    address = beside.with_database(name)
    await migrate(address, PROJECT / "db" / "migration")
    return address


@asynccontextmanager
async def _process(
    arguments: Sequence[str], settings: dict[str, str], log_file: Path
) -> AsyncIterator[str]:
    """A Python process of ours, and the URL that it said it serves at."""
    with log_file.open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments,
            cwd=PROJECT, env={**os.environ, **settings}, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            url = await _announced_url(child)
        if url is None:
            raise NotStartedError(await asyncio.to_thread(log_file.read_text))
        yield url
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()


async def _announced_url(child: asyncio.subprocess.Process) -> str | None:
    assert child.stdout is not None
    async for line in child.stdout:
        if found := re.search(rb"http://127\.0\.0\.1:\d+", line):
            return found[0].decode()
    return None
