"""The trading log on the wire."""

from typing import Any

from pydantic import BaseModel, Field, RootModel

from app.schemas.common import (
    Count,
    FilledText,
    Identifier,
    Instant,
    OrderSymbol,
    Request,
    SymbolOut,
)


class LogCreate(Request):
    """Something to write down about a symbol."""

    symbol: OrderSymbol = Field(examples=["BTCUSDT"])
    data: dict[str, Any] = Field(
        description="Any JSON object: no NUL in its texts, numbers that a double can hold, at most "
        "100 levels.",
        examples=[{"rsi": 71.4, "note": None}],
    )
    action: FilledText = Field(examples=["hold"])


class LogOut(BaseModel):
    """One entry; `data` is exactly what was sent, nulls included."""

    id: Identifier
    symbol: SymbolOut
    data: dict[str, Any] = Field(examples=[{"rsi": 71.4, "note": None}])
    action: str = Field(examples=["hold"])
    created_at: Instant
    updated_at: Instant


class LogList(BaseModel):
    """A page of entries, newest first, and every symbol the user ever logged."""

    logs: list[LogOut]
    unique_symbols: list[SymbolOut]
    total_count: Count
    limit: int = Field(examples=[100])
    offset: int = Field(examples=[0])


class LoggedSymbols(RootModel[list[SymbolOut]]):
    """Every symbol that the user ever logged, sorted."""
