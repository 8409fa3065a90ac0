"""`python -m goblin report --to report.html`: a report for those who write no Python."""

import argparse
import sys

from goblin.errors import GoblinError
from goblin.reporting import report
from goblin.reporting.rendering import ReportPackageMissing
from goblin.sync.client import Client


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked."""
    parser = argparse.ArgumentParser(
        prog="python -m goblin",
        description="The account is that of GOBLIN_API_KEY at GOBLIN_URL.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    wanted = commands.add_parser("report", help="write how the account did")
    wanted.add_argument("--to", required=True, metavar="FILE", help="ends in .html or .png")
    wanted.add_argument("--symbol", help="as if nothing else had been traded")
    wanted.add_argument("--begin", help="ISO 8601 with a zone; the epoch's beginning if absent")
    wanted.add_argument("--end", help="ISO 8601 with a zone; now if absent")
    wanted.add_argument("--interval", help="of the candles, as 1h; what fits if absent")
    wanted.add_argument("--epoch", type=int, help="the current one if absent")
    options = parser.parse_args(arguments)
    try:
        with Client.from_environment() as client:
            path = report(
                client,
                options.to,
                symbol=options.symbol,
                begin=options.begin,
                end=options.end,
                interval=options.interval,
                epoch=options.epoch,
            )
    except (GoblinError, OSError, ReportPackageMissing, ValueError) as error:
        sys.stderr.write(f"goblin: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
