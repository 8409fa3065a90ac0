"""Strategies on the wire."""

from pydantic import BaseModel, Field

from app.domain.strategies import Strategy
from app.schemas.common import Identifier, Instant, Slug, StrictRequest, Title


class StrategyCreate(StrictRequest):
    """A new strategy; the slug is made from the name when absent."""

    name: Title = Field(examples=["R.S.I. Strategy (14-period)"])
    slug: Slug | None = Field(None, examples=["rsi-strategy-14-period"])


class StrategyUpdate(StrictRequest):
    """What to change; null is the same as absent."""

    name: Title | None = Field(None, examples=["Mean reversion"])
    slug: Slug | None = Field(None, examples=["mean-reversion"])


class StrategyOut(BaseModel):
    """A strategy; `deleted_at` only where it was deleted."""

    id: Identifier
    name: str = Field(examples=["R.S.I. Strategy (14-period)"])
    slug: str = Field(examples=["rsi-strategy-14-period"])
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
