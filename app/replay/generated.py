"""A market out of a seed: the same seed gives the same candles, in whatever order they are asked.

Days follow a geometric random walk, made by halving a span of 2^16 days again and again, so
that any day of it is 16 steps away and the first and last are at the base price: the walk
repeats every 179 years and has no end. A day is cut into halves, thirds and fifths down to
minutes; each cut keeps the whole's open, high, low, close and volume, so all intervals agree to
the last digit. It is integer arithmetic in ticks and lots, but for one exact exponential a day:
no float, hence the same on every machine.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, pairwise
from math import isqrt
from typing import Final, NamedTuple

from app.domain.instruments import Category
from app.domain.money import EXACT
from app.replay.candles import (
    DAY_MS,
    LENGTHS_MS,
    MINUTE_MS,
    Candle,
    Interval,
    end_of,
    merged,
    open_of,
    typical_turnover,
)
from app.replay.instruments import InstrumentSpec, known_spec
from app.replay.market import Instrument, Market

START_MS: Final = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1000
START_DAY: Final = START_MS // DAY_MS
SPAN_DAYS: Final = 2**16
DAILY_STEP: Final = 25_000_000  # standard deviation of a day's logarithm, 2.5 %, times 10^9
UNIT: Final = 10**9
EXPONENTIAL: Final = Context(prec=20)

CUTS: Final = (2, 2, 3, 2, 2, 2, 3, 5)
"""A day into 720, 360, 120, 60, 30, 15, 5 and 1 minutes."""
CUT_LENGTHS_MS: Final = tuple(
    accumulate(CUTS, lambda length_ms, parts: length_ms // parts, initial=DAY_MS)
)
CACHED_NODES: Final = 50_000

BASES: Final = {"BTC": "95000", "ETH": "3400", "SOL": "190", "XRP": "2.2", "DOGE": "0.32"}
"""What the walk starts from, in US dollars, on START_MS."""
INVERSE_COINS: Final = ("BTC", "ETH")
OPTION: Final = InstrumentSpec(
    category=Category.OPTION,
    symbol="BTC-28DEC35-100000-C-USDT",
    base_coin="BTC",
    quote_coin="USDT",
    tick=Decimal(5),
    quantity_step=Decimal("0.01"),
    quantity_min=Decimal("0.01"),
)
OPTION_BASE: Final = Decimal(21_000)
DAILY_AMOUNT: Final = 400_000_000  # US dollars


class Node(NamedTuple):
    """A candle in ticks and lots."""

    open: int
    high: int
    low: int
    close: int
    volume: int


class GeneratedHistory:
    """Candles of one instrument, from 1970 on and without an end or a gap."""

    def __init__(self, *, seed: int, walk: str, base: Decimal, spec: InstrumentSpec) -> None:
        self._key = f"{seed}/{walk}"
        self._spec = spec
        self._base_ticks = int(base / spec.tick)
        unit = Decimal(1) if spec.category is Category.INVERSE else base
        self._daily_lots = int(DAILY_AMOUNT / unit / spec.quantity_step)
        self._day = lru_cache(maxsize=CACHED_NODES)(self._made_day)
        self._parts = lru_cache(maxsize=CACHED_NODES)(self._made_parts)
        self._minute = lru_cache(maxsize=CACHED_NODES)(self._made_minute)

    def at(self, instant_ms: int) -> Candle | None:
        """The minute that contains the instant."""
        return self._minute(instant_ms // MINUTE_MS) if instant_ms >= 0 else None

    def tiles(self, from_ms: int, to_ms: int) -> Sequence[Candle]:
        """The fewest candles that fill [from_ms, to_ms), whose ends are rounded inwards."""
        at_ms = -(-max(from_ms, 0) // MINUTE_MS) * MINUTE_MS
        found: list[Candle] = []
        while at_ms + MINUTE_MS <= to_ms:
            level = next(
                level
                for level, length_ms in enumerate(CUT_LENGTHS_MS)
                if at_ms % length_ms == 0 and at_ms + length_ms <= to_ms
            )
            found.append(self._candle(level, at_ms))
            at_ms = found[-1].end_ms
        return found

    def window(
        self, interval: Interval, *, first_ms: int, last_ms: int, limit: int, newest: bool
    ) -> Sequence[Candle]:
        """Complete candles that open in [first_ms, last_ms], ascending."""
        opens_ms: list[int] = []
        if newest:
            open_ms = open_of(last_ms, interval)
            while open_ms >= max(first_ms, 0) and len(opens_ms) < limit:
                opens_ms.append(open_ms)
                open_ms = open_of(open_ms - 1, interval)
            opens_ms.reverse()
        else:
            open_ms = open_of(first_ms, interval)
            if open_ms < max(first_ms, 0):  # the week that contains 1970-01-01 began before it
                open_ms = end_of(open_ms, interval)
            while open_ms <= last_ms and len(opens_ms) < limit:
                opens_ms.append(open_ms)
                open_ms = end_of(open_ms, interval)
        return [self._whole(interval, open_ms) for open_ms in opens_ms]

    def _whole(self, interval: Interval, open_ms: int) -> Candle:
        length_ms = LENGTHS_MS[interval]
        if length_ms in CUT_LENGTHS_MS:
            return self._candle(CUT_LENGTHS_MS.index(length_ms), open_ms)
        end_ms = end_of(open_ms, interval)
        return merged(self.tiles(open_ms, end_ms), open_ms=open_ms, end_ms=end_ms)

    def _made_minute(self, minute: int) -> Candle:
        return self._candle(len(CUTS), minute * MINUTE_MS)

    def _candle(self, level: int, open_ms: int) -> Candle:
        node = self._node(level, open_ms // CUT_LENGTHS_MS[level])
        tick, step = self._spec.tick, self._spec.quantity_step
        prices = (node.open * tick, node.high * tick, node.low * tick, node.close * tick)
        volume = node.volume * step
        return Candle(
            open_ms=open_ms,
            end_ms=open_ms + CUT_LENGTHS_MS[level],
            open=prices[0],
            high=prices[1],
            low=prices[2],
            close=prices[3],
            volume=volume,
            turnover=typical_turnover(
                prices=prices,
                volume=volume,
                inverse=self._spec.category is Category.INVERSE,
            ),
        )

    def _node(self, level: int, index: int) -> Node:
        if level == 0:
            return self._day(index)
        parts = CUTS[level - 1]
        return self._parts(level - 1, index // parts)[index % parts]

    def _made_day(self, day: int) -> Node:
        start, stop = self._ticks(day), self._ticks(day + 1)
        up, down, volume, *_ = self._noise(f"day/{day}")
        reach = max(start, stop) // 25  # at most 4 % beyond open and close
        return Node(
            open=start,
            high=max(start, stop) + up * reach // 65536,
            low=max(1, min(start, stop) - down * reach // 65536),
            close=stop,
            volume=self._daily_lots * (32768 + volume) // 65536,
        )

    def _ticks(self, day: int) -> int:
        """The price at the start of a day."""
        low, high, at_low, at_high = 0, SPAN_DAYS, 0, 0
        offset = (day - START_DAY) % SPAN_DAYS
        while low < offset:
            middle = (low + high) // 2
            at_middle = (at_low + at_high) // 2 + self._bend(middle, high - low)
            if offset < middle:
                high, at_high = middle, at_middle
            else:
                low, at_low = middle, at_middle
        growth = EXPONENTIAL.exp(Decimal(at_low) / UNIT)
        return max(1, int(EXACT.multiply(growth, Decimal(self._base_ticks))))

    def _bend(self, middle: int, span: int) -> int:
        """How far a walk over `span` days strays from the straight line half-way, times 10^9.

        Four uniform numbers are normal enough; their deviation is 37,837. A Brownian bridge
        has half the deviation of a walk of the same length.
        """
        normal = sum(self._noise(f"walk/{middle}")[:4]) - 2 * 65535
        return normal * DAILY_STEP * isqrt(span * 10**6) // (2 * 1000 * 37_837)

    def _made_parts(self, level: int, index: int) -> tuple[Node, ...]:
        """The node cut into its parts: a bridge from open to close between low and high."""
        whole = self._node(level, index)
        count = CUTS[level]
        noise = iter(self._noise(f"cut/{level}/{index}"))
        reach = whole.high - whole.low
        points = [whole.open]
        for left in range(count, 1, -1):
            drift = (whole.close - points[-1]) // left
            stray = (next(noise) - 32768) * reach // 65536
            points.append(min(max(points[-1] + drift + stray, whole.low), whole.high))
        points.append(whole.close)
        highs, lows = [], []
        for pair in pairwise(points):
            beyond = 65536 * (count + 1)
            highs.append(min(max(pair) + next(noise) * reach // beyond, whole.high))
            lows.append(max(min(pair) - next(noise) * reach // beyond, whole.low))
        highs[highs.index(max(highs))] = whole.high
        lows[lows.index(min(lows))] = whole.low
        weights = [0, *accumulate(next(noise) + 16384 for _ in range(count))]
        volumes = [whole.volume * weight // weights[-1] for weight in weights]
        return tuple(
            Node(points[part], highs[part], lows[part], points[part + 1], after - before)
            for part, (before, after) in enumerate(pairwise(volumes))
        )

    def _noise(self, name: str) -> tuple[int, ...]:
        """32 uniform numbers from 0 to 65,535 that depend on the seed and the name only."""
        return struct.unpack("<32H", blake2b(f"{self._key}/{name}".encode()).digest())


def generated_market(*, seed: int = 1) -> Market:
    """Spot and linear BTC, ETH, SOL, XRP and DOGE, inverse BTC and ETH, and one option."""
    instruments: dict[tuple[Category, str], Instrument] = {}

    def add(spec: InstrumentSpec, walk: str, base: Decimal) -> None:
        instruments[spec.category, spec.symbol] = Instrument(
            category=spec.category,
            symbol=spec.symbol,
            history=GeneratedHistory(seed=seed, walk=walk, base=base, spec=spec),
            source=f"generated from seed {seed}",
            spec=lambda: spec,
        )

    for coin, base in BASES.items():
        markets = [(Category.SPOT, f"{coin}USDT"), (Category.LINEAR, f"{coin}USDT")]
        if coin in INVERSE_COINS:
            markets.append((Category.INVERSE, f"{coin}USD"))
        for category, symbol in markets:
            spec = known_spec(category, symbol)
            assert spec is not None, "generated symbols are in the table"
            add(spec, coin, Decimal(base))  # one walk for a coin: no arbitrage between them
    add(OPTION, OPTION.symbol, OPTION_BASE)
    return Market(instruments=instruments, start_ms=START_MS, first_ms=0, last_ms=None)
