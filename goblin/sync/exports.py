# Made by scripts/sync_client.py of goblin/aio/exports.py; do not edit.
"""Whole tables and series at once, as frames and as files."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from goblin.calls import Call, Instant, get, path_part
from goblin.frames import MEDIA_TYPES, Engine, check_engine, frame_of_export, media_type_for
from goblin.sync.transport import Transport, whole

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

CANDLES: Final = "/export/candles"


class Exports(Transport):
    """What is too long to be asked for page by page."""

    @overload
    def export(
        self,
        table: str,
        *,
        engine: Literal["pandas"] = "pandas",
        exact: bool = False,
        epoch: int | None = None,
        symbol: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        **filters: bool | int | str | None,
    ) -> "pd.DataFrame": ...
    @overload
    def export(
        self,
        table: str,
        *,
        engine: Literal["polars"],
        exact: bool = False,
        epoch: int | None = None,
        symbol: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        **filters: bool | int | str | None,
    ) -> "pl.DataFrame": ...
    @overload
    def export(
        self,
        table: str,
        *,
        engine: Literal["arrow"],
        exact: bool = False,
        epoch: int | None = None,
        symbol: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        **filters: bool | int | str | None,
    ) -> "pa.Table": ...
    def export(
        self,
        table: str,
        *,
        engine: Engine = "pandas",
        exact: bool = False,
        epoch: int | None = None,
        symbol: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        **filters: bool | int | str | None,
    ) -> Any:
        """A whole table as it stands at one instant, by Arrow where pyarrow is here.

        Tables: orders, fills, ledger, accounts, log, events, watchlist, strategies,
        trade-strategies; candles have a method of their own.
        Other filters are `active` of orders, `asset`, `kind` and `order_id` of the ledger, and
        `include_deleted` of strategies and trade-strategies.
        `exact=True` keeps every digit: Decimal objects in pandas, decimal128(38,20) elsewhere.
        """
        call = _export(table, epoch=epoch, symbol=symbol, begin=begin, end=end, **filters)
        return self._frame(call, engine, exact=exact)

    def export_file(
        self,
        table: str,
        file: str | Path,
        *,
        epoch: int | None = None,
        symbol: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        **filters: bool | int | str | None,
    ) -> Path:
        """The same as a .csv, .parquet or .arrows file, in constant memory."""
        call = _export(table, epoch=epoch, symbol=symbol, begin=begin, end=end, **filters)
        return self._file(call, Path(file))

    @overload
    def export_candles(
        self,
        symbol: str,
        interval: str,
        *,
        engine: Literal["pandas"] = "pandas",
        exact: bool = False,
        begin: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
    ) -> "pd.DataFrame": ...
    @overload
    def export_candles(
        self,
        symbol: str,
        interval: str,
        *,
        engine: Literal["polars"],
        exact: bool = False,
        begin: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
    ) -> "pl.DataFrame": ...
    @overload
    def export_candles(
        self,
        symbol: str,
        interval: str,
        *,
        engine: Literal["arrow"],
        exact: bool = False,
        begin: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
    ) -> "pa.Table": ...
    def export_candles(
        self,
        symbol: str,
        interval: str,
        *,
        engine: Engine = "pandas",
        exact: bool = False,
        begin: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
    ) -> Any:
        """Every closed candle of a series that the server has stored, oldest first.

        Nothing is fetched for it and holes are not named, unlike with `candles`.
        """
        call = get(
            CANDLES,
            symbol=symbol,
            interval=interval,
            venue=venue,
            category=category,
            begin=begin,
            end=end,
        )
        return self._frame(call, engine, exact=exact)

    def export_candles_file(
        self,
        symbol: str,
        interval: str,
        file: str | Path,
        *,
        begin: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
    ) -> Path:
        """The same as a .csv, .parquet or .arrows file, in constant memory."""
        call = get(
            CANDLES,
            symbol=symbol,
            interval=interval,
            venue=venue,
            category=category,
            begin=begin,
            end=end,
        )
        return self._file(call, Path(file))

    def _frame(self, call: Call, engine: Engine, *, exact: bool) -> Any:
        check_engine(engine)
        media_type = media_type_for(engine)
        content = self._send(replace(call, accept=media_type), whole)
        return frame_of_export(content, media_type, engine, exact=exact)

    def _file(self, call: Call, target: Path) -> Path:
        if target.suffix not in MEDIA_TYPES:
            raise ValueError(f"{target.name}: expected a name in {', '.join(MEDIA_TYPES)}")
        self._save(replace(call, accept=MEDIA_TYPES[target.suffix]), target)
        return target


def _export(table: str, **filters: Any) -> Call:
    return get(f"/export/{path_part(table)}", **filters)
