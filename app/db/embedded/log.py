"""The end of the server's log, for error messages and for whoever waits."""

import logging
from pathlib import Path

from app.db.embedded.errors import EmbeddedPostgresError

_log = logging.getLogger(__name__)


class ServerLog:
    """What the server has written since a mark that `mark` sets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = self._shown = 0

    def mark(self) -> None:
        """Begin anew: what stands there now is the past."""
        self._mark = self._shown = self._size()

    def lines(self) -> list[str]:
        """Return what was written since the mark."""
        return self._lines_from(self._mark)

    def show(self) -> None:
        """Log what nobody has been shown yet."""
        size = self._size()
        for line in self._lines_from(self._shown) if size > self._shown else []:
            _log.info("postgresql: %s", line)
        self._shown = size

    def error(self, failure: str, *, remedy: str) -> EmbeddedPostgresError:
        """An error that shows the end of the log."""
        return EmbeddedPostgresError(
            failure, remedy=remedy, log_lines=self.lines(), log_file=self._path
        )

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _lines_from(self, offset: int) -> list[str]:
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                return file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return []
