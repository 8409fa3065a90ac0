"""The account: who asks, its books, what happened to it; and the service."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from goblin.decoding import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account."""

    id: int
    email: str
    name: str
    balance: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a session is continued with; the client keeps it by itself."""

    access_token: str = field(repr=False)
    expires_in: int
    """Seconds."""
    refresh_token: str = field(repr=False)
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Token):
    """A login, and whose it is."""

    user: User


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key without its secret."""

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey(ApiKey):
    """A key with its secret in `key`, which is never shown again."""

    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerAccount:
    """A ledger account; the accounts of one asset always sum to zero."""

    id: int
    kind: str
    asset: str
    epoch: int
    balance: Decimal
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One side of a transfer: what it changed on one account, and what caused it."""

    id: int
    transfer_id: int
    cause: str
    kind: str
    asset: str
    epoch: int
    version: int
    amount: Decimal
    balance_before: Decimal
    balance_after: Decimal
    order_id: int | None = None
    reverses_transfer_id: int | None = None
    request_id: str | None = None
    event_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAccount(LedgerAccount):
    """An account beside what its entries say."""

    recomputed: Decimal
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetTotal:
    """All accounts of an asset, added up from their entries: 0, or something is wrong."""

    asset: str
    total: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The trial balance of the account."""

    agrees: bool
    accounts: Rows[AuditedAccount]
    totals: Rows[AssetTotal]
    discrepancies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; `number` counts from 1 without a gap, `data` has amounts as text."""

    number: int
    type: str
    epoch: int
    data: dict[str, Any]
    request_id: str
    event_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """One thing that goblin consists of."""

    state: str
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The API and its database work; anything else is an Unavailable error."""

    status: str
    database: str
    message: str
    parts: dict[str, PartState]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminUser:
    """A user as an administrator sees them."""

    id: int
    email: str
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationAudit:
    """What recomputing everybody's books found."""

    agrees: bool
    users: int
    entries: int
    discrepancy_count: int
    discrepancies: tuple[str, ...]
