"""Instruments on the wire."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from app.domain.candles import plain_number
from app.domain.instruments import Category, Instrument, Venue
from app.schemas.common import SymbolOut

PlainNumber = Annotated[
    Decimal,
    PlainSerializer(plain_number, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]*[1-9])?$", "examples": ["0.1"]}),
]
"""A venue's number: a string without an exponent and without zeros at its end."""


class InstrumentOut(BaseModel):
    """One symbol with the venue's rules for orders; a rule that it has not is absent."""

    venue: Venue
    category: Category
    symbol: SymbolOut
    base: str = Field(examples=["BTC"])
    quote: str = Field(examples=["USDT"])
    status: str = Field(description="The venue's own word, or `unlisted`.", examples=["Trading"])
    tick_size: PlainNumber = Field(description="Prices are multiples of it.")
    lot_step: PlainNumber = Field(description="Quantities are multiples of it.")
    quantity_min: PlainNumber
    quantity_max: PlainNumber | None = None
    amount_min: PlainNumber | None = Field(
        None, description="Least price times quantity, in the quote coin."
    )

    @classmethod
    def of(cls, instrument: Instrument) -> "InstrumentOut":
        """The wire form of an instrument."""
        return cls(
            venue=instrument.venue,
            category=instrument.category,
            symbol=instrument.symbol,
            base=instrument.base,
            quote=instrument.quote,
            status=instrument.status,
            tick_size=instrument.tick_size,
            lot_step=instrument.lot_step,
            quantity_min=instrument.quantity_min,
            quantity_max=instrument.quantity_max,
            amount_min=instrument.amount_min,
        )


class InstrumentList(BaseModel):
    """A page of instruments by symbol."""

    instruments: list[InstrumentOut]


class InstrumentMeta(BaseModel):
    """Where the next page begins; absent on the last one."""

    next_cursor: str | None = Field(None, examples=["BTCUSDT"])
