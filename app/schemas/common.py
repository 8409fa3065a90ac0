"""The envelope, and the types that every request and response is made of."""

import re
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

from app.domain.ids import ID_MAX
from app.domain.instruments import normalize_symbol
from app.domain.money import PLAIN_DECIMAL, format_amount, is_amount, is_positive_amount

PLAIN_INTEGER: Final = re.compile(r"-?[0-9]{1,40}", re.ASCII)
PLAIN_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?", re.ASCII)

DataT = TypeVar("DataT")
MetaT = TypeVar("MetaT")

PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 10**9
PERSON_NAME_CHARACTERS_MAX: Final = 100
TITLE_CHARACTERS_MAX: Final = 200
TEXT_CHARACTERS_MAX: Final = 1000


class StandardResponse(BaseModel, Generic[DataT]):
    """`{"status":"success","message"?,"data"?}`; members that would be null are dropped."""

    status: Literal["success"] = "success"
    message: str | None = Field(None, examples=["What was done."])
    data: DataT


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


def storable(text: str) -> str:
    """The text, if PostgreSQL can hold it."""
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain half a surrogate pair") from None
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


def whole_number(value: object) -> object:
    """What comes as text has plain digits; Python also reads 1_000, spaces and other scripts'."""
    if isinstance(value, bool) or (
        isinstance(value, str) and PLAIN_INTEGER.fullmatch(value) is None
    ):
        raise ValueError("expected a whole number in digits 0-9")
    return value


def plain_number(value: object) -> object:
    """The same for a number that may have a fraction."""
    if isinstance(value, str) and PLAIN_NUMBER.fullmatch(value) is None:
        raise ValueError("expected a plain decimal number, for example 0.5")
    return value


def _normalized(text: object) -> object:
    if not isinstance(text, str):
        return text
    trimmed = text.strip()
    # It looks at each character; what no field takes is not worth that.
    return trimmed if len(trimmed) > TEXT_CHARACTERS_MAX else normalize_symbol(trimmed)


def format_instant(instant: datetime) -> str:
    """ISO 8601, UTC, Z."""
    if instant.tzinfo is not UTC:  # what comes from the database is already
        instant = instant.astimezone(UTC)
    return f"{instant.isoformat()[:-6]}Z"


# What `str.strip` removes, spelled out because engines disagree about \\s.
_SPACE: Final = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_INK: Final = rf"[^\x00{_SPACE}]"


def _trimmed_pattern(length_min: int, length_max: int) -> str:
    """Text without NUL of so many characters, not counting white space around it."""
    inner = f"[^\\x00]{{{max(length_min - 2, 0)},{length_max - 2}}}"
    core = f"{_INK}{inner}{_INK}" if length_min > 1 else f"{_INK}(?:{inner}{_INK})?"
    return f"^[{_SPACE}]*{core if length_min else f'(?:{core})?'}[{_SPACE}]*$"


def _text(pattern: str, description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": pattern, "description": description, **more}
    )


def _symbol(length_min: int, length_max: int) -> WithJsonSchema:
    length = f"{length_min} to {length_max}" if length_min else f"At most {length_max}"
    return _text(
        _trimmed_pattern(length_min, length_max),
        f"{length} characters after trimming; upper-cased before use.",
        examples=["BTCUSDT"],
    )


NO_NUL: Final = r"^[^\x00]*$"


def _bounded(
    length_min: int, length_max: int, pattern: str = NO_NUL, description: str = "Text without NUL."
) -> WithJsonSchema:
    lengths = {"minLength": length_min} if length_min else {}
    return _text(pattern, description, **lengths, maxLength=length_max)


Text = Annotated[
    str,
    Field(max_length=TEXT_CHARACTERS_MAX),
    AfterValidator(storable),
    _bounded(0, TEXT_CHARACTERS_MAX),
]
"""Any text that PostgreSQL can hold."""

FilledText = Annotated[
    str,
    Field(min_length=1, max_length=TEXT_CHARACTERS_MAX),
    AfterValidator(storable),
    _bounded(1, TEXT_CHARACTERS_MAX),
]

_NOT_BLANK: Final = rf"^[^\x00]*{_INK}[^\x00]*$"
Title = Annotated[
    str,
    Field(max_length=TITLE_CHARACTERS_MAX),
    AfterValidator(storable),
    AfterValidator(_not_blank),
    _bounded(0, TITLE_CHARACTERS_MAX, _NOT_BLANK, "Not blank, without NUL."),
]
Slug = Annotated[
    str,
    Field(min_length=1, max_length=TITLE_CHARACTERS_MAX),
    AfterValidator(storable),
    _bounded(1, TITLE_CHARACTERS_MAX),
]

