"""The caller's trading log."""

from typing import Annotated

from fastapi import Query, Response
from fastapi.exceptions import RequestValidationError

from app.core.constants import LOG_CREATED
from app.db.connection import Connection
from app.db.dao import logs
from app.domain.answers import Answer
from app.domain.instruments import Symbol
from app.domain.logs import LogEntry
from app.domain.users import LockedUser
from app.http.changes import ChangeOf
from app.http.dependencies import CurrentUser, ResourcesOf
from app.http.exact_json import RawJson, dump_exact_json, exact_json
from app.http.routing import Router
from app.schemas.common import (
    FilterSymbol,
    Limit,
    Offset,
    StandardResponse,
    format_instant,
)
from app.schemas.log import LogCreate, LoggedSymbols, LogList, LogOut
from app.services.logs import add_entry

router = Router(prefix="/log", tag="log")


@router.change(
    "POST",
    "",
    summary="Write down",
    example={"message": LOG_CREATED},
    status_code=201,
    response_model=StandardResponse[LogOut],
)
async def create_log(body: LogCreate, change: ChangeOf) -> Response:
    """Add an entry; `data` is any JSON object and comes back exactly as sent."""
    try:
        data_json = dump_exact_json(body.data)
    except ValueError as problem:
        raise RequestValidationError(
            [{"loc": ("body", "data"), "msg": str(problem), "type": "not_storable"}]
        ) from None

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        entry = await add_entry(
            conn,
            locked,
            symbol=Symbol(body.symbol),
            data_json=data_json,
            action=body.action,
            request_id=change.request_id,
        )
        shown = {"status": "success", "message": LOG_CREATED, "data": _entry(entry)}
        return Answer(status=201, body=exact_json(shown))

    return await change.run(work, body=body)


@router.endpoint("GET", "", summary="Read", response_model=StandardResponse[LogList])
async def list_logs(
    user: CurrentUser,
    resources: ResourcesOf,
    symbol: Annotated[
        FilterSymbol | None, Query(description="Part of a symbol, in any case.", examples=["BTC"])
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Newest first."""
    part = symbol or None
    async with resources.db.snapshot() as conn:
        entries = await logs.get_logs(
            conn, user_id=user.id, symbol_part=part, limit=limit, offset=offset
        )
        total_count = await logs.count_logs(conn, user_id=user.id, symbol_part=part)
        symbols = await logs.get_unique_log_symbols(conn, user_id=user.id)
    shown = {
        "status": "success",
        "data": {
            "logs": [_entry(entry) for entry in entries],
            "unique_symbols": symbols,
            "total_count": total_count,
            "limit": limit,
            "offset": offset,
        },
    }
    return Response(exact_json(shown), media_type="application/json")


@router.endpoint("GET", "/symbols", summary="Logged symbols")
async def list_log_symbols(
    user: CurrentUser, resources: ResourcesOf
) -> StandardResponse[LoggedSymbols]:
    """Every symbol the caller ever logged, sorted."""
    async with resources.db.connection() as conn:
        symbols = await logs.get_unique_log_symbols(conn, user_id=user.id)
    return StandardResponse(data=LoggedSymbols(list(symbols)))


def _entry(entry: LogEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "symbol": entry.symbol,
        "data": RawJson(entry.data_json),
        "action": entry.action,
        "created_at": format_instant(entry.created_at),
        "updated_at": format_instant(entry.updated_at),
    }
