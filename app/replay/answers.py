"""Prices, candles and time: what /v5/market answers for a market at an instant.

Every function takes (market, now_ms, query) and returns the `result`, or raises Rejected.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from app.domain.instruments import Category
from app.domain.money import EXACT
from app.replay.book import order_book
from app.replay.candles import HOUR_MS, LENGTHS_MS, Candle, Interval
from app.replay.clock import INSTANT_MS_MAX
from app.replay.market import Instrument, Market
from app.replay.wire import (
    Rejected,
    category_of,
    limit_of,
    number_of,
    padded,
    rounded,
    trimmed,
)

Query = Mapping[str, str]
Result = dict[str, Any]

KLINE_LIMIT: Final = 200
KLINE_LIMIT_MAX: Final = 1000
FUNDING_MS: Final = 8 * HOUR_MS


def server_time(_: Market, now_ms: int, _query: Query) -> Result:
    """GET /v5/market/time: the clock; it has no digits below a millisecond."""
    return {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}


def kline(market: Market, now_ms: int, query: Query) -> Result:
    """GET /v5/market/kline, newest first.

    `start` is floored to its candle, `end` is inclusive. With `start` alone the first `limit`
    candles from there; otherwise the newest `limit` up to `end`, even if `start` lies before.
    """
    category = category_of(query, default=Category.LINEAR)
    if category is Category.OPTION:
        raise Rejected("params error: Category is invalid")
    interval = Interval(query.get("interval", ""))
    if interval not in LENGTHS_MS:
        raise Rejected("Invalid period!")
    symbol = query.get("symbol", "")
    instrument = _kline_instrument(market, category, symbol)
    start_ms, end_ms = number_of(query, "start"), number_of(query, "end")
    candles = instrument.klines(
        interval,
        first_ms=min(start_ms or 0, INSTANT_MS_MAX),
        last_ms=INSTANT_MS_MAX if end_ms is None else min(end_ms, INSTANT_MS_MAX),
        limit=limit_of(query, default=KLINE_LIMIT, largest=KLINE_LIMIT_MAX),
        newest=start_ms is None or end_ms is not None,
        now_ms=now_ms,
    )
    rows = [_kline_row(candle) for candle in reversed(candles)]
    return {"category": category, "symbol": symbol, "list": rows}


def tickers(market: Market, now_ms: int, query: Query) -> Result:
    """GET /v5/market/tickers: one symbol, or the whole category in one answer."""
    category = category_of(query)
    symbol = query.get("symbol", "")
    base_coin = query.get("baseCoin", "")
    if symbol:
        instrument = market.find_listed(category, symbol, now_ms)
        if instrument is None:
            raise Rejected("params error: symbol invalid")
        found = [instrument]
    else:
        if category is Category.OPTION and not base_coin:
            raise Rejected("params error: baseCoin is invalid")
        found = market.listed(category, now_ms)
        if category is Category.OPTION:
            found = [
                option
                for option in found
                if option.spec.base_coin == base_coin
                and query.get("expDate", "") in ("", option.symbol.split("-")[1])
            ]
    return {"category": category, "list": [ticker(instrument, now_ms) for instrument in found]}


def ticker(instrument: Instrument, now_ms: int) -> Result:
    """One entry of the list, of an instrument that is listed."""
    return _TICKERS[instrument.category](instrument, now_ms)


def _kline_instrument(market: Market, category: Category, symbol: str) -> Instrument:
    """The symbol; linear and inverse answer for each other, as the venue does."""
    derivatives = (Category.LINEAR, Category.INVERSE)
    for candidate in (category, *(derivatives if category in derivatives else ())):
        instrument = market.find(candidate, symbol)
        if instrument is not None:
            return instrument
    raise Rejected("Not supported symbols")


def _kline_row(candle: Candle) -> list[str]:
    numbers = (
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.turnover,
    )
    return [str(candle.open_ms), *(trimmed(number) for number in numbers)]


def _price_before(instrument: Instrument, now_ms: int, ago_ms: int, day: Candle) -> Decimal:
    """What it cost then, or at the beginning of the recording if that is later."""
    return instrument.price(now_ms - ago_ms) or day.open


def _change(last: Decimal, before: Decimal, quantum: str) -> str:
    return trimmed(rounded(EXACT.divide(last - before, before), quantum))


def _spot_ticker(instrument: Instrument, now_ms: int) -> Result:
    day = instrument.day(now_ms)
    last = day.close
    before = _price_before(instrument, now_ms, 24 * HOUR_MS, day)
    bids, asks = order_book(instrument, now_ms, depth=1)
    return {
        "symbol": instrument.symbol,
        "bid1Price": trimmed(bids[0][0]),
        "bid1Size": trimmed(bids[0][1]),
        "ask1Price": trimmed(asks[0][0]),
        "ask1Size": trimmed(asks[0][1]),
        "lastPrice": trimmed(last),
        "prevPrice24h": trimmed(before),
        "price24hPcnt": _change(last, before, "0.0001"),
        "highPrice24h": trimmed(max(day.high, before)),
        "lowPrice24h": trimmed(min(day.low, before)),
        "turnover24h": trimmed(rounded(day.turnover, "0.00000001")),
        "volume24h": trimmed(day.volume),
        "usdIndexPrice": trimmed(last),
    }


def _contract_ticker(instrument: Instrument, now_ms: int) -> Result:
    day = instrument.day(now_ms)
    tick, step = instrument.spec.tick, instrument.spec.quantity_step
    last = day.close
    before = _price_before(instrument, now_ms, 24 * HOUR_MS, day)
    bids, asks = order_book(instrument, now_ms, depth=1)
    price = padded(last, tick)
    volume = padded(rounded(day.volume, "0.0001"), Decimal("0.0001"))
    turnover = padded(rounded(day.turnover, "0.0001"), Decimal("0.0001"))
    # Open interest was not recorded; a day's volume is of its order of magnitude.
    interest = padded(EXACT.quantize(day.volume, step), step)
    interest_value = padded(rounded(day.turnover, "0.01"), Decimal("0.01"))
    return {
        "symbol": instrument.symbol,
        "lastPrice": price,
        "indexPrice": price,
        "markPrice": price,
        "prevPrice24h": padded(before, tick),
        "price24hPcnt": _change(last, before, "0.000001"),
        "highPrice24h": padded(max(day.high, before), tick),
        "lowPrice24h": padded(min(day.low, before), tick),
        "prevPrice1h": padded(_price_before(instrument, now_ms, HOUR_MS, day), tick),
        "openInterest": interest,
        "openInterestValue": interest_value,
        "singleOpenInterest": interest,
        "singleOpenInterestValue": interest_value,
        "turnover24h": turnover,
        "volume24h": volume,
        "fundingRate": "0.0001",
        "nextFundingTime": str(now_ms - now_ms % FUNDING_MS + FUNDING_MS),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basis": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "ask1Size": padded(asks[0][1], step),
        "bid1Price": padded(bids[0][0], tick),
        "ask1Price": padded(asks[0][0], tick),
        "bid1Size": padded(bids[0][1], step),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
        "fundingIntervalHour": "8",
        "fundingCap": "0.005",
        "basisRateYear": "",
    }


def _option_ticker(instrument: Instrument, now_ms: int) -> Result:
    day = instrument.day(now_ms)
    last = trimmed(day.close)
    bids, asks = order_book(instrument, now_ms, depth=1)
    strike = instrument.symbol.split("-")[2] if instrument.symbol.count("-") > 1 else "0"
    volume, turnover = trimmed(day.volume), trimmed(rounded(day.turnover, "0.0001"))
    return {
        "symbol": instrument.symbol,
        "bid1Price": trimmed(bids[0][0]),
        "bid1Size": trimmed(bids[0][1]),
        "bid1Iv": "0",
        "ask1Price": trimmed(asks[0][0]),
        "ask1Size": trimmed(asks[0][1]),
        "ask1Iv": "0",
        "lastPrice": last,
        "highPrice24h": trimmed(day.high),
        "lowPrice24h": trimmed(day.low),
        "markPrice": last,
        "indexPrice": strike,
        "markIv": "0",
        "underlyingPrice": strike,
        "openInterest": "0",
        "turnover24h": turnover,
        "volume24h": volume,
        "totalVolume": volume,
        "totalTurnover": turnover,
        "delta": "0",
        "gamma": "0",
        "vega": "0",
        "theta": "0",
        "predictedDeliveryPrice": "0",
        "change24h": _change(day.close, day.open, "0.00000001"),
    }


_TICKERS: Final = {
    Category.SPOT: _spot_ticker,
    Category.LINEAR: _contract_ticker,
    Category.INVERSE: _contract_ticker,
    Category.OPTION: _option_ticker,
}
