"""The version, and texts of the contract that no error class owns."""

from typing import Final

VERSION: Final = "1.0.0"

WELCOME: Final = "Welcome to goblin API"
HEALTHY: Final = "API and database are operational"
INTERNAL_ERROR: Final = "internal server error"
RATE_LIMITED: Final = "too many requests: wait as long as Retry-After says"
STOPPING: Final = "goblin is shutting down"
ORDER_CLOSED: Final = "sell order complete"
LOG_CREATED: Final = "Log created successfully"
LOGGED_OUT: Final = "Logged out"
EVERYTHING_REVOKED: Final = "Password changed; every session and API key is revoked: log in again"
API_KEY_DELETED: Final = "API key deleted"


def watchlist_entry_deleted(symbol: str) -> str:
    """The answer to DELETE /watchlist/{symbol}."""
    return f"Watchlist entry for symbol '{symbol}' deleted successfully"


def strategy_deleted(name: str) -> str:
    """The answer to DELETE /strategy/{id}."""
    return f"Strategy '{name}' soft deleted successfully"


def trade_strategy_deleted(symbol: str) -> str:
    """The answer to DELETE /trade-strategy/{id}."""
    return f"Trade strategy '{symbol}' soft deleted successfully"
