"""PostgreSQL's values as Arrow's. pyarrow is imported only when one of these is called."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from app.db.copying import Column
from app.db.instants import InstantOutOfReach, may_be_infinite, spelled

PYARROW_MISSING: Final = (
    "pyarrow is required for Arrow results. Install it with: pip install pyarrow"
)
NUMERIC_DIGITS: Final = 38
NUMERIC_SCALE: Final = 20
_NO_INSTANT: Final = re.compile(r"column #([0-9]+): .* to (?:timestamp|date).* value '(.*)'")


class ValueNotArrow(ValueError):
    """A value has no place in the Arrow type of its column; the text says what to do."""

    def __init__(self, reason: object) -> None:
        super().__init__(
            f"a value does not fit its Arrow type: {reason}. Cast the column in SQL: to "
            "NUMERIC(38,20) to round it, to float8 for NaN and infinity, or to text"
        )


def import_pyarrow() -> Any:
    """The module pyarrow. Raises ImportError that says how to get it."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra that only researchers need
        import pyarrow.csv  # noqa: PLC0415 - as above
    except ImportError:
        raise ImportError(PYARROW_MISSING) from None
    return pa


def copied_schema(pa: Any, columns: Sequence[Column], *, exact: bool) -> Any | None:
    """The Arrow schema that the CSV of these columns is read with.

    None if there is a type whose spelling Arrow would not read back as what it was.
    """
    kinds = _copied_types(pa, exact=exact)
    if any(column.kind not in kinds for column in columns):
        return None
    return pa.schema([pa.field(column.name, kinds[column.kind]) for column in columns])


def fetched_schema(pa: Any, columns: Sequence[Column], *, exact: bool) -> Any:
    """The Arrow schema of Records with these columns. Raises TypeError for other types."""
    kinds = _copied_types(pa, exact=exact) | {
        "bytea": pa.binary(),
        "uuid": pa.string(),
        "time": pa.time64("us"),
    }
    kinds |= {f"{kind}[]": pa.list_(item) for kind, item in kinds.items()}
    for column in columns:
        if column.kind not in kinds:
            raise TypeError(
                f'column "{column.name}" is of type {column.kind}, which has no Arrow type here: '
                "cast it in SQL, for example to text"
            )
    return pa.schema([pa.field(column.name, kinds[column.kind]) for column in columns])


def _copied_types(pa: Any, *, exact: bool) -> dict[str, Any]:
    numeric = pa.decimal128(NUMERIC_DIGITS, NUMERIC_SCALE) if exact else pa.float64()
    return {
        **dict.fromkeys(("text", "varchar", "bpchar", "name", "json", "jsonb"), pa.string()),
        "int2": pa.int16(),
        "int4": pa.int32(),
        "int8": pa.int64(),
        "numeric": numeric,
        "float4": pa.float32(),
        "float8": pa.float64(),
        "bool": pa.bool_(),
        "timestamptz": pa.timestamp("us", "UTC"),
        "timestamp": pa.timestamp("us"),
        "date": pa.date32(),
    }


def read_block(pa: Any, block: bytes, schema: Any) -> Any:
    """The rows of one block of CSV as a table. Raises ValueNotArrow, InstantOutOfReach."""
    names = [str(place) for place in range(len(schema))]  # a query may give two columns one name
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(block),
            read_options=pa.csv.ReadOptions(column_names=names),
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=pa.string() in schema.types,
                ignore_empty_lines=False,  # one column that is NULL
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict(zip(names, schema.types, strict=True)),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
    except pa.ArrowInvalid as error:
        if (found := _NO_INSTANT.search(str(error))) is not None:
            raise InstantOutOfReach([schema.names[int(found[1])]], found[2]) from None
        raise ValueNotArrow(error) from None
    return table.rename_columns(schema.names)


def table_of_records(pa: Any, records: Sequence[Any], schema: Any) -> Any:
    """The records as a table. Raises ValueNotArrow, InstantOutOfReach."""
    try:
        arrays = [
            pa.array(
                [_plain(pa, record[i], field.type, field.name) for record in records],
                type=field.type,
            )
            for i, field in enumerate(schema)
        ]
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueNotArrow(error) from None
    return pa.Table.from_arrays(arrays, schema=schema)


def _plain(pa: Any, value: Any, kind: Any, name: str) -> Any:
    if may_be_infinite(value):
        raise InstantOutOfReach([name], spelled(value))
    if isinstance(value, Decimal) and pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_list(kind) and isinstance(value, list):
        return [_plain(pa, item, kind.value_type, name) for item in value]
    if pa.types.is_string(kind) and value is not None and not isinstance(value, str):
        return str(value)  # uuid
    return value
