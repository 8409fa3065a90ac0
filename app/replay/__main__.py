"""python -m app.replay [FILE|FOLDER]: the replay exchange as a command."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.domain.instruments import Category
from app.replay.errors import ReplayError
from app.replay.opening import replay
from app.replay.recorded import ALSO

NONE: Final = "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. 0: stopped; 1: could not start, with the reason on stderr."""
    wish = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(wish))
    except ReplayError as error:
        sys.stderr.write(f"replay: {error}\n")
        return 1
    return 0


async def _serve(wish: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    async with replay(
        wish.recording,
        start=wish.start,
        speed=wish.speed,
        seed=wish.seed,
        also=ALSO if wish.also is None else {Category(name) for name in wish.also if name != NONE},
        host=wish.host,
        port=wish.port,
        may_leave_loopback=wish.may_leave_loopback,
    ) as exchange:
        sys.stdout.write(f"Replay exchange on {exchange.base_url}\n")
        sys.stdout.flush()
        await stopping.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.replay",
        description="Bybit v5 market data out of recorded candles, or out of a seed.",
    )
    parser.add_argument(
        "recording",
        nargs="?",
        type=Path,
        metavar="FILE|FOLDER",
        help="candle files; without it a generated market",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--start", help="2025-06-01T00:00Z or milliseconds; default: where the recording starts"
    )
    parser.add_argument(
        "--speed", type=float, help="times real time, default 1; 0 is stepped by /control/clock"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the generated market")
    parser.add_argument(
        "--also",
        action="append",
        choices=[str(Category.SPOT), str(Category.LINEAR), NONE],
        help="category that also lists what the other of spot and linear recorded; default spot",
    )
    parser.add_argument(
        "--may-leave-loopback", action="store_true", help="allow a --host that others can reach"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
