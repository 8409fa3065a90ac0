"""Events among many writers, several processes, and processes that are killed."""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import asyncpg
import httpx
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.errors import DatabaseUnavailable
from app.db.notifications import open_channel
from app.domain.users import UserId
from app.jobs import tell_events
from app.jobs.poll_events import poll
from app.replay import ReplayExchange
from app.services.event_feed import EventFeed
from tests.concurrency.cases import answer
from tests.concurrency.conftest import POOL_SIZE, patiently
from tests.conftest import (
    SECRET,
    CloneDatabase,
    Installation,
    Person,
    new_person,
    run_installation,
    settings_for,
)
from tests.environment import database_variables
from tests.integration.api.sockets import SAFETY_SECONDS
from tests.integration.api.streaming import eventually, open_events, serving, sse, sse_lines, take
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

START_SECONDS_MAX = 50
"""Of a server, Python's own start included; three on a quiet machine."""


async def test_fifty_simultaneous_changes_are_numbered_without_a_gap_and_told_in_order(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> None:
    settings = settings_for(postgres, exchange.base_url)
    async with (
        run_installation(settings) as running,
        patiently(running, size=POOL_SIZE),
        serving(replace(running, resources=running.app.state.resources)) as served,
    ):
        person = await new_person(running, balance="1000")
        async with served.client(person) as client, aclosing(sse(client)) as events:
            await take(events, 1)
            answers = await asyncio.gather(
                *(client.post("/users/me/deposit", json={"amount": "1"}) for _ in range(25)),
                *(client.post("/users/me/withdraw", json={"amount": "1"}) for _ in range(15)),
                *(client.post("/watchlist", json={"symbol": f"S{n}"}) for n in range(10)),
            )
            assert {answer.status_code for answer in answers} == {200, 201}
            told = await take(events, 50)
            listed = (await client.get("/events?after=1")).json()["data"]
    assert [event["number"] for event in told] == list(range(2, 52))
    assert told == listed["events"]
    assert listed["last_number"] == 51
    assert sorted(event["event_at"] for event in told) == [event["event_at"] for event in told]


async def test_a_process_wakes_the_readers_of_another(clone: CloneDatabase) -> None:
    """Without polling: the readers' own looks at the table are not part of this."""
    address = await clone()
    here, there = EventFeed(), EventFeed()
    with there.reader(UserId(7), after=0) as seven, there.reader(UserId(8), after=0) as eight:
        async with telling(address, here), telling(address, there):
            await listening_count(address, 2)
            here.wake(UserId(7))
            assert await seven.wait(seconds_max=SAFETY_SECONDS)
            assert not await eight.wait(seconds_max=0)
            seven.forget_hint()
            for user_id in range(1, 251):
                here.wake(UserId(user_id))
            assert await eight.wait(seconds_max=SAFETY_SECONDS)
            assert await seven.wait(seconds_max=SAFETY_SECONDS)


@asynccontextmanager
async def telling(address: DatabaseAddress, feed: EventFeed) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(tell_events.run(address, feed))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def listening_count(address: DatabaseAddress, count: int) -> list[int]:
    """The server processes that listen in this database for goblin, once there are so many."""
    conn = await asyncpg.connect(**address.connect_arguments())
    try:
        async with asyncio.timeout(SAFETY_SECONDS):
            while True:
                rows = await conn.fetch(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'goblin events'"
                    " AND datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'"
                )
                if len(rows) >= count:
                    return [row["pid"] for row in rows]
                await asyncio.sleep(0.02)
    finally:
        await conn.close()


async def test_a_process_is_not_told_what_it_told_itself(clone: CloneDatabase) -> None:
    address = await clone()
    heard_here: list[str] = []
    heard_there: asyncio.Queue[str] = asyncio.Queue()
    async with (
        open_channel(address, "c", hear=heard_here.append) as here,
        open_channel(address, "c", hear=heard_there.put_nowait) as there,
    ):
        await here.tell(["from here"])
        async with asyncio.timeout(SAFETY_SECONDS):
            assert await heard_there.get() == "from here"
        await there.tell(["from there", "and more"])
        await eventually(lambda: len(heard_here) >= 2)
        await here.check()
    assert heard_here == ["from there", "and more"]
    assert heard_there.empty()


async def test_a_lost_connection_is_noticed_so_that_the_supervisor_can_reconnect(
    clone: CloneDatabase,
) -> None:
    address, feed = await clone(), EventFeed()
    async with telling(address, feed) as task:
        (pid,) = await listening_count(address, 1)
        conn = await asyncpg.connect(**address.connect_arguments())
        await conn.execute("SELECT pg_terminate_backend($1)", pid)
        await conn.close()
        feed.wake(UserId(1))
        async with asyncio.timeout(SAFETY_SECONDS):
            await asyncio.wait([task])
        assert isinstance(task.exception(), DatabaseUnavailable)


async def test_the_poll_wakes_exactly_those_who_have_something_to_read(
    installation: Installation,
) -> None:
    behind, done = await new_person(installation), await new_person(installation)
    feed = EventFeed()
    await poll(installation.resources.db, feed)
    with (
        feed.reader(behind.user.id, after=0) as slow,
        feed.reader(behind.user.id, after=1) as quick,
        feed.reader(done.user.id, after=1) as other,
    ):
        await poll(installation.resources.db, feed)
        assert await slow.wait(seconds_max=0)
        assert await quick.wait(seconds_max=0), "a needless look is allowed, a missed event is not"
        assert not await other.wait(seconds_max=0)


async def test_readers_find_what_nobody_told_them(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> None:
    """Two installations in one process: the other's feed is not ours."""
    settings = settings_for(postgres, exchange.base_url)
    async with run_installation(settings) as ours, run_installation(settings) as theirs:
        person = await new_person(ours)
        stranger = Person(
            user=person.user,
            client=theirs.client(Authorization=person.client.headers["Authorization"]),
        )
        async with person.client, stranger.client:
            asked = asyncio.create_task(person.client.get("/events?after=1&wait_seconds=30"))
            await eventually(lambda: ours.resources.events.count == 1)
            await stranger.client.post("/users/me/deposit", json={"amount": "3"})
            async with asyncio.timeout(SAFETY_SECONDS):
                page = (await asked).json()["data"]
    assert [event["number"] for event in page["events"]] == [2]


async def test_a_stream_ends_with_a_reason_when_the_database_cannot_be_asked(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> None:
    settings = settings_for(postgres, exchange.base_url, db_pool_size=2)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(run_installation(settings))
        served = await stack.enter_async_context(serving(running))
        person = await new_person(running)
        client = await stack.enter_async_context(served.client(person))
        websocket = await stack.enter_async_context(served.websocket())
        await open_events(websocket, person)
        await websocket.recv()
        lines = await stack.enter_async_context(aclosing(sse_lines(client)))
        assert [await anext(lines) for _ in range(4)][1] == "id: 1"
        for _ in range(2):
            await stack.enter_async_context(running.resources.db.connection())
        await eventually(lambda: served.feed.followed() == {person.user.id: 1})
        served.feed.wake(person.user.id)
        async with asyncio.timeout(SAFETY_SECONDS):
            rest = [line async for line in lines]
            await websocket.wait_closed()
        assert rest == [": API or database dependency is unavailable"]
        assert websocket.close_code == 4503


class Process:
    """`python -m app serve` on a database, killed and started again."""

    def __init__(self, address: DatabaseAddress, data_dir: Path) -> None:
        self.url = ""
        self._running: asyncio.subprocess.Process | None = None
        self._log = data_dir / "log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DB_")},
            **database_variables(address),
            "JWT_SECRET_KEY": SECRET,
            "ENVIRONMENT": "development",
            "LOG_FORMAT": "json",
            "DATA_DIR": str(data_dir),
            "PORT": "0",  # each time: who is killed leaves its port to whoever comes first
            "RATE_LIMIT_PER_MINUTE": "0",
        }

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "app", "serve",
                env=self._environment, cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._running.stdout is not None
        words = [""]
        async with asyncio.timeout(START_SECONDS_MAX):
            while words[0] != "docs":
                line = (await self._running.stdout.readline()).decode()
                assert line, self._log.read_text()
                words = line.split()
        self.url = words[1].removesuffix("/docs")

    async def end(self, number: signal.Signals) -> int:
        assert self._running is not None
        with suppress(ProcessLookupError):
            self._running.send_signal(number)
        async with asyncio.timeout(SAFETY_SECONDS):
            return await self._running.wait()

    def log(self) -> str:
        return self._log.read_text()


