"""A PostgreSQL of the user's own that cannot be used: one message, with the remedy."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from app.db.address import DatabaseAddress
from app.db.database import open_database
from app.db.embedded import TcpAccess, embedded_postgres, remove_data
from app.db.reach import DatabaseNotUsable, check_room, check_usable
from bench.victims import kept_port


@pytest_asyncio.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DatabaseAddress]:
    """A server on a port that demands its password, as a user's own does."""
    folder: Path = tmp_path_factory.mktemp("own")
    with kept_port() as port:
        tcp = TcpAccess(port=port, password="right horse")
        async with embedded_postgres(folder / "data", tcp=tcp):
            yield DatabaseAddress(
                host="127.0.0.1",
                port=tcp.port,
                database="goblin",
                user="postgres",
                password=tcp.password,
            )
    await remove_data(folder / "data")


async def complaint(address: DatabaseAddress) -> str:
    with pytest.raises(DatabaseNotUsable) as failure:
        await check_usable(address)
    text = str(failure.value)
    assert text.startswith(f"PostgreSQL at {address.host} port {address.port}: ")
    assert "\nRemedy: " in text
    assert address.password is None or address.password not in text
    return text


async def test_a_database_that_lets_goblin_in_is_usable(own: DatabaseAddress) -> None:
    await check_usable(own)


async def test_a_wrong_password_names_the_settings_and_not_the_password(
    own: DatabaseAddress,
) -> None:
    text = await complaint(replace(own, password="wrong horse"))
    assert "password authentication failed" in text
    assert "DB_USER and DB_PASSWORD" in text


async def test_a_missing_database_is_not_created_but_the_command_for_it_is_named(
    own: DatabaseAddress,
) -> None:
    text = await complaint(own.with_database("goblin_two"))
    assert 'there is no database "goblin_two"' in text
    assert f"createdb -h 127.0.0.1 -p {own.port} -U postgres goblin_two" in text
    admin = await asyncpg.connect(**own.connect_arguments())
    assert not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = 'goblin_two'")
    await admin.close()


async def test_nobody_listening_names_the_settings_of_the_address(own: DatabaseAddress) -> None:
    with kept_port() as silent:
        text = await complaint(replace(own, port=silent))
    assert "cannot be reached" in text
    assert "DB_HOST and DB_PORT" in text


async def test_a_host_that_does_not_exist_names_the_settings_of_the_address(
    own: DatabaseAddress,
) -> None:
    text = await complaint(replace(own, host="no-such-host.invalid"))
    assert "cannot be reached" in text


async def test_something_else_that_listens_there_is_told_apart(own: DatabaseAddress) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1") as server:
        text = await complaint(replace(own, port=server.sockets[0].getsockname()[1]))
    assert "cannot be reached" in text


def message(kind: bytes, content: bytes) -> bytes:
    return kind + (len(content) + 4).to_bytes(4, "big") + content


WELCOME = (
    message(b"R", bytes(4)) + message(b"S", b"server_version\x0016.4\x00") + message(b"Z", b"I")
)
SSL_REQUEST = (80877103).to_bytes(4, "big")
NO_SERVER = message(b"E", b"SFATAL\x00VFATAL\x00C08P01\x00Mserver login failed\x00\x00")


async def startup(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return await reader.readexactly(length - 4)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (NO_SERVER, "server login failed"),
        (b"", "it does not let goblin in (connection was closed"),
        (None, "cannot be reached (no answer within"),
    ],
)
async def test_a_pooler_without_a_server_is_told_like_a_server_that_is_away(
    own: DatabaseAddress,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
    problem: str,
) -> None:
    if answer is None:
        monkeypatch.setattr("app.db.reach.CONNECT_SECONDS_MAX", 1.0)
    is_over = asyncio.Event()

    async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await startup(reader) == SSL_REQUEST:
            writer.write(b"N")
        writer.write(WELCOME)
        await reader.read(1)
        if answer is None:
            await is_over.wait()
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(let_in, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        assert problem in await complaint(replace(own, port=port))
        is_over.set()


async def test_a_role_that_may_not_fill_its_pool_is_told_so(own: DatabaseAddress) -> None:
    admin = await asyncpg.connect(**own.connect_arguments())
    await admin.execute("CREATE ROLE lonely LOGIN PASSWORD 'right horse' CONNECTION LIMIT 1")
    await admin.close()
    lonely = replace(own, user="lonely")
    await check_usable(lonely)
    with pytest.raises(DatabaseNotUsable, match='too many connections for role "lonely"'):
        async with open_database(lonely, pool_size=2):
            pass


async def test_workers_that_could_ask_for_more_connections_than_there_are_do_not_start(
    own: DatabaseAddress,
) -> None:
    await check_room(own, processes=4, pool_size=20, others=4)
    with pytest.raises(DatabaseNotUsable) as failure:
        await check_room(own, processes=5, pool_size=20, others=4)
    assert "5 workers with DB_POOL_SIZE=20 open up to 120 connections" in str(failure.value)
    assert "allows 100" in str(failure.value)
    assert "fewer --workers, or DB_POOL_SIZE=16" in str(failure.value)
    await check_room(own, processes=5, pool_size=16, others=4)
