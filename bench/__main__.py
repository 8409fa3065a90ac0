"""scripts/bench: what the sandbox does in a second on this machine, as ratios of one run."""

import argparse
import os
import platform
import sys
from collections.abc import Sequence

import uvloop

from bench import bookings, cpu, durability, endpoints, logins, metrics, orders, reads
from bench.installation import open_installation
from bench.report import print_aims

PARTS = {
    "endpoints": endpoints.measure,
    "bookings": bookings.measure,
    "cpu": cpu.measure,
    "logins": logins.measure,
    "metrics": metrics.measure,
    "orders": orders.measure,
    "reads": reads.measure,
}


async def run(parts: Sequence[str], *, rounds: int, seconds: float) -> None:
    """Measure in a scratch installation and print."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; medians of {rounds} interleaved rounds of {seconds:g} s")
    async with open_installation() as installation:
        await durability.check(installation)
        aims = [
            aim
            for part in parts
            for aim in await PARTS[part](installation, rounds=rounds, seconds=seconds)
        ]
    print_aims(aims)


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for, everything by default."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", *PARTS), default="all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 7, quick 3)")
    parser.add_argument("--seconds", type=float, help="of each figure in a round (default 3)")
    options = parser.parse_args(arguments)
    parts = tuple(PARTS) if options.part == "all" else (options.part,)
    rounds = options.rounds or (3 if options.quick else 7)
    seconds = options.seconds or (1.0 if options.quick else 3.0)
    uvloop.run(run(parts, rounds=rounds, seconds=seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
