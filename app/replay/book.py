"""Order book and trades: recorded ones where there are ticks, else derived from the candles.

Derived, the best bid is the last price and the best ask one tick above it; a trade happens every
second at the path's price. Sizes come from the candle's volume. The same instant has the same
book. Below recorded best prices the book is derived too.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from hashlib import blake2b, md5
from heapq import merge
from itertools import count, islice
from typing import Any, Final
from uuid import UUID

from app.domain.instruments import Category
from app.replay.candles import price_at, share
from app.replay.deep_books import Level
from app.replay.market import Instrument, Market
from app.replay.ticks import Tick
from app.replay.wire import Rejected, category_of, limit_of, padded, trimmed

TRADES_MAX: Final = 1000
"""That one answer has."""
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

    ticks = instrument.ticks
    if ticks is not None and (book := ticks.book(now_ms, depth=depth)) is not None:
        return list(book[0]), list(book[1])
    best = None if ticks is None else ticks.best_prices(now_ms)
    bid, ask = (level(last), level(last + tick)) if best is None else (best.bid, best.ask)
    deeper = [rank * tick for rank in range(1, depth)]
    bids = [bid, *(level(bid[0] - away) for away in deeper if bid[0] > away)]
    return bids, [ask, *(level(ask[0] + away) for away in deeper)]


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
    """GET /v5/market/recent-trade: recorded trades, or one a second; newest first."""
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
    trades = list(islice(_backwards(instrument, now_ms), limit))
    return {"category": category, "list": trades}


def trades_between(instrument: Instrument, from_ms: int, to_ms: int) -> Iterator[dict[str, Any]]:
    """The trades of (from_ms, to_ms], ascending: recorded ones while there are some."""
    ticks = instrument.ticks
    seconds = range((from_ms // SECOND_MS + 1) * SECOND_MS, to_ms + 1, SECOND_MS)
    derived = (trade_at(instrument, at_ms) for at_ms in seconds)
    if ticks is None:
        return (trade for trade in derived if trade is not None)
    between_tapes = (
        trade for trade in derived if trade is not None and not ticks.is_on_tape(int(trade["time"]))
    )
    recorded = (recorded_trade(instrument, tick) for tick in ticks.ticks(from_ms, to_ms))
    return merge(recorded, between_tapes, key=lambda trade: int(trade["time"]))


def _backwards(instrument: Instrument, now_ms: int) -> Iterator[dict[str, Any]]:
    """The trades up to an instant, newest first, as far as they are of one kind."""
    ticks = instrument.ticks
    if ticks is not None and ticks.is_on_tape(now_ms):
        tape = ticks.newest_ticks(now_ms, TRADES_MAX)
        yield from (recorded_trade(instrument, tick) for tick in tape)
        return
    for at_ms in count(now_ms - now_ms % SECOND_MS, -SECOND_MS):
        trade = trade_at(instrument, at_ms)
        if trade is None or (ticks is not None and ticks.is_on_tape(at_ms)):
            return
        yield trade


def trade_at(instrument: Instrument, at_ms: int) -> dict[str, Any] | None:
    """The derived trade of one second, None before the recording."""
    candle = instrument.history.at(at_ms)
    if candle is None:
        return None
    spec = instrument.spec
    price = price_at(candle, at_ms, spec.tick)
    earlier = price_at(candle, max(candle.open_ms, at_ms - SECOND_MS), spec.tick)
    size = share(candle.volume, SECOND_MS, candle.length_ms)
    return _trade(
        instrument,
        at_ms=at_ms,
        trade_id=str(2_100_000_000_000_000_000 + at_ms)
        if instrument.category is Category.SPOT
        else _uuid(instrument, str(at_ms)),
        price=price,
        size=max(size - size % spec.quantity_step, spec.quantity_min),
        side="Buy" if price >= earlier else "Sell",
    )


def recorded_trade(instrument: Instrument, tick: Tick) -> dict[str, Any]:
    """A trade that happened, with its own id where the file has one."""
    return _trade(
        instrument,
        at_ms=tick.at_ms,
        trade_id=tick.trade_id or _uuid(instrument, f"{tick.at_ms}/{tick.number}"),
        price=tick.price,
        size=tick.size,
        side=tick.side,
    )


def _trade(
    instrument: Instrument,
    *,
    at_ms: int,
    trade_id: str,
    price: Decimal,
    size: Decimal,
    side: str,
) -> dict[str, Any]:
    spec = instrument.spec
    is_spot = instrument.category is Category.SPOT
    return {
        "execId": trade_id,
        "symbol": instrument.symbol,
        "price": trimmed(price) if is_spot else padded(price, spec.tick),
        "size": trimmed(size) if is_spot else padded(size, spec.quantity_step),
        "side": side,
        "time": str(at_ms),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(at_ms),
    } | (
        {"mP": trimmed(price), "iP": trimmed(price), "mIv": "0", "iv": "0"}
        if instrument.category is Category.OPTION
        else {}
    )


def _uuid(instrument: Instrument, name: str) -> str:
    named = f"{instrument.category}/{instrument.symbol}/{name}"
    return str(UUID(md5(named.encode(), usedforsecurity=False).hexdigest()))


def _noise(instrument: Instrument, name: str) -> int:
    digest = blake2b(f"{instrument.symbol}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
