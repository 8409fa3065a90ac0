"""Paper orders: buy, sell, preview, list, explain."""

from typing import Annotated

from fastapi import Body, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json

from app.core.constants import ORDER_CLOSED
from app.domain.answers import CLIENT_ORDER_KEY, Answer
from app.domain.audit import LedgerStopped
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import LotRuleBroken, Symbol
from app.domain.ledger import BeforeTheLedger
from app.domain.orders import (
    ActiveOrderExists,
    ClientOrderIdUsed,
    OrderId,
    OrderMissing,
    OrderNotFound,
    OrderStatus,
    OrderSymbolUnknown,
)
from app.domain.users import BalanceLimitExceeded, EpochMissing, InsufficientBalance, UserId
from app.http.changes import Change, MoneyChangeOf
from app.http.dependencies import AsOf, CurrentUser, PathId, ReadingUser, ResourcesOf, id_or_raise
from app.http.routing import Router
from app.http.slices import in_slices
from app.schemas.common import (
    ClientOrderId,
    Epoch,
    FilterSymbol,
    Limit,
    Offset,
    OrderSymbol,
    PagedResponse,
    StandardResponse,
)
from app.schemas.order import (
    CLOSED_ORDER,
    PREVIEW,
    OrderClose,
    OrderCreate,
    OrderDetail,
    OrderList,
    OrderOut,
    OrderPreview,
    PageMeta,
    order_members,
)
from app.services import history, trading
from app.services.decisions import Closing, Decision, Opening
from app.services.market_data import PricedQuote

router = Router(prefix="/order", tag="order")

# DELETE /order/{symbol} and GET /order/{order_id} are one path to OpenAPI, and so have one name.

_CLOSED = {"message": ORDER_CLOSED, "data": CLOSED_ORDER}
_UPSTREAM = (OrderSymbolUnknown, UpstreamInvalid, UpstreamUnavailable)
_OPENING = (InsufficientBalance, ActiveOrderExists, LotRuleBroken, LedgerStopped, *_UPSTREAM)
_CLOSING = (OrderNotFound, BalanceLimitExceeded, LedgerStopped, *_UPSTREAM)


@router.change(
    "POST",
    "",
    summary="Buy",
    status_code=201,
    links={
        "get_order": {"id_or_symbol": "$response.body#/data/id"},
        "get_order_by_client_id": {"client_order_id": "$response.body#/data/client_order_id"},
        "close_order": {"symbol": "$response.body#/data/symbol"},
        "close_order_by_path": {"id_or_symbol": "$response.body#/data/symbol"},
    },
    errors=(*_OPENING, ClientOrderIdUsed),
    response_model=StandardResponse[OrderOut],
)
async def create_order(body: OrderCreate, change: MoneyChangeOf) -> Response:
    """Buy at the venue's price of now; the balance falls by buyAggregate.

    A `client_order_id` makes the order safe to send again, as an Idempotency-Key does.
    """
    symbol = Symbol(body.symbol)

    async def opening() -> Opening:
        priced = await trading.fill_price(change.resources.market, symbol)
        await change.resources.listings.check_order(symbol, body.quantity, priced)
        return _opening(
            body,
            user_id=change.user_id,
            priced=priced,
            request_id=change.request_id,
        )

    client_id = body.client_order_id
    client_key = None if client_id is None else f"{CLIENT_ORDER_KEY}{client_id}"
    return await change.settle_prepared(
        opening, _opened, body=body, fallback_key=client_key, order_action="open"
    )


@router.endpoint(
    "POST",
    "/preview",
    summary="What would happen",
    example={"data": PREVIEW},
    errors=(*_UPSTREAM, LotRuleBroken, LedgerStopped),
)
async def preview_order(
    body: OrderCreate, user: ReadingUser, resources: ResourcesOf, request: Request
) -> StandardResponse[OrderPreview]:
    """The price, the cost and the balance after buying, or the refusal; books nothing."""
    priced = await trading.fill_price(resources.market, Symbol(body.symbol))
    await resources.listings.check_order(Symbol(body.symbol), body.quantity, priced)
    opening = _opening(body, user_id=user.id, priced=priced, request_id=request.state.request_id)
    outcome = await trading.preview(resources.db, opening)
    return StandardResponse(data=OrderPreview.of(outcome))


@router.change(
    "DELETE",
    "",
    summary="Sell",
    example=_CLOSED,
    errors=_CLOSING,
    response_model=StandardResponse[OrderOut],
)
async def close_order(
    change: MoneyChangeOf,
    request: Request,
    body: Annotated[OrderClose | None, Body()] = None,
    symbol: Annotated[OrderSymbol | None, Query()] = None,
) -> Response:
    """Sell the active order of a symbol, named in the body or as ?symbol=."""
    named = {text for text in (symbol, None if body is None else body.symbol) if text is not None}
    # Which of two a proxy or a program believes to have sold, nobody knows.
    is_repeated = len(set(request.query_params.getlist("symbol"))) > 1
    if len(named) != 1 or is_repeated:
        problem = "more than one symbol" if named else "no symbol"
        raise RequestValidationError(
            [
                {
                    "loc": ("body", "symbol"),
                    "msg": f'{problem}: send {{"symbol": "BTCUSDT"}} or ?symbol=BTCUSDT',
                    "type": "one_symbol",
                }
            ]
        )
    return await _close(Symbol(named.pop()), change, body)


