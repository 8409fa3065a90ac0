"""Writes goblin/sync from goblin/aio, which it is without await, so that nothing is said twice.

scripts/sync_client.py            write the files anew
scripts/sync_client.py --check    exit with 1 if one is not up to date
"""

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "goblin"
MADE = "# Made by scripts/sync_client.py of goblin/aio/{name}; do not edit.\n"
REPLACED = (
    (r"async (def|with|for) ", r"\1 "),
    (r"\bawait ", ""),
    (r"\bAwaitable\[((?:[^\[\]]|\[[^\[\]]*\[?[^\[\]]*\]?\])+?)\]\]", r"\1]"),
    (r"\bAwaitable, ", ""),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\bAsync([A-Z]\w+)", r"\1"),
    (r"__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\[row for row in self\]", "list(self)"),
    (r"for row in (.*):\n +yield row", r"yield from \1"),
    (r"\baclosing\b", "closing"),
    (r"\baclose\b", "close"),
    (r"\baread\b", "read"),
    (r"\baiter_bytes\b", "iter_bytes"),
    (r"\bgoblin\.aio\b", "goblin.sync"),
    (r"\bimport asyncio\n", "import threading\n"),
    (r"\basyncio\.Lock\b", "threading.Lock"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\basyncio\.shield\((.*)\)", r"\1"),
    (r"  # noqa: ASYNC\d+ - .*", ""),
)


def sync_text(text: str, name: str) -> str:
    """The module without await, formatted."""
    for pattern, replacement in REPLACED:
        text = re.sub(pattern, replacement, text)
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format"]):
        done = subprocess.run(  # noqa: S603 - our own command
            [*ruff, *command, "--stdin-filename", str(PACKAGE / "sync" / name), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = done.stdout
    return MADE.format(name=name) + text


def main() -> int:
    """Write or check every file."""
    (PACKAGE / "sync").mkdir(exist_ok=True)
    outdated = []
    for source in sorted((PACKAGE / "aio").glob("*.py")):
        target = PACKAGE / "sync" / source.name
        text = sync_text(source.read_text(), source.name)
        if not target.exists() or target.read_text() != text:
            outdated.append(str(target.relative_to(PACKAGE.parent)))
            if "--check" not in sys.argv:
                target.write_text(text)
    print(*outdated, sep="\n")  # noqa: T201 - a command
    return 1 if outdated and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
