"""Strategies, and their assignment to symbols (trade-strategies)."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from app.domain.errors import Invalid, NotFound, Refused
from app.domain.instruments import Symbol
from app.domain.users import UserId

StrategyId = NewType("StrategyId", int)
AssignmentId = NewType("AssignmentId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A named trading idea. Deleted ones stay readable."""

    id: StrategyId
    user_id: UserId
    name: str
    slug: str
    deleted_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A strategy applied to a symbol at an interval (a trade-strategy row)."""

    id: AssignmentId
    user_id: UserId
    symbol: Symbol
    strategy_id: StrategyId
    interval: str
    deleted_at: datetime | None
    created_at: datetime
    updated_at: datetime


class StrategyNotFound(NotFound):
    """No such strategy for the caller."""

    code = "strategy_not_found"

    def __init__(self, strategy_id: int) -> None:
        super().__init__(f"Strategy with id {strategy_id} not found")
        self.strategy_id = strategy_id


class StrategyMissing(Refused):
    """An assignment names a strategy that is not there, or was deleted."""

    code = "strategy_does_not_exist"

    def __init__(self, strategy_id: int) -> None:
        super().__init__(f"Strategy with id {strategy_id} does not exist")
        self.strategy_id = strategy_id


class AssignmentNotFound(NotFound):
    """No such trade strategy for the caller."""

    code = "trade_strategy_not_found"

    def __init__(self, assignment_id: int) -> None:
        super().__init__(f"Trade strategy with id {assignment_id} not found")
        self.assignment_id = assignment_id


class SlugImpossible(Invalid):
    """Nothing of the name is left for a slug, and none was given."""

    code = "slug_impossible"

    def __init__(self) -> None:
        super().__init__(
            "no slug can be made of this name: use a letter a-z or a digit, or send a slug"
        )


def slugify(name: str) -> str:
    """Lower case, accents folded, white space and _ to -, the rest outside a-z 0-9 - dropped.

    "R.S.I. Strategy (14-period)" is `rsi-strategy-14-period`. Raises SlugImpossible when
    nothing is left.
    """
    decomposed = unicodedata.normalize("NFKD", name).lower()
    hyphenated = re.sub(r"[\s_]", "-", decomposed)
    kept = re.sub(r"[^a-z0-9-]", "", hyphenated)
    slug = re.sub(r"-+", "-", kept).strip("-")
    if not slug:
        raise SlugImpossible
    return slug
