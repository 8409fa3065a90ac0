"""Technical indicators of any instrument's candles."""

from typing import Annotated

from fastapi import Query

from app.db.errors import DatabaseUnavailable
from app.domain.candles import CandleRangeRefused
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, CategoryNotListed, Symbol, UnknownSymbol, Venue
from app.http.dependencies import ResourcesOf
from app.http.routing import Router
from app.schemas.candles import CandleInstant, CandleInterval
from app.schemas.common import FilledText, PagedResponse, QuoteSymbol
from app.schemas.indicators import WANTED_MAX, IndicatorLimit, IndicatorMeta, IndicatorRows
from app.services.candles import CandleQuery
from app.services.indicators import IndicatorRefused, parse_wanted, read_indicators

router = Router(prefix="/market", tag="indicators")


@router.endpoint(
    "GET",
    "/indicators",
    summary="Indicators",
    errors=(
        IndicatorRefused, CandleRangeRefused, UnknownSymbol, CategoryNotListed, UpstreamInvalid,
        UpstreamUnavailable, DatabaseUnavailable,
    ),
)  # fmt: skip
async def list_indicators(
    resources: ResourcesOf,
    symbol: Annotated[QuoteSymbol, Query()],
    interval: CandleInterval,
    indicator: Annotated[
        list[FilledText],
        Query(
            min_length=1,
            max_length=WANTED_MAX,
            description="`rsi`, `rsi:14`, `macd:12,26,9`: sma ema wma rsi roc macd stochastic "
            "bollinger donchian atr adx supertrend obv vwap. May be repeated.",
            openapi_examples={"rsi": {"value": ["rsi:14"]}},
        ),
    ],
    venue: Venue | None = None,
    category: Category | None = None,
    begin_at: Annotated[
        CandleInstant | None,
        Query(alias="from", description="First open time; `limit` candles before `to` if absent."),
    ] = None,
    end_at: Annotated[
        CandleInstant | None, Query(alias="to", description="Not answered itself; now if absent.")
    ] = None,
    cursor: Annotated[CandleInstant | None, Query(description="meta.next_cursor.")] = None,
    limit: IndicatorLimit = 500,
) -> PagedResponse[IndicatorRows, IndicatorMeta]:
    """Values at the close of each candle of [from, to), oldest first.

    Candles before `from` warm them up, until less than a hundred-millionth of the seed is
    left. OBV and VWAP begin with the first candle of the page.
    """
    wanted = list({each.label: each for each in map(parse_wanted, indicator)}.values())
    its_venue, its_category = resources.candles.chosen(venue, category)
    page = await read_indicators(
        resources.candles,
        CandleQuery(
            venue=its_venue,
            category=its_category,
            symbol=Symbol(symbol),
            interval=interval,
            begin_at=begin_at,
            end_at=end_at,
            cursor=cursor,
            limit=limit,
        ),
        wanted,
    )
    return PagedResponse(meta=IndicatorMeta.of(page), data=IndicatorRows.of(page, wanted))
