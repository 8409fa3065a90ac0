"""Indicators on the wire."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from app.domain.candles import Interval
from app.domain.instruments import Category, Venue
from app.schemas.candles import SpanOut
from app.schemas.common import Instant, SymbolOut, whole_number
from app.services.indicators import IndicatorPage, Wanted

WANTED_MAX = 10
IndicatorLimit = Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole_number)]


class IndicatorOut(BaseModel):
    """What was computed, and under which names its values are."""

    indicator: str = Field(examples=["rsi"])
    parameters: dict[str, float] = Field(examples=[{"period": 14}])
    members: list[str] = Field(examples=[["rsi:14"]])

    @classmethod
    def of(cls, wanted: Wanted) -> "IndicatorOut":
        """The wire form of what was asked for."""
        return cls(
            indicator=wanted.name, parameters=dict(wanted.parameters), members=wanted.members
        )


class IndicatorRow(BaseModel):
    """The values at the close of a candle; those that are warming up or undefined are absent."""

    open_time: Instant
    values: dict[str, float] = Field(examples=[{"rsi:14": 55.3}])


class IndicatorRows(BaseModel):
    """Values of closed candles, ascending."""

    indicators: list[IndicatorOut]
    rows: list[IndicatorRow]

    @classmethod
    def of(cls, page: IndicatorPage, wanted: list[Wanted]) -> "IndicatorRows":
        """The wire form of a page."""
        return cls(
            indicators=[IndicatorOut.of(each) for each in wanted],
            rows=[IndicatorRow(open_time=at, values=dict(values)) for at, values in page.rows],
        )


class IndicatorMeta(BaseModel):
    """What the page is of, and which candles could not be had for it."""

    venue: Venue
    category: Category
    symbol: SymbolOut
    interval: Interval
    begin_at: Instant = Field(alias="from", description="Open times from here on are answered,")
    end_at: Instant = Field(alias="to", description="up to here.")
    missing: list[SpanOut] = Field(
        description="Candles that could not be had now, also before `from`: indicators are "
        "warmed up anew after them."
    )
    next_cursor: Instant | None = Field(None, description="Absent on the last page.")

    @classmethod
    def of(cls, page: IndicatorPage) -> "IndicatorMeta":
        """The wire form of what is known about a page."""
        query = page.candles.query
        return cls.model_validate(
            {
                "venue": query.venue,
                "category": query.category,
                "symbol": query.symbol,
                "interval": query.interval,
                "from": page.span.begin_at,
                "to": page.span.end_at,
                "missing": [
                    {"from": span.begin_at, "to": span.end_at} for span in page.candles.missing
                ],
                "next_cursor": page.next_cursor,
            }
        )
