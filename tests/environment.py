"""What another process is told about the database of a test."""

from app.db.address import DatabaseAddress


def database_variables(address: DatabaseAddress) -> dict[str, str]:
    """The DB_* settings; a password is there even where the socket asks for none."""
    return {
        "DB_HOST": address.host,
        "DB_PORT": str(address.port),
        "DB_NAME": address.database,
        "DB_USER": address.user,
        "DB_PASSWORD": address.password or "unused",
    }
