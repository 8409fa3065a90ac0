"""Symbols and the categories a venue trades them in."""

import re
from enum import StrEnum
from typing import Final, NewType

from app.domain.errors import NotFound

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

    def __init__(self, venue: str, category: Category) -> None:
        super().__init__(f"{venue} has no {category} prices here; ask for category=spot")
        self.venue = venue
        self.category = category


def normalize_symbol(text: str) -> Symbol:
    """Trim and upper-case, as the contract says, before any check of length.

    A letter whose capital has several characters (ß) stays, so that the length does.
    """
    return Symbol("".join(_capital(character) for character in text.strip()))


def _capital(character: str) -> str:
    capital = character.upper()
    return capital if len(capital) == 1 else character


def is_tradeable(symbol: str) -> bool:
    """Whether a venue could know this symbol at all, so that asking makes sense."""
    return TRADEABLE.fullmatch(symbol) is not None
