"""What a venue says something costs, and when."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.domain.instruments import Category, Symbol
from app.domain.money import is_positive_amount

PRICE_TEXT: Final = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,60})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
"""How venues spell prices; Binance-like venues may use an exponent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One price of one symbol at one venue.

    `price_text` is the venue's own text as a plain decimal; `price` is the same number.
    `upstream_time_ms` is the venue's clock, milliseconds since 1970 UTC.
    """

    venue: str
    symbol: Symbol
    category: Category
    price: Decimal
    price_text: str
    upstream_time_ms: int

    def __post_init__(self) -> None:
        assert is_positive_amount(self.price), "a quote is born with a usable price"
        assert Decimal(self.price_text) == self.price, "text and number agree"


def parse_price(text: object) -> Decimal | None:
    """The venue's price text as a number that an order could be booked at, or None.

    None for anything but a string that spells a finite decimal > 0, < 10^10 and with at
    most 20 decimals: a venue's empty string, a JSON number, NaN, a negative price.
    """
    if not isinstance(text, str) or PRICE_TEXT.fullmatch(text) is None:
        return None
    price = Decimal(text)
    return price if is_positive_amount(price) else None


def plain_text(text: str) -> str:
    """The venue's text without an exponent and otherwise as sent: 7E-7 becomes 0.0000007."""
    return format(Decimal(text), "f")
