"""The server with a task that looks every millisecond whether it was let run.

GET /bench/blocks tells how long it was kept waiting at worst since it was asked last: in wall
time, which counts also what else the machine did, and in CPU time of this thread alone.
"""

import asyncio
import socket
import sys
import time

import uvloop
from app.core.config import Settings, load_settings
from app.core.logging import configure_logging
from app.main import create_app
from app.serving import Server, server_config, spare_the_collector

TICK_SECONDS = 0.001


class Ticker:
    """The longest that anything held the loop."""

    def __init__(self) -> None:
        self.wall_ms = 0.0
        self.cpu_ms = 0.0

    async def tick(self) -> None:
        """Look, until cancelled."""
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            self.wall_ms = max(self.wall_ms, 1000 * (time.perf_counter() - wall - TICK_SECONDS))
            self.cpu_ms = max(self.cpu_ms, 1000 * (time.thread_time() - cpu))

    def take(self) -> dict[str, float]:
        """What was found, and begin anew."""
        found = {"wall_ms": self.wall_ms, "cpu_ms": self.cpu_ms}
        self.wall_ms = self.cpu_ms = 0.0
        return found


async def _serve(settings: Settings) -> None:
    app, ticker = create_app(settings), Ticker()

    @app.get("/bench/blocks", include_in_schema=False)
    async def take() -> dict[str, float]:
        return ticker.take()

    listener = socket.create_server((settings.host, settings.port), backlog=2048)
    async with app.router.lifespan_context(app):
        server = Server(server_config(app), end_streams=app.state.resources.events.close)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.up.wait()
        spare_the_collector()
        ticking = asyncio.create_task(ticker.tick())
        host, port = listener.getsockname()[:2]
        print(f"http://{host}:{port}", flush=True)
        await serving
        ticking.cancel()


def main() -> int:
    settings = load_settings()
    configure_logging(level=settings.log_level, style=settings.log_format)
    uvloop.run(_serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
