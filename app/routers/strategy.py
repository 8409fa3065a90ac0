"""The caller's strategies."""

from typing import Annotated

from fastapi import Query, Response

from app.core.constants import strategy_deleted
from app.db.connection import Connection
from app.db.dao import strategies as dao
from app.domain.answers import Answer
from app.domain.strategies import SlugImpossible, StrategyId, StrategyNotFound
from app.domain.users import LockedUser
from app.http.changes import ChangeOf, answer
from app.http.dependencies import CurrentUser, PathId, ResourcesOf, id_or_raise
from app.http.routing import Router
from app.schemas.common import Empty, StandardResponse
from app.schemas.strategy import StrategyCreate, StrategyList, StrategyOut, StrategyUpdate
from app.services import strategies

router = Router(prefix="/strategy", tag="strategy")


@router.endpoint("GET", "", summary="List strategies")
async def list_strategies(
    user: CurrentUser,
    resources: ResourcesOf,
    include_deleted: Annotated[bool, Query()] = True,  # noqa: FBT002 - FastAPI passes it by name
) -> StandardResponse[StrategyList]:
    """Newest first."""
    async with resources.db.connection() as conn:
        found = await dao.get_all_strategies(conn, user_id=user.id, include_deleted=include_deleted)
    return StandardResponse(data=StrategyList(strategies=[StrategyOut.of(s) for s in found]))


@router.change(
    "POST",
    "",
    summary="Create a strategy",
    status_code=201,
    links={
        "update_strategy": {"strategy_id": "$response.body#/data/id"},
        "delete_strategy": {"strategy_id": "$response.body#/data/id"},
    },
    errors=(SlugImpossible,),
    response_model=StandardResponse[StrategyOut],
)
async def create_strategy(body: StrategyCreate, change: ChangeOf) -> Response:
    """The slug is made from the name when absent."""

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        strategy = await strategies.create_strategy(
            conn, locked, name=body.name, slug=body.slug, request_id=change.request_id
        )
        return answer(StandardResponse(data=StrategyOut.of(strategy)), status=201)

    return await change.run(work, body=body)


@router.change(
    "PUT",
    "/{strategy_id}",
    summary="Change a strategy",
    errors=(StrategyNotFound, SlugImpossible),
    response_model=StandardResponse[StrategyOut],
)
async def update_strategy(strategy_id: PathId, body: StrategyUpdate, change: ChangeOf) -> Response:
    """A new name without a slug renews the slug; an empty object changes nothing."""
    known_id = StrategyId(id_or_raise(strategy_id, StrategyNotFound))

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        strategy = await strategies.update_strategy(
            conn,
            locked,
            strategy_id=known_id,
            name=body.name,
            slug=body.slug,
            request_id=change.request_id,
        )
        return answer(StandardResponse(data=StrategyOut.of(strategy)))

    return await change.run(work, body=body)


@router.change(
    "DELETE",
    "/{strategy_id}",
    summary="Delete a strategy",
    example={"message": strategy_deleted("Mean reversion")},
    errors=(StrategyNotFound,),
    response_model=StandardResponse[Empty],
)
async def delete_strategy(strategy_id: PathId, change: ChangeOf) -> Response:
    """Soft: it stays readable. Repeating it keeps the first deleted_at."""
    known_id = StrategyId(id_or_raise(strategy_id, StrategyNotFound))

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        strategy = await strategies.delete_strategy(
            conn, locked, strategy_id=known_id, request_id=change.request_id
        )
        return answer(StandardResponse(message=strategy_deleted(strategy.name), data=Empty()))

    return await change.run(work)