PersonName = Annotated[
    str,
    Field(max_length=PERSON_NAME_CHARACTERS_MAX),
    AfterValidator(storable),
    AfterValidator(_not_blank),
    _bounded(0, PERSON_NAME_CHARACTERS_MAX, _NOT_BLANK, "Not blank, without NUL."),
]

_PLAIN_PATTERN: Final = r"^[0-9]{1,10}(\.[0-9]{1,20})?$"
_POSITIVE_PATTERN: Final = r"^(?=.*[1-9])[0-9]{1,10}(\.[0-9]{1,20})?$"


def _amount_text(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


def _decimal(pattern: str, smallest: float, description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": pattern},
                {
                    "type": "number",
                    "minimum": smallest,
                    "exclusiveMaximum": 10_000_000_000,
                    "multipleOf": 1e-20,
                },
            ],
            "description": f"{description}, less than 10^10, at most 20 decimals.",
        }
    )


Amount = Annotated[Decimal, BeforeValidator(_amount), _decimal(_PLAIN_PATTERN, 0, "0 or more")]
"""What a balance can be."""

PositiveAmount = Annotated[
    Decimal,
    AfterValidator(_positive),
    BeforeValidator(_amount),
    _decimal(_POSITIVE_PATTERN, 1e-20, "More than 0"),
]
"""What a quantity or a deposit can be."""

Money = Annotated[
    Decimal,
    PlainSerializer(format_amount, return_type=str),
    _amount_text(r"^-?[0-9]{1,10}\.[0-9]{20}$", "10000.00000000000000000000"),
]
"""On the wire: a string with exactly 20 decimals, never an exponent."""

LedgerMoney = Annotated[
    Decimal,
    PlainSerializer(format_amount, return_type=str),
    _amount_text(r"^-?[0-9]{1,27}\.[0-9]{20}$", "10000.00000000000000000000"),
]
"""The same for the balance of a ledger account: venue and funding go below zero, and one
user's turnover adds up in them beyond what any balance can hold."""

CashValue = Annotated[
    Decimal,
    PlainSerializer(format_amount, return_type=str),
    _amount_text(r"^[0-9]{1,20}\.[0-9]{20}$", "1040.00500000000000000000"),
]
"""A price times a quantity that nobody has paid: on the wire like money, but without its limit."""

Instant = Annotated[
    datetime,
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": "Z$",
            "examples": ["2026-01-31T12:00:00.123456Z"],
        }
    ),
]
"""On the wire: ISO 8601, UTC, Z."""

SymbolOut = Annotated[str, Field(examples=["BTCUSDT"])]
"""A symbol in an answer: trimmed and upper-cased."""

Identifier = Annotated[
    int, Field(ge=1, le=ID_MAX, json_schema_extra={"format": "int64"}, examples=[1])
]
IdentifierIn = Annotated[Identifier, BeforeValidator(whole_number)]
"""An id in a body or a query."""

Count = Annotated[int, Field(ge=0, examples=[1])]


OrderSymbol = Annotated[
    str,
    Field(min_length=1, max_length=10),
    AfterValidator(storable),
    BeforeValidator(_normalized),
    _symbol(1, 10),
]
AssignmentSymbol = Annotated[
    str,
    Field(min_length=1, max_length=15),
    AfterValidator(storable),
    BeforeValidator(_normalized),
    _symbol(1, 15),
]
QuoteSymbol = Annotated[
    str,
    Field(min_length=3, max_length=30),
    AfterValidator(storable),
    BeforeValidator(_normalized),
    _symbol(3, 30),
]
FilterSymbol = Annotated[
    str,
    Field(max_length=30),
    AfterValidator(storable),
    BeforeValidator(_normalized),
    _symbol(0, 30),
]

Limit = Annotated[int, Field(ge=1, le=PAGE_MAX), BeforeValidator(whole_number)]
Offset = Annotated[int, Field(ge=0, le=OFFSET_MAX), BeforeValidator(whole_number)]
PathSymbol = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(storable),
    BeforeValidator(_normalized),
    _symbol(1, 10),
]
"""A symbol in a path; one that is too long is refused by the route, as the contract words it."""


Epoch = Annotated[
    int | None,
    Field(ge=1, le=2**31 - 1, description="Which life of the account; the current by default."),
    BeforeValidator(whole_number),
]
ClientOrderId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,36}$",
        description="1 to 36 of A-Z a-z 0-9 _ -, unique for ever.",
        examples=["my-bot-000001"],
    ),
]
