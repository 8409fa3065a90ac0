"""Exports: whole tables as files, a bounded number at a time, each from one connection."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.db.arrow import ValueNotArrow
from app.db.copying import Copied
from app.db.dao import exports as tables
from app.db.database import Database
from app.db.encoding import encoded
from app.domain.errors import TooManyRequests, Unavailable
from app.domain.exports import (
    FILTERS,
    ExportFormat,
    ExportTable,
    FilterNotPossible,
    FormatTooNarrow,
)
from app.domain.users import User, UserId

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

    epoch: int | None
    symbol: str | None
    begin: datetime | None
    end: datetime | None

    def for_table(self, table: ExportTable, user: User) -> Mapping[str, object]:
        """What the table's statement is asked with. Raises FilterNotPossible."""
        asked = {"epoch": self.epoch, "symbol": self.symbol, "from": self.begin, "to": self.end}
        for name, value in asked.items():
            if value is not None and name not in FILTERS[table]:
                raise FilterNotPossible(table, name)
        asked["epoch"] = user.epoch if self.epoch is None else self.epoch
        return {_PARAMETERS.get(name, name): asked[name] for name in FILTERS[table]}


_PARAMETERS: Final = {"from": "begin", "to": "end"}
_COPIES: Final[Mapping[ExportTable, Callable[..., Awaitable[Copied]]]] = {
    ExportTable.ORDERS: tables.copy_orders,
    ExportTable.FILLS: tables.copy_fills,
    ExportTable.LEDGER: tables.copy_ledger,
    ExportTable.LOG: tables.copy_log,
    ExportTable.EVENTS: tables.copy_events,
    ExportTable.WATCHLIST: tables.copy_watchlist,
    ExportTable.STRATEGIES: tables.copy_strategies,
    ExportTable.TRADE_STRATEGIES: tables.copy_trade_strategies,
}


@asynccontextmanager
async def open_export(
    exports: Exports,
    db: Database,
    *,
    user: User,
    table: ExportTable,
    file_format: ExportFormat,
    filters: ExportFilters,
) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The file in pieces, all of one instant; PostgreSQL has begun when this returns.

    Raises FilterNotPossible, TooManyExports, ExportsExhausted, DatabaseUnavailable, and
    FormatTooNarrow if that shows at once; what shows later cuts the file off.
    """
    asked = filters.for_table(table, user)
    with exports.place(user.id):
        async with db.copier() as conn:
            copied = await _COPIES[table](conn, user_id=user.id, **asked)
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