@asynccontextmanager
async def two_processes(address: DatabaseAddress, folder: Path) -> AsyncIterator[list[Process]]:
    processes = []
    for name in ("a", "b"):
        (folder / name).mkdir()
        processes.append(Process(address, folder / name))
    try:
        await asyncio.gather(*(process.start() for process in processes))
        yield processes
    finally:
        await asyncio.gather(*(process.end(signal.SIGKILL) for process in processes))


Read = Callable[[str, str, int], AsyncGenerator[int, None]]


async def read_stream(url: str, token: str, after: int) -> AsyncGenerator[int, None]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=SAFETY_SECONDS) as client,
        aclosing(sse(client, last=after)) as events,
    ):
        async for event in events:
            yield event["number"]


async def read_socket(url: str, token: str, after: int) -> AsyncGenerator[int, None]:
    async with connect(url.replace("http", "ws") + "/ws/events", proxy=None) as websocket:
        await websocket.send(json.dumps({"token": token, "after": after}))
        async for message in websocket:
            yield json.loads(message)["number"]


async def read_pages(url: str, token: str, after: int) -> AsyncGenerator[int, None]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=SAFETY_SECONDS) as client:
        while True:
            asked = {"after": after, "limit": 7, "wait_seconds": 5}
            response = (await client.get("/events", params=asked)).raise_for_status()
            for event in response.json()["data"]["events"]:
                after = event["number"]
                yield after


async def keep_reading(
    read: Read, processes: list[Process], token: str, received: list[int]
) -> None:
    """Read, and when the process dies go on at the other one with the last number."""
    for process in itertools.cycle(processes):
        with suppress(httpx.HTTPError, WebSocketException, OSError):
            after = received[-1] if received else 0
            async with aclosing(read(process.url, token, after)) as numbers:
                async for number in numbers:
                    received.append(number)  # noqa: PERF401 - where a failure leaves it
        await asyncio.sleep(0.02)


async def deposit_until_acknowledged(
    client: httpx.AsyncClient, processes: list[Process], key: str
) -> None:
    for process in itertools.cycle(processes):
        with suppress(httpx.TransportError):
            response = await client.post(
                f"{process.url}/users/me/deposit",
                json={"amount": "1"},
                headers={"Idempotency-Key": key, "X-Request-ID": key},
            )
            if response.status_code == 200:
                return
            assert response.status_code in (409, 503), response.text
        await asyncio.sleep(0.02)


async def keep_depositing(
    client: httpx.AsyncClient, processes: list[Process], writer: int, stop: asyncio.Event
) -> list[str]:
    keys: list[str] = []
    while not stop.is_set():
        keys.append(f"w{writer}-{len(keys)}")
        await deposit_until_acknowledged(client, processes, keys[-1])
    return keys


def lengths(received: list[list[int]]) -> list[int]:
    return [len(numbers) for numbers in received]


def have_grown(received: list[list[int]], seen: list[int]) -> bool:
    return all(len(now) > before + 5 for now, before in zip(received, seen, strict=True))


async def test_readers_miss_nothing_and_see_nothing_twice_while_processes_are_killed(
    clone: CloneDatabase, tmp_path: Path
) -> None:
    account = {"email": "reader@example.com", "password": "long enough", "name": "Reader"}
    async with (
        two_processes(await clone(), tmp_path) as processes,
        httpx.AsyncClient(timeout=SAFETY_SECONDS) as client,
    ):
        await answer(client, "POST", f"{processes[0].url}/auth/register", json=account)
        login = await answer(client, "POST", f"{processes[1].url}/auth/login", json=account)
        token = login.json()["data"]["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        received: list[list[int]] = [[], [], []]
        readers = [
            asyncio.create_task(keep_reading(read, processes, token, numbers))
            for read, numbers in zip((read_stream, read_socket, read_pages), received, strict=True)
        ]
        stop = asyncio.Event()
        writers = [
            asyncio.create_task(keep_depositing(client, processes, writer, stop))
            for writer in range(4)
        ]
        first, second = processes  # the readers are at the first
        await eventually(partial(have_grown, received, lengths(received)))
        await first.end(signal.SIGKILL)
        await eventually(partial(have_grown, received, lengths(received)))
        await first.start()
        await second.end(signal.SIGKILL)
        await eventually(partial(have_grown, received, lengths(received)))
        stop.set()
        keys = list(itertools.chain.from_iterable(await asyncio.gather(*writers)))
        events: list[dict[str, object]] = []
        while page := (
            await answer(client, "GET", f"{first.url}/events?after={len(events)}&limit=1000")
        ).json()["data"]["events"]:
            events += page
        expected = list(range(1, len(keys) + 2))
        assert [event["number"] for event in events] == expected
        assert sorted(str(event["request_id"]) for event in events[1:]) == sorted(keys)
        for numbers, reader in zip(received, readers, strict=True):
            await eventually(partial(have_grown, [numbers], [len(expected) - 6]))
            assert not reader.done()
            assert numbers == expected

        # The readers are still there; the process does not wait for them to leave.
        assert await first.end(signal.SIGTERM) == 0
        assert "timeout graceful shutdown exceeded" not in first.log()
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
