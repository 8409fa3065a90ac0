"""Exact money: Decimal under one explicit context, rounded in one place.

Every amount, price and quantity fits NUMERIC(30,20): at most 20 decimals, below 10^10.
PostgreSQL rounds half away from zero, Python's default is half even and 28 digits; so that
the database never rounds, everything is rounded here, by `cash_value`, and nowhere else.
"""

import re
from decimal import (
    ROUND_HALF_UP,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    InvalidOperation,
    Overflow,
)
from typing import Final

DECIMALS: Final = 20
LIMIT: Final = Decimal(10) ** 10
"""Balances, prices and quantities are below this: NUMERIC(30,20) holds ten integer digits."""

ZERO: Final = Decimal(0)
QUANTUM: Final = Decimal(1).scaleb(-DECIMALS)

EXACT: Final = Context(
    prec=80,  # a product of two NUMERIC(30,20) has 60 digits
    rounding=ROUND_HALF_UP,  # half away from zero, as PostgreSQL does
    traps=[InvalidOperation, DivisionByZero, Overflow, FloatOperation, Clamped],
)

PLAIN_DECIMAL: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,20})?", re.ASCII)
"""The only spelling of an amount: no sign, exponent, underscore, or other script's digits."""


def is_amount(value: Decimal) -> bool:
    """Whether the value is finite, not negative, below the limit and has at most 20 decimals."""
    if not value.is_finite() or value.is_signed() or value >= LIMIT:
        return False
    return EXACT.quantize(value, QUANTUM) == value


def is_positive_amount(value: Decimal) -> bool:
    """`is_amount` without zero: what a price, a quantity or a deposit must be."""
    return is_amount(value) and value > ZERO


def cash_value(price: Decimal, quantity: Decimal) -> Decimal:
    """Price x quantity, computed exactly and rounded once to 20 decimals, half away from zero."""
    return EXACT.quantize(EXACT.multiply(price, quantity), QUANTUM)


def add(left: Decimal, right: Decimal) -> Decimal:
    """An exact sum; both sides have at most 20 decimals, so nothing is rounded."""
    return EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """An exact difference; both sides have at most 20 decimals, so nothing is rounded."""
    return EXACT.subtract(left, right)


def format_amount(value: Decimal) -> str:
    """Exactly 20 decimals, never an exponent: how money is written on the wire."""
    return format(EXACT.quantize(value, QUANTUM), "f")
