"""How the caller's paper account did."""

from typing import Annotated

from fastapi import Query

from app.domain.instruments import Symbol
from app.domain.statistics import TimeRangeEmpty, TooManyMarks, TooManyMovements
from app.domain.users import EpochMissing
from app.http.dependencies import CurrentUser, ResourcesOf
from app.http.routing import Router
from app.schemas.candles import CandleInterval
from app.schemas.common import Epoch, OrderSymbol, StandardResponse
from app.schemas.statistics import StatisticsInstant, StatisticsOut
from app.services.account_statistics import CATEGORY, get_account_statistics

router = Router(prefix="/account", tag="account")


@router.endpoint(
    "GET",
    "/statistics",
    summary="Statistics",
    errors=(EpochMissing, TimeRangeEmpty, TooManyMovements, TooManyMarks),
)
async def get_statistics(
    user: CurrentUser,
    resources: ResourcesOf,
    symbol: Annotated[
        OrderSymbol | None, Query(description="As if nothing else had been traded.")
    ] = None,
    epoch: Epoch = None,
    begin_at: Annotated[
        StatisticsInstant | None,
        Query(alias="from", description="The epoch's beginning if absent."),
    ] = None,
    end_at: Annotated[
        StatisticsInstant | None, Query(alias="to", description="Not included; now if absent.")
    ] = None,
    interval: Annotated[
        CandleInterval | None,
        Query(description="How often open orders are marked; 1d if absent, or longer if too much."),
    ] = None,
) -> StandardResponse[StatisticsOut]:
    """Equity, returns, risk and trades of one epoch in [from, to), buying and holding beside it.

    Open orders are marked at the closes of stored candles; `marks` and `symbols` say where there
    are none. What cannot be known, or not from so few days, has a `reason` instead of a `value`.
    """
    venue = resources.listings.price_venue
    found = await get_account_statistics(
        resources.db,
        user=user,
        epoch=epoch,
        symbol=None if symbol is None else Symbol(symbol),
        begin_at=begin_at,
        end_at=end_at,
        venue=venue,
        interval=interval,
    )
    return StandardResponse(
        data=StatisticsOut.of(
            found, epoch=user.epoch if epoch is None else epoch, venue=venue, category=CATEGORY
        )
    )
