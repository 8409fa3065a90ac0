"""What goblin answers, as frozen values: money is Decimal, instants are aware datetimes.

A test compares every model with swagger.yaml. Words that a newer server may add to (a kind, a
status, the type of an event) are plain texts.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from goblin.decoding import Rows, wire

ACTIVE: Final = 1
CLOSED: Final = 2


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
class Order:
    """An order; what only a closed one has is None while it is active."""

    id: int
    client_order_id: str | None = None
    symbol: str
    status: int
    """1 active, 2 closed."""
    quantity: Decimal
    buy_price: Decimal
    sell_price: Decimal | None = None
    price_change: Decimal | None = field(default=None, metadata=wire("diff"))
    cost: Decimal = field(metadata=wire("buyAggregate"))
    """What the balance fell by."""
    proceeds: Decimal | None = field(default=None, metadata=wire("sellAggregate"))
    """What the balance rose by."""
    profit: Decimal = field(metadata=wire("diffDollar"))
    """proceeds - cost once closed, else 0."""
    user_id: int
    created_at: datetime
    updated_at: datetime

    @property
    def is_active(self) -> bool:
        """Whether it can still be closed."""
        return self.status == ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Why one side of an order filled at its price."""

    side: str
    price: Decimal
    source: str
    venue_time_ms: int
    price_age_ms: int
    request_id: str
    filled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDetail(Order):
    """An order, and why it filled at its prices."""

    explain: Rows[Fill]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPreview:
    """What an order would do now; `refusal` instead of `balance_after` if it would fail."""

    symbol: str
    quantity: Decimal
    price: Decimal
    cost: Decimal
    balance_after: Decimal | None = None
    refusal: str | None = None
    refusal_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchlistEntry:
    """One watched symbol."""

    id: int
    symbol: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of the trading log; `data` is what was sent, with Decimal for fractions."""

    id: int
    symbol: str
    action: str
    data: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A strategy."""

    id: int
    name: str
    slug: str
    deleted_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStrategy:
    """Which strategy trades which symbol at which interval."""

    id: int
    symbol: str
    strategy_id: int
    interval: str = field(metadata=wire("timestamp"))
    deleted_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The last price at the venue."""

    symbol: str
    category: str
    price: Decimal
    upstream_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What every answer about a live market says."""

    symbol: str
    category: str
    source: str
    age_ms: int
    venue_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker(Live):
    """The state of a market; what the venue does not say is None."""

    price: Decimal
    bid: Decimal | None = None
    bid_size: Decimal | None = None
    ask: Decimal | None = None
    ask_size: Decimal | None = None
    high_24h: Decimal | None = None
    low_24h: Decimal | None = None
    volume_24h: Decimal | None = None
    turnover_24h: Decimal | None = None
    change_24h: Decimal | None = None
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    funding_rate: Decimal | None = None
    open_interest: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBook(Live):
    """Bids descending and asks ascending, each (price, size)."""

    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    update_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    """Two strangers agreed on a price; `side` is what the taker did."""

    id: str
    price: Decimal
    size: Decimal
    side: str
    venue_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrades(Live):
    """Public trades, the newest first."""

    trades: Rows[PublicTrade]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """What a price did in [open_time, open_time + interval)."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorRow:
    """The values at the close of a candle; those that are warming up are absent."""

    open_time: datetime
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One symbol with the venue's rules for orders; a rule that it has not is None."""

    venue: str
    category: str
    symbol: str
    base: str
    quote: str
    status: str
    tick_size: Decimal
    lot_step: Decimal
    quantity_min: Decimal
    quantity_max: Decimal | None = None
    amount_min: Decimal | None = None


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
class Ratio:
    """A number, or the reason why there is none."""

    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyOrReason:
    """An amount, or the reason why there is none."""

    value: Decimal | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStatistics:
    """Closed orders together; losses are negative."""

    count: int
    wins: int
    losses: int
    profit: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    win_rate: Ratio
    profit_factor: Ratio
    average_profit: MoneyOrReason
    average_win: MoneyOrReason
    average_loss: MoneyOrReason
    best: MoneyOrReason
    worst: MoneyOrReason
    holding_seconds_average: Ratio
    holding_seconds_longest: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolStatistics:
    """How one symbol went, and what holding it would have brought."""

    symbol: str
    trades: TradeStatistics
    buy_and_hold: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A UTC day on which something moved."""

    on: date
    equity: Decimal
    profit: Decimal
    flow: Decimal
    return_: Ratio = field(metadata=wire("return"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A UTC month in which something moved."""

    month: str
    profit: Decimal
    flow: Decimal
    return_: Ratio = field(metadata=wire("return"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How an account did in [begin_at, end_at), with open orders at what they cost."""

    epoch: int
    begin_at: datetime
    end_at: datetime
    equity_at_begin: Decimal
    equity_at_end: Decimal
    flow: Decimal
    open_orders: int
    open_cost: Decimal
    total_return: Ratio
    annual_return: Ratio
    volatility: Ratio
    sharpe: Ratio
    sortino: Ratio
    calmar: Ratio
    max_drawdown: Ratio
    exposure_time: Ratio
    exposure: Ratio
    trades: TradeStatistics
    symbols: Rows[SymbolStatistics]
    days: Rows[Day]
    months: Rows[Month]


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
