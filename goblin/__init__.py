"""A client of goblin, the trading sandbox: typed, exact, safe to repeat.

with goblin.Client("http://127.0.0.1:8000", api_key="gob_...") as client:
    order = client.buy("BTCUSDT", "0.05")
    print(client.orders().df())

`AsyncClient` is the same with await. docs/client.md tells the rest.
"""

from goblin import models
from goblin.aio.client import AsyncClient
from goblin.aio.listing import AsyncListing
from goblin.decoding import Rows
from goblin.errors import (
    BadAnswer,
    Conflict,
    ConnectionLost,
    Forbidden,
    GoblinError,
    Invalid,
    NotAcceptable,
    NotConfigured,
    NotFound,
    Problem,
    Refused,
    ServerError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unreachable,
    UpstreamInvalid,
)
from goblin.reporting import report
from goblin.retries import Retries
from goblin.sync.client import Client
from goblin.sync.listing import Listing

__all__ = [
    "AsyncClient",
    "AsyncListing",
    "BadAnswer",
    "Client",
    "Conflict",
    "ConnectionLost",
    "Forbidden",
    "GoblinError",
    "Invalid",
    "Listing",
    "NotAcceptable",
    "NotConfigured",
    "NotFound",
    "Problem",
    "Refused",
    "Retries",
    "Rows",
    "ServerError",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "UpstreamInvalid",
    "models",
    "report",
]
