"""Which strategy the caller runs on which symbol, at which interval."""

from typing import Annotated

from fastapi import Query, Response

from app.core.constants import trade_strategy_deleted
from app.db.connection import Connection
from app.db.dao import trade_strategies as dao
from app.domain.answers import Answer
from app.domain.instruments import Symbol
from app.domain.strategies import AssignmentId, AssignmentNotFound, StrategyId, StrategyMissing
from app.domain.users import LockedUser
from app.http.changes import ChangeOf, answer
from app.http.dependencies import CurrentUser, PathId, ResourcesOf, id_or_raise
from app.http.routing import Router
from app.schemas.common import Empty, StandardResponse
from app.schemas.trade_strategy import (
    TradeStrategyCreate,
    TradeStrategyList,
    TradeStrategyOut,
    TradeStrategyUpdate,
)
from app.services import strategies

router = Router(prefix="/trade-strategy", tag="trade-strategy")


@router.endpoint("GET", "", summary="List trade strategies")
async def list_trade_strategies(
    user: CurrentUser,
    resources: ResourcesOf,
    include_deleted: Annotated[bool, Query()] = True,  # noqa: FBT002 - FastAPI passes it by name
) -> StandardResponse[TradeStrategyList]:
    """Newest first."""
    async with resources.db.connection() as conn:
        found = await dao.get_trade_strategies(
            conn, user_id=user.id, include_deleted=include_deleted
        )
    return StandardResponse(
        data=TradeStrategyList(trade_strategies=[TradeStrategyOut.of(a) for a in found])
    )


@router.change(
    "POST",
    "",
    summary="Assign a strategy",
    status_code=201,
    links={
        "update_trade_strategy": {"trade_strategy_id": "$response.body#/data/id"},
        "delete_trade_strategy": {"trade_strategy_id": "$response.body#/data/id"},
    },
    errors=(StrategyMissing,),
    response_model=StandardResponse[TradeStrategyOut],
)
async def create_trade_strategy(body: TradeStrategyCreate, change: ChangeOf) -> Response:
    """Assign one of the caller's strategies to a symbol."""

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        assignment = await strategies.create_assignment(
            conn,
            locked,
            symbol=Symbol(body.symbol),
            strategy_id=StrategyId(body.strategy_id),
            interval=body.timestamp,
            request_id=change.request_id,
        )
        return answer(StandardResponse(data=TradeStrategyOut.of(assignment)), status=201)

    return await change.run(work, body=body)


@router.change(
    "PUT",
    "/{trade_strategy_id}",
    summary="Change a trade strategy",
    errors=(AssignmentNotFound, StrategyMissing),
    response_model=StandardResponse[TradeStrategyOut],
)
async def update_trade_strategy(
    trade_strategy_id: PathId, body: TradeStrategyUpdate, change: ChangeOf
) -> Response:
    """Null is the same as absent; an empty object changes nothing."""
    known_id = AssignmentId(id_or_raise(trade_strategy_id, AssignmentNotFound))

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        assignment = await strategies.update_assignment(
            conn,
            locked,
            assignment_id=known_id,
            symbol=None if body.symbol is None else Symbol(body.symbol),
            strategy_id=None if body.strategy_id is None else StrategyId(body.strategy_id),
            interval=body.timestamp,
            request_id=change.request_id,
        )
        return answer(StandardResponse(data=TradeStrategyOut.of(assignment)))

    return await change.run(work, body=body)


@router.change(
    "DELETE",
    "/{trade_strategy_id}",
    summary="Delete a trade strategy",
    example={"message": trade_strategy_deleted("BTCUSDT")},
    errors=(AssignmentNotFound,),
    response_model=StandardResponse[Empty],
)
async def delete_trade_strategy(trade_strategy_id: PathId, change: ChangeOf) -> Response:
    """Soft: it stays readable. Repeating it keeps the first deleted_at."""
    known_id = AssignmentId(id_or_raise(trade_strategy_id, AssignmentNotFound))

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        assignment = await strategies.delete_assignment(
            conn, locked, assignment_id=known_id, request_id=change.request_id
        )
        message = trade_strategy_deleted(assignment.symbol)
        return answer(StandardResponse(message=message, data=Empty()))

    return await change.run(work)
