"""What a venue trades: symbols in categories, and the sizes in which it trades them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Final, NewType

from app.domain.errors import NotFound, Refused
from app.domain.money import EXACT, ZERO

Symbol = NewType("Symbol", str)
"""Trimmed and upper-cased, as every table and answer holds it."""

TRADEABLE: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{0,29}")
"""What a venue's symbol can look like; anything else is unknown without asking."""


class Category(StrEnum):
    """Bybit's product categories."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"
    OPTION = "option"


class Venue(StrEnum):
    """Where market data comes from."""

    BYBIT = "bybit"
    BINANCE = "binance"
    ASTER = "aster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One symbol with the venue's rules for orders.

    A price is a multiple of `tick_size`, a quantity one of `lot_step`; quantities lie between
    `quantity_min` and `quantity_max`, and price times quantity is at least `amount_min` in
    the quote coin. None: the venue names no such rule. `status` is the venue's own word.
    """

    venue: Venue
    category: Category
    symbol: Symbol
    base: str
    quote: str
    status: str
    tick_size: Decimal
    lot_step: Decimal
    quantity_min: Decimal
    quantity_max: Decimal | None
    amount_min: Decimal | None

    def __post_init__(self) -> None:
        assert self.tick_size > ZERO, "clients check it"
        assert self.lot_step > ZERO, "clients check it"
        assert self.quantity_min >= ZERO, "clients check it"


class LotRuleBroken(Refused):
    """The venue would not take an order of this quantity."""

    code = "lot_rule"

    def __init__(self, rule: str, nearest: Decimal | None) -> None:
        allowed = "no quantity is allowed at this price"
        if nearest is not None:
            allowed = f"the nearest allowed quantity is {nearest:f}"
        super().__init__(f"{rule}; {allowed}")
        self.rule = rule
        self.nearest = nearest


class UnknownSymbol(NotFound):
    """The venue does not list this symbol in this category."""

    code = "unknown_symbol"

    def __init__(self, symbol: str, category: Category) -> None:
        super().__init__("unknown symbol")
        self.symbol = symbol
        self.category = category


class CategoryNotListed(NotFound):
    """The venue that prices come from has nothing in this category."""

    code = "category_not_listed"

    def __init__(
        self, venue: str, category: Category, offered: Sequence[Category] = (Category.SPOT,)
    ) -> None:
        others = " or ".join(f"category={other}" for other in offered)
        super().__init__(f"{venue} has no {category} prices here; ask for {others}")
        self.venue = venue
        self.category = category


def normalize_symbol(text: str) -> Symbol:
    """Trim and upper-case, as the contract says, before any check of length.

    A letter whose capital has several characters (ß) stays, so that the length does.
    """
    trimmed = text.strip()
    if trimmed.isascii():  # nearly all are
        return Symbol(trimmed.upper())
    return Symbol("".join(_capital(character) for character in trimmed))


def _capital(character: str) -> str:
    capital = character.upper()
    return capital if len(capital) == 1 else character


def is_tradeable(symbol: str) -> bool:
    """Whether a venue could know this symbol at all, so that asking makes sense."""
    return TRADEABLE.fullmatch(symbol) is not None


def check_lot(instrument: Instrument, *, quantity: Decimal, price: Decimal) -> None:
    """Raise LotRuleBroken for a quantity that the venue would not take at this price."""
    rule = _broken_rule(instrument, quantity=quantity, price=price)
    if rule is not None:
        nearest = nearest_lot(instrument, quantity=quantity, price=price)
        raise LotRuleBroken(f"{instrument.symbol}: {rule}", nearest)


def nearest_lot(instrument: Instrument, *, quantity: Decimal, price: Decimal) -> Decimal | None:
    """The quantity nearest to this one that keeps every rule; None when there is none."""
    step = instrument.lot_step
    least = _whole_lots(max(instrument.quantity_min, step), step, ROUND_CEILING)
    if instrument.amount_min is not None:
        needed = EXACT.divide(instrument.amount_min, price)
        least = max(least, _whole_lots(needed, step, ROUND_CEILING))
    nearest = max(least, _whole_lots(quantity, step, ROUND_HALF_UP))
    if instrument.quantity_max is not None:
        nearest = min(nearest, _whole_lots(instrument.quantity_max, step, ROUND_FLOOR))
    return nearest if nearest >= least else None


def _broken_rule(instrument: Instrument, *, quantity: Decimal, price: Decimal) -> str | None:
    if _whole_lots(quantity, instrument.lot_step, ROUND_FLOOR) != quantity:
        return f"the quantity has to be a multiple of the lot step {instrument.lot_step:f}"
    if quantity < instrument.quantity_min:
        return f"the quantity has to be at least {instrument.quantity_min:f}"
    if instrument.quantity_max is not None and quantity > instrument.quantity_max:
        return f"the quantity has to be at most {instrument.quantity_max:f}"
    if (
        instrument.amount_min is not None
        and EXACT.multiply(quantity, price) < instrument.amount_min
    ):
        return (
            f"price times quantity has to be at least {instrument.amount_min:f} {instrument.quote}"
        )
    return None


def _whole_lots(quantity: Decimal, step: Decimal, rounding: str) -> Decimal:
    lots = EXACT.divide(quantity, step).to_integral_value(rounding, context=EXACT)
    return EXACT.multiply(lots, step)
