"""What the embedded PostgreSQL says when it cannot do what was asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

LOG_LINES_SHOWN: Final = 15
OWN_DATABASE_REMEDY: Final = "or set DB_HOST to use a PostgreSQL of your own"


class EmbeddedPostgresError(RuntimeError):
    """Says what failed, shows the end of the server's log, and names the remedy."""

    def __init__(
        self,
        failure: str,
        *,
        remedy: str,
        log_lines: Sequence[str] = (),
        log_file: Path | None = None,
    ) -> None:
        parts = [f"Embedded PostgreSQL: {failure}"]
        if log_lines:
            parts.append(f"The last lines of {log_file}:" if log_file else "It said:")
            parts += [f"    {line}" for line in log_lines[-LOG_LINES_SHOWN:]]
        parts.append(f"Remedy: {remedy}")
        super().__init__("\n".join(parts))
