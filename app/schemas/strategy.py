"""Strategies on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.strategies import Strategy
from app.schemas.common import Instant, NonBlank, StrictRequest, Text

Name = Annotated[NonBlank, Field(min_length=1)]
Slug = Annotated[Text, Field(min_length=1)]


class StrategyCreate(StrictRequest):
    """A new strategy; the slug is made from the name when absent."""

    name: Name = Field(examples=["R.S.I. Strategy (14-period)"])
    slug: Slug | None = Field(None, examples=["rsi-strategy-14-period"])


class StrategyUpdate(StrictRequest):
    """What to change; null is the same as absent."""

    name: Name | None = Field(None, examples=["Mean reversion"])
    slug: Slug | None = Field(None, examples=["mean-reversion"])


class StrategyOut(BaseModel):
    """A strategy; `deleted_at` only where it was deleted."""

    id: int
    name: str
    slug: str
    deleted_at: Instant | None = None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, strategy: Strategy) -> "StrategyOut":
        """The wire form of a strategy."""
        return cls(
            id=strategy.id,
            name=strategy.name,
            slug=strategy.slug,
            deleted_at=strategy.deleted_at,
            created_at=strategy.created_at,
            updated_at=strategy.updated_at,
        )


class StrategyList(BaseModel):
    """All of the user's strategies, newest first."""

    strategies: list[StrategyOut]
