"""Where a PostgreSQL database is and how to log in to it."""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """A database to connect to. A `host` that starts with `/` is a Unix socket folder."""

    host: str
    port: int
    database: str
    user: str
    password: str | None = field(default=None, repr=False)

    def connect_arguments(self) -> dict[str, Any]:
        """Return keyword arguments for `asyncpg.connect` and `asyncpg.create_pool`."""
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "user": self.user,
        }
        if self.password is not None:
            arguments["password"] = self.password
        return arguments

    def with_database(self, database: str) -> "DatabaseAddress":
        """Return the same server and login with another database."""
        return replace(self, database=database)
