"""The caller's watchlist."""

from typing import Annotated, Final

from fastapi import Path, Response

from app.core.constants import watchlist_entry_deleted
from app.db.connection import Connection
from app.db.dao import watchlists
from app.domain.answers import Answer
from app.domain.instruments import Symbol
from app.domain.users import LockedUser
from app.domain.watchlists import WatchlistEntryNotFound, WatchlistSymbolTooLong
from app.http.changes import ChangeOf, answer
from app.http.dependencies import CurrentUser, ResourcesOf
from app.http.routing import Router
from app.schemas.common import Empty, PathSymbol, StandardResponse
from app.schemas.watchlist import WatchlistCreate, WatchlistList, WatchlistOut
from app.services.watchlists import add_symbol, remove_symbol

router = Router(prefix="/watchlist", tag="watchlist")

SYMBOL_CHARACTERS_MAX: Final = 10


@router.endpoint("GET", "", summary="List the watchlist")
async def list_watchlist(
    user: CurrentUser, resources: ResourcesOf
) -> StandardResponse[WatchlistList]:
    """Newest first."""
    async with resources.db.connection() as conn:
        entries = await watchlists.get_watchlists(conn, user_id=user.id)
    return StandardResponse(
        data=WatchlistList(
            watchlists=[WatchlistOut.of(entry) for entry in entries],
            unique_symbols=sorted(entry.symbol for entry in entries),
        )
    )


@router.change(
    "POST",
    "",
    summary="Watch a symbol",
    status_code=201,
    links={"delete_from_watchlist": {"symbol": "$response.body#/data/symbol"}},
    success={200: "The symbol was listed already; the existing entry."},
    response_model=StandardResponse[WatchlistOut],
)
async def add_to_watchlist(body: WatchlistCreate, change: ChangeOf) -> Response:
    """Add a symbol; adding it again answers 200 with the existing entry."""

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        entry, is_new = await add_symbol(
            conn, locked, symbol=Symbol(body.symbol), request_id=change.request_id
        )
        shown = WatchlistOut.of(entry)
        return answer(StandardResponse(data=shown), status=201 if is_new else 200)

    return await change.run(work, body=body)


@router.change(
    "DELETE",
    "/{symbol:text}",
    summary="Stop watching a symbol",
    example={"message": watchlist_entry_deleted("BTCUSDT")},
    errors=(WatchlistEntryNotFound, WatchlistSymbolTooLong),
    response_model=StandardResponse[Empty],
)
async def delete_from_watchlist(
    symbol: Annotated[PathSymbol, Path()], change: ChangeOf
) -> Response:
    """Any listed symbol can be deleted, also BTC/USDT."""
    if len(symbol) > SYMBOL_CHARACTERS_MAX:
        raise WatchlistSymbolTooLong

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        await remove_symbol(conn, locked, symbol=Symbol(symbol), request_id=change.request_id)
        return answer(StandardResponse(message=watchlist_entry_deleted(symbol), data=Empty()))

    return await change.run(work)
