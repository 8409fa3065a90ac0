"""DataFrames of models and of exported tables; pandas, polars and pyarrow are optional.

The types are those of `query_to_dataframe`: an amount is float64 (exact: Decimal objects in
pandas, decimal128(38,20) elsewhere), an instant datetime64[ns, UTC], what is absent NaN or
NaT, and an empty frame has its columns. Whole numbers with gaps are float64, or Python's ints
if asked for exactly or if one of them would be rounded.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_type_hints

if TYPE_CHECKING:
    import pandas as pd

Engine = Literal["pandas", "polars", "arrow"]
ENGINES: Final = get_args(Engine)
CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"
ARROW: Final = "application/vnd.apache.arrow.stream"
MEDIA_TYPES: Final[Mapping[str, str]] = {".csv": CSV, ".parquet": PARQUET, ".arrows": ARROW}

# Not goblin[frames]: the package index has a goblin that is somebody else's.
_MISSING: Final = "{name} is required for {what}. Install it with: pip install {packages}"
_NAN: Final = float("nan")
_FLOAT_WHOLE_MAX: Final = 2**53
"""Up to here float64 holds every whole number."""


def import_pandas() -> Any:
    """Raises ImportError that says what to install."""
    try:
        import pandas as pd  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError(
            _MISSING.format(name="pandas", what="DataFrames", packages="pandas")
        ) from None
    return pd


def _import_polars() -> Any:
    try:
        import polars as pl  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError(
            "polars is required for engine='polars'. Install it with: pip install polars pyarrow"
        ) from None
    return pl


def _import_pyarrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError(
            _MISSING.format(name="pyarrow", what="Arrow", packages="pyarrow")
        ) from None
    return pa


def has_pyarrow() -> bool:
    """Whether exports can come as Arrow."""
    try:
        _import_pyarrow()
    except ImportError:
        return False
    return True


def check_engine(engine: str) -> None:
    """Before anything is asked for. Raises ValueError, ImportError."""
    if engine not in ENGINES:
        raise ValueError(f"engine is 'pandas', 'polars' or 'arrow', not {engine!r}")
    {"pandas": import_pandas, "polars": _import_polars, "arrow": _import_pyarrow}[engine]()
    if engine == "polars":
        _import_pyarrow()


def frame_of_rows(model: type, rows: Sequence[Any], *, exact: bool) -> "pd.DataFrame":
    """A column for each field of the model; those of a mapping of numbers get one each."""
    pd = import_pandas()
    columns: dict[str, Any] = {}
    for name, kind in _kinds(model):
        values = [getattr(row, name) for row in rows]
        if kind == _NUMBERS:
            for key in dict.fromkeys(key for value in values for key in value):
                numbers = [value.get(key, _NAN) for value in values]
                columns[key] = pd.Series(numbers, dtype="float64")
        else:
            if kind is _MEASURE:
                values = [value.value for value in values]
            columns[name.removesuffix("_")] = _column(pd, kind, values, exact=exact)
    return pd.DataFrame(columns, index=range(len(rows)))


_NUMBERS: Final = dict[str, float]
_MEASURE: Final = "value or reason"


@cache
def _kinds(model: type) -> list[tuple[str, Any]]:
    """The name and the type of each column, without `| None`."""
    found = []
    for name, hint in get_type_hints(model).items():
        kind = hint
        if isinstance(hint, UnionType):
            (kind,) = (a for a in get_args(hint) if a is not type(None))
        if "reason" in getattr(kind, "__dataclass_fields__", ()):
            kind = _MEASURE
        found.append((name, kind))
    return found


def _column(pd: Any, kind: Any, values: list[Any], *, exact: bool) -> Any:
    is_number = kind in (Decimal, int, float) or kind is _MEASURE
    if kind is datetime:
        return pd.Series(pd.to_datetime(values, utc=True)).astype("datetime64[ns, UTC]")
    if kind is date:
        return pd.Series(pd.to_datetime(values)).astype("datetime64[ns]")
    if exact and (kind is Decimal or any(isinstance(value, Decimal) for value in values)):
        return pd.Series([_NAN if v is None else v for v in values], dtype=object)
    if kind is int:
        return _whole(pd, values, exact=exact)
    if is_number:
        numbers = [_NAN if v is None else float(v) for v in values]
        return pd.Series(numbers, dtype="float64")
    if kind is not str and not exact:
        values = [_inexact(value) for value in values]
    series = pd.Series(values, dtype=None if values else "object")
    return series.astype("float64") if values and series.isna().all() else series


def _whole(pd: Any, values: list[int | None], *, exact: bool) -> Any:
    if None not in values:
        return pd.Series(values, dtype="int64")
    is_rounded = any(v is not None and abs(v) > _FLOAT_WHOLE_MAX for v in values)
    with_gaps = [_NAN if v is None else v for v in values]
    return pd.Series(with_gaps, dtype=object if exact or is_rounded else "float64")


def _inexact(value: Any) -> Any:
    """The same with float for every Decimal."""
    match value:
        case Decimal():
            return float(value)
        case dict():
            return {key: _inexact(inner) for key, inner in value.items()}
        case list():
            return [_inexact(inner) for inner in value]
        case _:
            return value


def media_type_for(engine: str) -> str:
    """What an export is asked for as; pandas alone does without pyarrow, by CSV."""
    return ARROW if engine != "pandas" or has_pyarrow() else CSV


def frame_of_export(content: bytes, media_type: str, engine: str, *, exact: bool) -> Any:
    """The exported table in one of the engines."""
    if media_type == CSV:
        return _frame_of_csv(import_pandas(), content, exact=exact)
    pa = _import_pyarrow()
    with pa.ipc.open_stream(content) as reader:
        table = reader.read_all()
    if engine == "pandas":
        return _frame_of_table(import_pandas(), pa, table, exact=exact)
    if not exact:
        table = table.cast(
            pa.schema(
                [
                    field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field
                    for field in table.schema
                ]
            )
        )
    return table if engine == "arrow" else _import_polars().from_arrow(table)


def _frame_of_table(pd: Any, pa: Any, table: Any, *, exact: bool) -> Any:
    columns = {}
    for field, values in zip(table.schema, table.columns, strict=True):
        if pa.types.is_timestamp(field.type):
            columns[field.name] = values.cast(pa.timestamp("ns", "UTC")).to_pandas()
        elif pa.types.is_decimal(field.type) and exact:
            objects = [_NAN if v is None else v for v in values.to_pylist()]
            columns[field.name] = pd.Series(objects, dtype=object)
        elif pa.types.is_integer(field.type) and values.null_count:
            columns[field.name] = _whole(pd, values.to_pylist(), exact=exact)
        elif pa.types.is_decimal(field.type) or pa.types.is_integer(field.type):
            kind = "int64" if pa.types.is_integer(field.type) else "float64"
            columns[field.name] = pd.Series(values.cast(kind).to_numpy())
        elif len(values) and values.null_count == len(values):
            columns[field.name] = pd.Series([_NAN] * len(values))
        else:
            columns[field.name] = values.to_pandas()
    return pd.DataFrame(columns, index=range(table.num_rows))


_AMOUNTS: Final = frozenset(
    {"quantity", "price", "buy_price", "sell_price", "amount", "balance", "balance_before",
     "balance_after", "open", "high", "low", "close", "volume", "turnover"}
)  # fmt: skip
_WHOLE: Final = frozenset(
    {"id", "epoch", "version", "number", "status", "order_id", "strategy_id", "transfer_id",
     "reverses_transfer_id", "venue_time_ms", "price_age_ms"}
)  # fmt: skip


def _frame_of_csv(pd: Any, content: bytes, *, exact: bool) -> Any:
    """A text that a spreadsheet would take for a formula has a `'` in front."""
    frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, na_values=[""])
    convert: Callable[[str], Any] = Decimal if exact else float
    for name in frame.columns:
        column = frame[name]
        if name.endswith("_at") or name == "open_time":
            instants = pd.to_datetime(column, utc=True, format="ISO8601")
            frame[name] = instants.astype("datetime64[ns, UTC]")
        elif name in _AMOUNTS:
            values = [_NAN if pd.isna(text) else convert(text) for text in column]
            frame[name] = pd.Series(values, dtype=object if exact else "float64")
        elif name in _WHOLE:
            whole = [None if pd.isna(text) else int(text) for text in column]
            frame[name] = _whole(pd, whole, exact=exact)
        elif len(column) and column.isna().all():
            frame[name] = column.astype("float64")
    return frame
