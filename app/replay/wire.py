"""Bybit's envelope, its error texts, its query parameters and how it writes numbers."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from app.domain.instruments import Category
from app.domain.money import EXACT

PARAMETER_ERROR: Final = 10001
SERVER_ERROR: Final = 10016
ROUTE_NOT_FOUND: Final = 10017
DIGITS_MAX: Final = 19  # of a number in a query: what 64 bits hold


class Rejected(Exception):
    """A business error: HTTP 200 with a retCode."""

    def __init__(
        self, message: str, *, code: int = PARAMETER_ERROR, result: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.result: Mapping[str, Any] = result or {}


def envelope(
    result: Mapping[str, Any], *, time_ms: int, code: int = 0, message: str = "OK"
) -> dict[str, Any]:
    """What every answer is wrapped in."""
    return {
        "retCode": code,
        "retMsg": message,
        "result": result,
        "retExtInfo": {},
        "time": time_ms,
    }


def encoded(document: Mapping[str, Any]) -> bytes:
    """Compact JSON, as on the wire."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def trimmed(number: Decimal) -> str:
    """Without an exponent and without trailing zeros: kline, order book, spot."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def padded(number: Decimal, like: Decimal) -> str:
    """With at least the decimals of `like`: tickers and trades of derivatives."""
    digits, wanted = number.as_tuple().exponent, like.as_tuple().exponent
    return format(number if int(digits) <= int(wanted) else EXACT.quantize(number, like), "f")


def rounded(number: Decimal, quantum: str) -> Decimal:
    """Rounded half away from zero to the decimals of `quantum`."""
    return EXACT.quantize(number, Decimal(quantum))


def category_of(query: Mapping[str, str], *, default: Category | None = None) -> Category:
    """The category asked for."""
    text = query.get("category", default or "")
    if text not in set(Category):
        raise Rejected("params error: Category is invalid")
    return Category(text)


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """A whole number, None when it was not sent or is empty."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise Rejected(f"params error: {name} is invalid")
    return int(text)


def limit_of(query: Mapping[str, str], *, default: int, largest: int) -> int:
    """How many items were asked for, from 1 to `largest`."""
    limit = number_of(query, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= largest:
        raise Rejected("params error: limit is invalid")
    return limit
