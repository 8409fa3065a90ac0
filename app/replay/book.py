"""Order book and trades derived from the candles, because those were not recorded.

The best bid is the last price and the best ask one tick above it; a trade happens every second
at the path's price. Sizes come from the candle's volume. The same instant has the same book.
"""

from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b, md5
from typing import Any, Final
from uuid import UUID

from app.domain.instruments import Category
from app.replay.candles import price_at, share
from app.replay.market import Instrument, Market
from app.replay.wire import Rejected, category_of, limit_of, padded, trimmed

Level = tuple[Decimal, Decimal]
SECOND_MS: Final = 1000
BOOK_LIMITS: Final = {  # default and largest
    Category.SPOT: (1, 1000),
    Category.LINEAR: (25, 1000),
    Category.INVERSE: (25, 1000),
    Category.OPTION: (1, 25),
}
TRADE_LIMITS: Final = {
    Category.SPOT: (60, 60),
    Category.LINEAR: (500, 1000),
    Category.INVERSE: (500, 1000),
    Category.OPTION: (500, 1000),
}


def order_book(
    instrument: Instrument, now_ms: int, *, depth: int
) -> tuple[list[Level], list[Level]]:
    """Bids descending and asks ascending, (price, size); bids end above zero."""
    tick, step = instrument.spec.tick, instrument.spec.quantity_step
    last = instrument.price(now_ms)
    assert last is not None, "asked of listed instruments only"

    def level(price: Decimal) -> Level:
        lots = 1 + _noise(instrument, f"{now_ms // SECOND_MS}/{price:f}") % 20_000
        return price, lots * step

    bids = [level(last - tick * rank) for rank in range(depth) if last - tick * rank > 0]
    return bids, [level(last + tick * rank) for rank in range(1, depth + 1)]


def orderbook(market: Market, now_ms: int, query: Mapping[str, str]) -> dict[str, Any]:
    """GET /v5/market/orderbook: a snapshot, zeros trimmed."""
    category = category_of(query)
    default, largest = BOOK_LIMITS[category]
    depth = limit_of(query, default=default, largest=largest)
    symbol = query.get("symbol", "")
    instrument = market.find_listed(category, symbol, now_ms)
    if instrument is None:
        raise Rejected("params error: symbol invalid")
    bids, asks = order_book(instrument, now_ms, depth=depth)
    return {
        "s": symbol,
        "a": [[trimmed(price), trimmed(size)] for price, size in asks],
        "b": [[trimmed(price), trimmed(size)] for price, size in bids],
        "ts": now_ms,
        "u": now_ms // 20,  # the book moves at most every 20 ms
        "seq": now_ms,
        "cts": now_ms,
    }


def recent_trades(market: Market, now_ms: int, query: Mapping[str, str]) -> dict[str, Any]:
    """GET /v5/market/recent-trade: one trade a second, newest first."""
    category = category_of(query)
    default, largest = TRADE_LIMITS[category]
    limit = limit_of(query, default=default, largest=largest)
    symbol = query.get("symbol", "")
    if category is Category.OPTION and not symbol:
        base_coin = query.get("baseCoin", "BTC")
        options = [
            option
            for option in market.listed(category, now_ms)
            if option.spec.base_coin == base_coin
        ]
        instrument = options[0] if options else None
    else:
        instrument = market.find_listed(category, symbol, now_ms)
    if instrument is None:
        raise Rejected("params error: symbol invalid")
    newest_ms = now_ms - now_ms % SECOND_MS
    trades = []
    for rank in range(limit):
        trade = trade_at(instrument, newest_ms - rank * SECOND_MS)
        if trade is None:
            break
        trades.append(trade)
    return {"category": category, "list": trades}


def trade_at(instrument: Instrument, at_ms: int) -> dict[str, Any] | None:
    """The trade of one second, None before the recording."""
    candle = instrument.history.at(at_ms)
    if candle is None:
        return None
    spec = instrument.spec
    price = price_at(candle, at_ms, spec.tick)
    earlier = price_at(candle, max(candle.open_ms, at_ms - SECOND_MS), spec.tick)
    size = share(candle.volume, SECOND_MS, candle.length_ms)
    size = max(size - size % spec.quantity_step, spec.quantity_min)
    is_spot = instrument.category is Category.SPOT
    name = f"{instrument.category}/{instrument.symbol}/{at_ms}"
    return {
        "execId": str(2_100_000_000_000_000_000 + at_ms)
        if is_spot
        else str(UUID(md5(name.encode(), usedforsecurity=False).hexdigest())),
        "symbol": instrument.symbol,
        "price": trimmed(price) if is_spot else padded(price, spec.tick),
        "size": trimmed(size) if is_spot else padded(size, spec.quantity_step),
        "side": "Buy" if price >= earlier else "Sell",
        "time": str(at_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(at_ms),
    } | (
        {"mP": trimmed(price), "iP": trimmed(price), "mIv": "0", "iv": "0"}
        if instrument.category is Category.OPTION
        else {}
    )


def _noise(instrument: Instrument, name: str) -> int:
    digest = blake2b(f"{instrument.symbol}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
