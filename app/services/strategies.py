"""Strategies and their assignment to symbols."""

from app.db.connection import Connection
from app.db.dao import strategies, trade_strategies
from app.domain.events import EventType
from app.domain.instruments import Symbol
from app.domain.strategies import (
    Assignment,
    AssignmentId,
    AssignmentNotFound,
    Strategy,
    StrategyId,
    StrategyMissing,
    StrategyNotFound,
    slugify,
)
from app.domain.users import LockedUser
from app.services.booking import Movement, book


async def create_strategy(
    conn: Connection, locked: LockedUser, *, name: str, slug: str | None, request_id: str
) -> Strategy:
    """A new strategy. Raises SlugImpossible when neither name nor slug leaves one."""
    strategy = await strategies.create_strategy(
        conn, user_id=locked.user.id, name=name, slug=slugify(name if slug is None else slug)
    )
    await _tell_strategy(conn, locked, EventType.STRATEGY_CREATED, strategy, request_id)
    return strategy


async def update_strategy(
    conn: Connection,
    locked: LockedUser,
    *,
    strategy_id: StrategyId,
    name: str | None,
    slug: str | None,
    request_id: str,
) -> Strategy:
    """The changed strategy; a new name without a slug renews the slug.

    Raises StrategyNotFound or SlugImpossible.
    """
    source = name if slug is None else slug
    strategy = await strategies.update_strategy(
        conn,
        user_id=locked.user.id,
        strategy_id=strategy_id,
        name=name,
        slug=None if source is None else slugify(source),
    )
    if strategy is None:
        raise StrategyNotFound(strategy_id)
    if source is not None:
        await _tell_strategy(conn, locked, EventType.STRATEGY_CHANGED, strategy, request_id)
    return strategy


async def delete_strategy(
    conn: Connection, locked: LockedUser, *, strategy_id: StrategyId, request_id: str
) -> Strategy:
    """Soft; repeating it changes nothing. Raises StrategyNotFound."""
    strategy = await strategies.get_strategy_by_id(
        conn, user_id=locked.user.id, strategy_id=strategy_id
    )
    if strategy is None:
        raise StrategyNotFound(strategy_id)
    if strategy.deleted_at is None:
        await strategies.soft_delete_strategy(conn, user_id=locked.user.id, strategy_id=strategy_id)
        await _tell_strategy(conn, locked, EventType.STRATEGY_DELETED, strategy, request_id)
    return strategy


async def create_assignment(
    conn: Connection,
    locked: LockedUser,
    *,
    symbol: Symbol,
    strategy_id: StrategyId,
    interval: str,
    request_id: str,
) -> Assignment:
    """A strategy assigned to a symbol. Raises StrategyMissing, for deleted ones too."""
    await _check_strategy(conn, locked, strategy_id)
    assignment = await trade_strategies.create_trade_strategy(
        conn, user_id=locked.user.id, symbol=symbol, strategy_id=strategy_id, interval=interval
    )
    await _tell_assignment(conn, locked, EventType.TRADE_STRATEGY_CREATED, assignment, request_id)
    return assignment


async def update_assignment(
    conn: Connection,
    locked: LockedUser,
    *,
    assignment_id: AssignmentId,
    symbol: Symbol | None,
    strategy_id: StrategyId | None,
    interval: str | None,
    request_id: str,
) -> Assignment:
    """The changed assignment. Raises AssignmentNotFound, else StrategyMissing."""
    found = await trade_strategies.get_trade_strategy_by_id(
        conn, user_id=locked.user.id, assignment_id=assignment_id
    )
    if found is None:
        raise AssignmentNotFound(assignment_id)
    if strategy_id is not None:
        await _check_strategy(conn, locked, strategy_id)
    if symbol is None and strategy_id is None and interval is None:
        return found
    assignment = await trade_strategies.update_trade_strategy(
        conn,
        user_id=locked.user.id,
        assignment_id=assignment_id,
        symbol=symbol,
        strategy_id=strategy_id,
        interval=interval,
    )
    await _tell_assignment(conn, locked, EventType.TRADE_STRATEGY_CHANGED, assignment, request_id)
    return assignment


async def delete_assignment(
    conn: Connection, locked: LockedUser, *, assignment_id: AssignmentId, request_id: str
) -> Assignment:
    """Soft; repeating it changes nothing. Raises AssignmentNotFound."""
    assignment = await trade_strategies.get_trade_strategy_by_id(
        conn, user_id=locked.user.id, assignment_id=assignment_id
    )
    if assignment is None:
        raise AssignmentNotFound(assignment_id)
    if assignment.deleted_at is None:
        await trade_strategies.soft_delete_trade_strategy(
            conn, user_id=locked.user.id, assignment_id=assignment_id
        )
        await _tell_assignment(
            conn, locked, EventType.TRADE_STRATEGY_DELETED, assignment, request_id
        )
    return assignment


async def _check_strategy(conn: Connection, locked: LockedUser, strategy_id: StrategyId) -> None:
    strategy = await strategies.get_strategy_by_id(
        conn, user_id=locked.user.id, strategy_id=strategy_id
    )
    if strategy is None or strategy.deleted_at is not None:
        raise StrategyMissing(strategy_id)


async def _tell_strategy(
    conn: Connection, locked: LockedUser, kind: EventType, strategy: Strategy, request_id: str
) -> None:
    data = {"strategy_id": strategy.id, "name": strategy.name, "slug": strategy.slug}
    await _tell(conn, locked, kind, data, request_id)


async def _tell_assignment(
    conn: Connection, locked: LockedUser, kind: EventType, assignment: Assignment, request_id: str
) -> None:
    data = {
        "trade_strategy_id": assignment.id,
        "symbol": assignment.symbol,
        "strategy_id": assignment.strategy_id,
        "timestamp": assignment.interval,
    }
    await _tell(conn, locked, kind, data, request_id)


async def _tell(
    conn: Connection,
    locked: LockedUser,
    kind: EventType,
    data: dict[str, object],
    request_id: str,
) -> None:
    movement = Movement(
        user_id=locked.user.id,
        epoch=locked.user.epoch,
        type=kind,
        data=data,
        request_id=request_id,
    )
    await book(conn, locked={locked.user.id: locked}, movements=[movement])
