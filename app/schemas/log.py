"""The trading log on the wire."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from app.schemas.common import Instant, OrderSymbol, Request, Text


class LogCreate(Request):
    """Something to write down about a symbol."""

    symbol: OrderSymbol = Field(examples=["BTCUSDT"])
    data: dict[str, Any] = Field(examples=[{"rsi": 71.4, "note": None}])
    action: Annotated[Text, Field(min_length=1)] = Field(examples=["hold"])


class LogOut(BaseModel):
    """One entry; `data` is exactly what was sent, nulls included."""

    id: int
    symbol: str
    data: dict[str, Any]
    action: str
    created_at: Instant
    updated_at: Instant


class LogList(BaseModel):
    """A page of entries, newest first, and every symbol the user ever logged."""

    logs: list[LogOut]
    unique_symbols: list[str]
    total_count: int
    limit: int
    offset: int
