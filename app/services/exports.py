"""Exports: whole tables as files, a bounded number at a time, each from one connection."""

from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

from app.db.arrow import ValueNotArrow
from app.db.copying import Copied, Copier
from app.db.dao import candles
from app.db.dao import exports as tables
from app.db.database import Database
from app.db.encoding import encoded
from app.domain.candles import CandlesNotStored, Interval, check_order
from app.domain.errors import TooManyRequests, Unavailable
from app.domain.exports import (
    FILTERS,
    ExportedRows,
    ExportFormat,
    ExportRangeEmpty,
    ExportTable,
    FilterNotPossible,
    FormatTooNarrow,
)
from app.domain.instruments import Category, Symbol, Venue
from app.domain.ledger import AccountKind
from app.domain.orders import OrderStatus
from app.domain.users import User, UserId, epoch_of

RETRY_SECONDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportLimits:
    """What one process gives to exports, each of which holds a connection of the pool."""

    per_process: int
    per_user: int = 2
    seconds_max: float = 600.0
    """How long one may take."""
    send_seconds: float = 10.0
    """How long a reader may take for one piece before it is cut off."""


class TooManyExports(TooManyRequests):
    """The user exports as often at once as is allowed."""

    code = "too_many_exports"

    def __init__(self, exports_max: int) -> None:
        super().__init__(
            f"this account has {exports_max} exports running already: let one finish",
            retry_after_seconds=RETRY_SECONDS,
        )
        self.exports_max = exports_max


class ExportsExhausted(Unavailable):
    """This process has as many exports as it can serve."""

    code = "exports_exhausted"
    retry_after_seconds = RETRY_SECONDS

    def __init__(self) -> None:
        super().__init__("this server has no export left: ask again later")


class Exports:
    """The exports of this process."""

    def __init__(self, limits: ExportLimits, *, has_arrow: bool) -> None:
        self.limits = limits
        self.formats = tuple(ExportFormat) if has_arrow else (ExportFormat.CSV,)
        self._running: Counter[UserId] = Counter()

    @property
    def count(self) -> int:
        """How many run now."""
        return self._running.total()

    @contextmanager
    def place(self, user_id: UserId) -> Iterator[None]:
        """One more, for as long as the block runs. Raises TooManyExports, ExportsExhausted."""
        if self._running[user_id] >= self.limits.per_user:
            raise TooManyExports(self.limits.per_user)
        if self.count >= self.limits.per_process:
            raise ExportsExhausted
        self._running[user_id] += 1
        try:
            yield
        finally:
            self._running[user_id] -= 1
            self._running += Counter()  # forget who has none


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFilters:
    """What the caller asked for; None is no filter, and the current epoch."""

    names: Sequence[str]
    """All that was named, known or not: what is passed over would narrow nothing down."""
    epoch: int | None
    symbol: str | None
    begin: datetime | None
    end: datetime | None
    status: OrderStatus | None
    kind: AccountKind | None
    order_id: int | None
    include_deleted: bool

    def check(self, table: ExportTable) -> None:
        """Raise FilterNotPossible for what the table does not have, and ExportRangeEmpty."""
        for name in self.names:
            if name not in FILTERS[table]:
                raise FilterNotPossible(table, name)
        if self.begin is not None and self.end is not None and self.begin >= self.end:
            raise ExportRangeEmpty

    def of(self, user: User) -> ExportedRows:
        """The same of one user. Raises EpochMissing."""
        return ExportedRows(
            user_id=user.id,
            epoch=epoch_of(self.epoch, current=user.epoch),
            symbol=self.symbol,
            begin=self.begin,
            end=self.end,
            status=self.status,
            kind=self.kind,
            order_id=self.order_id,
            include_deleted=self.include_deleted,
        )


Copying: TypeAlias = Callable[[Copier], Awaitable[Copied]]
"""What is asked for on the connection of an export."""

_COPIES: Final[Mapping[ExportTable, Callable[..., Awaitable[Copied]]]] = {
    ExportTable.ORDERS: tables.copy_orders,
    ExportTable.FILLS: tables.copy_fills,
    ExportTable.LEDGER: tables.copy_ledger,
    ExportTable.ACCOUNTS: tables.copy_accounts,
    ExportTable.LOG: tables.copy_log,
    ExportTable.EVENTS: tables.copy_events,
    ExportTable.WATCHLIST: tables.copy_watchlist,
    ExportTable.STRATEGIES: tables.copy_strategies,
    ExportTable.TRADE_STRATEGIES: tables.copy_trade_strategies,
}


def table_of(user: User, table: ExportTable, filters: ExportFilters) -> Copying:
    """One of the user's tables. Raises FilterNotPossible, ExportRangeEmpty and EpochMissing."""
    filters.check(table)
    return partial(_COPIES[table], rows=filters.of(user))


async def candles_of(
    db: Database,
    *,
    venue: Venue,
    category: Category,
    symbol: Symbol,
    interval: Interval,
    begin: datetime | None,
    end: datetime | None,
) -> Copying:
    """The stored candles of one series. Raises CandleRangeRefused and CandlesNotStored."""
    check_order(begin, end)
    async with db.connection() as conn:
        series = await candles.get_series(
            conn, venue=venue, category=category, symbol=symbol, interval=interval
        )
    if series is None:
        raise CandlesNotStored(venue, category, symbol, interval)
    return partial(tables.copy_candles, series_id=series.id, begin=begin, end=end)


@asynccontextmanager
async def open_export(
    exports: Exports,
    db: Database,
    *,
    user_id: UserId,
    copying: Copying,
    file_format: ExportFormat,
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The file in pieces, all of one instant; PostgreSQL has begun when this returns.

    Raises TooManyExports, ExportsExhausted, DatabaseUnavailable, and FormatTooNarrow if that
    shows at once; what shows later cuts the file off.
    """
    with exports.place(user_id):
        async with db.copier() as conn:
            copied = await copying(conn)
            pieces = encoded(copied, file_format, seconds_max=exports.limits.seconds_max)
            async with aclosing(pieces):
                try:
                    first = await anext(pieces, b"")
                except ValueNotArrow:
                    raise FormatTooNarrow from None
                async with aclosing(_chained(first, pieces)) as chained:
                    yield chained


async def _chained(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece
