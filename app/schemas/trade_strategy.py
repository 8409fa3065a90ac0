"""Assignments of strategies to symbols on the wire."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from app.domain import candles
from app.domain.strategies import Assignment
from app.schemas.common import (
    AssignmentSymbol,
    Identifier,
    IdentifierIn,
    Instant,
    StrictRequest,
    SymbolOut,
)

_INTERVALS: Final = [interval.value for interval in candles.Interval]


def _interval(text: str) -> str:
    if text not in _INTERVALS:
        raise ValueError(f"expected one of {' '.join(_INTERVALS)}")
    return text


Interval = Annotated[
    str, AfterValidator(_interval), WithJsonSchema({"type": "string", "enum": _INTERVALS})
]


class TradeStrategyCreate(StrictRequest):
    """Assign a strategy to a symbol at an interval."""

    symbol: AssignmentSymbol = Field(examples=["BTCUSDT"])
    strategy_id: IdentifierIn = Field(examples=[1])
    timestamp: Interval = Field("5m", examples=["5m"])


class TradeStrategyUpdate(StrictRequest):
    """What to change; null is the same as absent."""

    symbol: AssignmentSymbol | None = Field(None, examples=["ETHUSDT"])
    strategy_id: IdentifierIn | None = Field(None, examples=[1])
    timestamp: Interval | None = Field(None, examples=["1h"])


class TradeStrategyOut(BaseModel):
    """An assignment; `timestamp` is its interval, `deleted_at` only where it was deleted."""

    id: Identifier
    symbol: SymbolOut
    strategy_id: Identifier
    timestamp: str = Field(examples=["5m"])  # rows of before the check may hold anything
    deleted_at: Instant | None = None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, assignment: Assignment) -> "TradeStrategyOut":
        """The wire form of an assignment."""
        return cls(
            id=assignment.id,
            symbol=assignment.symbol,
            strategy_id=assignment.strategy_id,
            timestamp=assignment.interval,
            deleted_at=assignment.deleted_at,
            created_at=assignment.created_at,
            updated_at=assignment.updated_at,
        )


class TradeStrategyList(BaseModel):
    """All of the user's assignments, newest first."""

    trade_strategies: list[TradeStrategyOut]
