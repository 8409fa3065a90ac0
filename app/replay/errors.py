"""Why an exchange cannot be opened; the texts say what would work.

ReplayError
├── UnreadableRecording   a file or folder is not what can be replayed
├── NotLoopback           the host is reachable from other machines
├── CannotListen          the port is taken or there is no such address
└── WrongTime             the clock cannot stand there or go that fast
"""

from pathlib import Path


class ReplayError(Exception):
    """The exchange cannot be opened as asked."""


class UnreadableRecording(ReplayError):
    """A file or folder that cannot be replayed, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot replay {path}: {reason}")
        self.path = path
        self.reason = reason


class NotLoopback(ReplayError):
    """The exchange has no login, so only this machine may reach it unless told otherwise."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} may be reachable from other machines, and the exchange has no login; "
            "use 127.0.0.1, or --may-leave-loopback"
        )
        self.host = host


class CannotListen(ReplayError):
    """The socket could not be opened."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host} port {port}: {reason}; port 0 takes a free one")
        self.host = host
        self.port = port


class WrongTime(ReplayError, ValueError):
    """A start outside the recording, a time that is none, or an impossible speed."""
