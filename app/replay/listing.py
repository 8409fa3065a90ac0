"""GET /v5/market/instruments-info: what is traded, with its tick sizes and lot rules."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, quote
from zlib import crc32

from app.domain.instruments import Category
from app.replay.market import Instrument, Market
from app.replay.wire import Rejected, category_of, limit_of, padded, trimmed

PAGE: Final = 500
PAGE_MAX: Final = 1000
LAUNCH_MS: Final = 1_585_526_400_000
TRADING: Final = "Trading"


def instruments_info(market: Market, now_ms: int, query: Mapping[str, str]) -> dict[str, Any]:
    """Spot in one list without a cursor; the others in pages, the cursor percent-encoded.

    An unknown symbol is an empty list on spot and an error with its own result elsewhere.
    """
    category = category_of(query)
    found = _found(market, category, now_ms, query)
    if category is Category.SPOT:
        return {"category": category, "list": [_spot(instrument) for instrument in found]}
    limit = limit_of(query, default=PAGE, largest=PAGE_MAX)
    if query.get("cursor"):
        last = parse_qs(query["cursor"]).get("last")
        if last is None:  # also when the client encoded the encoded cursor once more
            raise Rejected("params error: cursor is invalid")
        found = [instrument for instrument in found if instrument.symbol > last[0]]
    page = found[:limit]
    more = len(found) > limit
    cursor = quote(f"first={page[0].symbol}&last={page[-1].symbol}", safe="") if more else ""
    if category is Category.OPTION:
        items = [_option(instrument) for instrument in page]
        return {"category": category, "nextPageCursor": cursor, "list": items}
    items = [_contract(instrument) for instrument in page]
    return {"category": category, "list": items, "nextPageCursor": cursor}


def _found(
    market: Market, category: Category, now_ms: int, query: Mapping[str, str]
) -> list[Instrument]:
    symbol = query.get("symbol", "")
    if symbol:
        instrument = market.find_listed(category, symbol, now_ms)
        if instrument is not None:
            return [instrument]
        match category:
            case Category.SPOT:
                return []
            case Category.OPTION:
                raise Rejected(
                    "Parameter verification failed for 'symbol'.",
                    result={"category": category, "nextPageCursor": "", "list": []},
                )
            case _:
                raise Rejected(
                    "params error: symbol invalid",
                    result={"category": "", "list": [], "nextPageCursor": ""},
                )
    if query.get("status", TRADING) not in ("", TRADING):
        return []
    base_coin = query.get("baseCoin", "")
    found = market.listed(category, now_ms)
    if base_coin:
        if category in (Category.LINEAR, Category.INVERSE):  # the venue mixes them then
            found = [
                *market.listed(Category.LINEAR, now_ms),
                *market.listed(Category.INVERSE, now_ms),
            ]
        found = [instrument for instrument in found if instrument.spec.base_coin == base_coin]
    return sorted(found, key=lambda instrument: instrument.symbol)


def _symbol_id(instrument: Instrument) -> int:
    return crc32(instrument.symbol.encode()) & 0xFFFF


def _spot(instrument: Instrument) -> dict[str, Any]:
    spec = instrument.spec
    return {
        "symbolId": _symbol_id(instrument),
        "symbol": spec.symbol,
        "baseCoin": spec.base_coin,
        "quoteCoin": spec.quote_coin,
        "innovation": "0",
        "status": TRADING,
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": trimmed(spec.quantity_step),
            "quotePrecision": trimmed(spec.quantity_step * spec.tick),
            "minOrderQty": trimmed(spec.quantity_min),
            "maxOrderQty": trimmed(spec.quantity_step * 10**8),
            "minOrderAmt": trimmed(spec.amount_min),
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": trimmed(spec.quantity_step * 10**8),
            "maxMarketOrderQty": trimmed(spec.quantity_step * 5 * 10**7),
            "postOnlyMaxLimitOrderSize": trimmed(spec.quantity_step * 10**9),
        },
        "priceFilter": {"tickSize": trimmed(spec.tick)},
        "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
        "symbolType": "",
        "xstockMultiplier": "1",
    }


def _contract(instrument: Instrument) -> dict[str, Any]:
    spec = instrument.spec
    is_inverse = instrument.category is Category.INVERSE
    largest = padded(spec.quantity_step * 10**6, spec.quantity_step)
    return {
        "symbol": spec.symbol,
        "symbolId": _symbol_id(instrument),
        "contractType": "InversePerpetual" if is_inverse else "LinearPerpetual",
        "status": TRADING,
        "baseCoin": spec.base_coin,
        "quoteCoin": spec.quote_coin,
        "launchTime": str(LAUNCH_MS),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(-int(spec.tick.as_tuple().exponent)),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": format(spec.tick, "f"),
            "maxPrice": format(spec.tick * 19_999_998, "f"),
            "tickSize": format(spec.tick, "f"),
        },
        "lotSizeFilter": {
            "maxOrderQty": largest,
            "minOrderQty": format(spec.quantity_min, "f"),
            "qtyStep": format(spec.quantity_step, "f"),
            "postOnlyMaxOrderQty": largest,
            "maxMktOrderQty": largest,
            "minNotionalValue": trimmed(spec.amount_min),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": spec.settle_coin,
        "copyTrading": "none" if is_inverse else "both",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "symbolType": "",
        "forbidUplWithdrawal": False,
    }


def _option(instrument: Instrument) -> dict[str, Any]:
    spec = instrument.spec
    return {
        "symbol": spec.symbol,
        "status": TRADING,
        "baseCoin": spec.base_coin,
        "quoteCoin": spec.quote_coin,
        "settleCoin": spec.settle_coin,
        "optionsType": "Put" if spec.symbol.split("-")[3:4] == ["P"] else "Call",
        "launchTime": str(LAUNCH_MS),
        "deliveryTime": str(_delivery_ms(spec.symbol)),
        "deliveryFeeRate": "0.00015",
        "priceFilter": {
            "minPrice": trimmed(spec.tick),
            "maxPrice": "1110000",
            "tickSize": trimmed(spec.tick),
        },
        "lotSizeFilter": {
            "maxOrderQty": "500",
            "minOrderQty": trimmed(spec.quantity_min),
            "qtyStep": trimmed(spec.quantity_step),
        },
        "displayName": spec.symbol,
    }


def _delivery_ms(symbol: str) -> int:
    """08:00 UTC of the day in the symbol, 0 when there is none."""
    try:
        day = datetime.strptime(symbol.split("-")[1], "%d%b%y").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return 0
    return int(day.timestamp() + 8 * 3600) * 1000