@router.change(
    "DELETE",
    "/{id_or_symbol:text}",
    summary="Sell by path",
    example=_CLOSED,
    errors=_CLOSING,
    response_model=StandardResponse[OrderOut],
)
async def close_order_by_path(
    symbol: Annotated[
        OrderSymbol, Path(alias="id_or_symbol", openapi_examples={"ETHUSDT": {"value": "ETHUSDT"}})
    ],
    change: MoneyChangeOf,
) -> Response:
    """Sell the active order of the symbol in the path."""
    return await _close(Symbol(symbol), change)


@router.endpoint(
    "GET",
    "",
    summary="List orders",
    errors=(BeforeTheLedger, EpochMissing),
    response_model=PagedResponse[OrderList, PageMeta],
)
async def list_orders(
    user: CurrentUser,
    resources: ResourcesOf,
    active: Annotated[bool, Query(description="Only active orders.")] = False,  # noqa: FBT002 - FastAPI passes it by name
    active_only: Annotated[bool, Query(description="The same as `active`.")] = False,  # noqa: FBT002 - FastAPI passes it by name
    symbol: Annotated[FilterSymbol | None, Query()] = None,
    epoch: Epoch = None,
    as_of: AsOf = None,
    limit: Limit = 1000,
    offset: Offset = 0,
) -> Response:
    """Active orders first, then newest first; unique_symbols are all of the epoch's."""
    page = await history.list_orders(
        resources.db,
        user=user,
        epoch=epoch,
        at=as_of,
        status=OrderStatus.ACTIVE if active or active_only else None,
        symbol=None if symbol is None else Symbol(symbol),
        limit=limit,
        offset=offset,
    )
    # Not by models: those of a thousand orders would stop everybody else for 30 ms.
    content = {
        "status": "success",
        "meta": PageMeta(total_count=page.total_count, limit=limit, offset=offset),
        "data": {
            "orders": await in_slices(page.orders, order_members),
            "unique_symbols": page.unique_symbols,
        },
    }
    return Response(to_json(content), media_type="application/json")


@router.endpoint(
    "GET",
    "/by-client-id/{client_order_id}",
    summary="Find by client order id",
    errors=(OrderMissing,),
)
async def get_order_by_client_id(
    client_order_id: Annotated[ClientOrderId, Path()], user: CurrentUser, resources: ResourcesOf
) -> StandardResponse[OrderDetail]:
    """The order that a bot gave this id, also after an answer was lost."""
    order, fills = await history.get_order_by_client_id(
        resources.db, user_id=user.id, client_order_id=client_order_id
    )
    return StandardResponse(data=OrderDetail.explained(order, fills))


@router.endpoint("GET", "/{id_or_symbol}", summary="One order, explained", errors=(OrderMissing,))
async def get_order(
    order_id: Annotated[PathId, Path(alias="id_or_symbol")],
    user: CurrentUser,
    resources: ResourcesOf,
) -> StandardResponse[OrderDetail]:
    """The order, and under `explain` why it filled at its prices."""
    order, fills = await history.get_order(
        resources.db,
        user_id=user.id,
        order_id=OrderId(id_or_raise(order_id, OrderMissing)),
    )
    return StandardResponse(data=OrderDetail.explained(order, fills))


async def _close(symbol: Symbol, change: Change, body: OrderClose | None = None) -> Response:
    async def closing() -> Closing:
        priced = await trading.close_price(
            change.resources.db, change.resources.market, user_id=change.user_id, symbol=symbol
        )
        return Closing(
            user_id=change.user_id, symbol=symbol, priced=priced, request_id=change.request_id
        )

    return await change.settle_prepared(closing, _closed, body=body, order_action="close")


def _opening(
    body: OrderCreate, *, user_id: UserId, priced: PricedQuote, request_id: str
) -> Opening:
    return Opening(
        user_id=user_id,
        symbol=Symbol(body.symbol),
        quantity=body.quantity,
        priced=priced,
        request_id=request_id,
        client_order_id=body.client_order_id,
    )


# Written from plain members, as a page is: models cost twice as much.


def _opened(decision: Decision) -> Answer:
    content = {"status": "success", "data": order_members(decision.order)}
    return Answer(status=201, body=to_json(content).decode())


def _closed(decision: Decision) -> Answer:
    content = {"status": "success", "message": ORDER_CLOSED, "data": order_members(decision.order)}
    return Answer(status=200, body=to_json(content).decode())
