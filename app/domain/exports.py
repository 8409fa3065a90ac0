"""What can be exported, in which formats, and narrowed down by what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from app.domain.errors import Invalid, NotAcceptable
from app.domain.ledger import AccountKind
from app.domain.orders import OrderStatus
from app.domain.users import UserId


class ExportTable(StrEnum):
    """A table of the caller's, as it is exported."""

    ORDERS = "orders"
    FILLS = "fills"
    LEDGER = "ledger"
    ACCOUNTS = "accounts"
    LOG = "log"
    EVENTS = "events"
    WATCHLIST = "watchlist"
    STRATEGIES = "strategies"
    TRADE_STRATEGIES = "trade-strategies"


class ExportFormat(StrEnum):
    """The media type of an export."""

    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"
    ARROW = "application/vnd.apache.arrow.stream"


EXTENSIONS: Final[Mapping[ExportFormat, str]] = {
    ExportFormat.CSV: "csv",
    ExportFormat.PARQUET: "parquet",
    ExportFormat.ARROW: "arrows",
}

_WHOLE: Final = ("epoch", "symbol", "from", "to")
_LEDGER: Final = ("epoch", "asset", "from", "to")
FILTERS: Final[Mapping[ExportTable, Collection[str]]] = {
    ExportTable.ORDERS: (*_WHOLE, "active"),
    ExportTable.FILLS: _WHOLE,
    ExportTable.LEDGER: (*_LEDGER, "kind", "order_id"),
    ExportTable.ACCOUNTS: _LEDGER,
    ExportTable.LOG: ("symbol", "from", "to"),
    ExportTable.EVENTS: ("from", "to"),
    ExportTable.WATCHLIST: ("symbol",),
    ExportTable.STRATEGIES: ("include_deleted",),
    ExportTable.TRADE_STRATEGIES: ("symbol", "include_deleted"),
}
"""What each table can be narrowed down by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRows:
    """Whose rows, and which of them; times are half-open, and None is no filter."""

    user_id: UserId
    epoch: int
    symbol: str | None
    """Of the ledger and its accounts: the asset."""
    begin: datetime | None
    end: datetime | None
    status: OrderStatus | None
    kind: AccountKind | None
    order_id: int | None
    include_deleted: bool

    @property
    def of_epoch(self) -> tuple[object, ...]:
        """What every table of an epoch is asked with."""
        return self.user_id, self.epoch, self.symbol, self.begin, self.end


class FilterNotPossible(Invalid):
    """A table was to be narrowed down by something that it does not have."""

    code = "filter_not_possible"

    def __init__(self, table: ExportTable, name: str) -> None:
        possible = ", ".join(FILTERS.get(table, ())) or "nothing"
        super().__init__(f"{table} cannot be narrowed down by {name}; possible: {possible}")
        self.table = table
        self.name = name
        self.where = ("query", name)


class ExportRangeEmpty(Invalid):
    """Rows were asked for from an instant to one that does not come after it."""

    code = "export_range_empty"
    where = ("query", "from")

    def __init__(self) -> None:
        super().__init__("from has to lie before to")


class FormatNotOffered(NotAcceptable):
    """Accept names no format that this server can make."""

    code = "format_not_offered"

    def __init__(self) -> None:
        super().__init__(
            f"Accept has to allow one of {', '.join(ExportFormat)}; where the last two are wanted "
            "and missing, install them on the server with: pip install pyarrow"
        )


class FormatTooNarrow(NotAcceptable):
    """A number has more digits than the format can hold; CSV has room for it."""

    code = "format_too_narrow"

    def __init__(self) -> None:
        super().__init__(
            "a number of this table does not fit into decimal128(38,20): accept text/csv instead"
        )
