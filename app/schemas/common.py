"""The envelope, and the types that every request and response is made of."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from app.domain.instruments import normalize_symbol
from app.domain.money import PLAIN_DECIMAL, format_amount, is_amount, is_positive_amount

DataT = TypeVar("DataT")
MetaT = TypeVar("MetaT")

ID_MAX: Final = 2**63 - 1
PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 10**9


class StandardResponse(BaseModel, Generic[DataT]):
    """`{"status":"success","message"?,"data"?}`; members that would be null are dropped."""

    status: Literal["success"] = "success"
    message: str | None = None
    data: DataT | None = None


class PagedResponse(BaseModel, Generic[DataT, MetaT]):
    """The envelope of a page, whose place in the whole stands in `meta`."""

    status: Literal["success"] = "success"
    meta: MetaT
    data: DataT


class Empty(BaseModel):
    """`{}`: the data of an answer that says everything in its message."""


class Request(BaseModel):
    """A request body; an unknown extra member is ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class StrictRequest(Request):
    """A request body whose unknown members are an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _amount(value: object) -> Decimal:
    """From a JSON string in plain spelling, or a JSON number with every digit it was sent with."""
    if isinstance(value, str) and PLAIN_DECIMAL.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not is_amount(value):
        raise ValueError(
            'expected a plain decimal below 10^10 with at most 20 decimals, for example "0.25"'
        )
    return value


def _positive(value: Decimal) -> Decimal:
    if not is_positive_amount(value):
        raise ValueError("expected more than 0")
    return value


def _normalized(text: object) -> object:
    return normalize_symbol(text) if isinstance(text, str) else text


def format_instant(instant: datetime) -> str:
    """ISO 8601, UTC, Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_storable)]
"""Any text that PostgreSQL can hold."""

NonBlank = Annotated[Text, AfterValidator(_not_blank)]

_PLAIN_PATTERN: Final = r"^[0-9]{1,10}(\.[0-9]{1,20})?$"

Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _PLAIN_PATTERN},
                {"type": "number", "minimum": 0, "exclusiveMaximum": 10_000_000_000},
            ],
            "description": "0 or more, less than 10^10, at most 20 decimals.",
        }
    ),
]
"""What a balance can be."""

PositiveAmount = Annotated[
    Decimal,
    AfterValidator(_positive),
    BeforeValidator(_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _PLAIN_PATTERN},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10_000_000_000},
            ],
            "description": "More than 0, less than 10^10, at most 20 decimals.",
        }
    ),
]
"""What a quantity or a deposit can be."""

Money = Annotated[
    Decimal,
    PlainSerializer(format_amount, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,10}\.[0-9]{20}$"}),
]
"""On the wire: a string with exactly 20 decimals, never an exponent."""

LedgerMoney = Annotated[
    Decimal,
    PlainSerializer(format_amount, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,27}\.[0-9]{20}$"}),
]
"""The same for the balance of a ledger account: venue and funding go below zero, and one
user's turnover adds up in them beyond what any balance can hold."""

Instant = Annotated[
    datetime,
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""On the wire: ISO 8601, UTC, Z."""

Identifier = Annotated[int, Field(ge=1, le=ID_MAX)]


OrderSymbol = Annotated[
    str, Field(min_length=1, max_length=10), AfterValidator(_storable), BeforeValidator(_normalized)
]
AssignmentSymbol = Annotated[
    str, Field(min_length=1, max_length=15), AfterValidator(_storable), BeforeValidator(_normalized)
]
QuoteSymbol = Annotated[
    str, Field(min_length=3, max_length=30), AfterValidator(_storable), BeforeValidator(_normalized)
]
FilterSymbol = Annotated[
    str, Field(max_length=30), AfterValidator(_storable), BeforeValidator(_normalized)
]

Limit = Annotated[int, Field(ge=1, le=PAGE_MAX)]
Offset = Annotated[int, Field(ge=0, le=OFFSET_MAX)]
PathSymbol = Annotated[
    str, Field(min_length=1), AfterValidator(_storable), BeforeValidator(_normalized)
]


Epoch = Annotated[
    int | None,
    Field(ge=1, le=2**31 - 1, description="Which life of the account; the current by default."),
]
ClientOrderId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,36}$",
        description="1 to 36 of A-Z a-z 0-9 _ -, unique for ever.",
        examples=["my-bot-000001"],
    ),
]
