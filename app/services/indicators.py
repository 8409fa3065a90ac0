"""Indicators of a venue's candles, computed as they are asked for."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Any, Final

from app.domain.candles import (
    RANGE_MAX,
    Candle,
    CandleRangeRefused,
    Span,
    advance,
    check_range,
    first_open_from,
)
from app.domain.errors import Refused
from app.domain.indicators import (
    Adx,
    AdxValue,
    Atr,
    Bands,
    Bollinger,
    Donchian,
    Ema,
    Macd,
    MacdValue,
    Obv,
    Roc,
    Rsi,
    Sma,
    Stochastic,
    StochasticValue,
    Supertrend,
    SupertrendValue,
    Vwap,
    Wma,
)
from app.services.candles import CandlePage, CandleQuery, CandleReader

PERIOD_MAX: Final = 200
PARAMETER_CHARACTERS_MAX: Final = 10
MEMORY_CANDLES_MAX: Final = 4000
EXPONENTIAL: Final = 10
WILDER: Final = 19
"""Periods after which less than a hundred-millionth of the seed is left in an average."""

_NOTHING: Final = float("nan")


class IndicatorRefused(Refused):
    """No such indicator, or not with these parameters."""

    code = "indicator_refused"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """An indicator as it is asked for: `make` takes the parameters in their order.

    `memory` is how many candles before the first answered one have a say in it.
    """

    make: Callable[..., Any]
    inputs: Sequence[str]
    outputs: Sequence[str] = ()
    parameters: Mapping[str, float]
    memory: Callable[..., float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An indicator with its parameters; `label` spells all of them out."""

    name: str
    label: str
    parameters: Mapping[str, float]
    memory_candles: int

    @property
    def members(self) -> list[str]:
        """What it answers: its label, or one for each of several outputs."""
        return [f"{self.label}.{output}" for output in KINDS[self.name].outputs] or [self.label]

    def start(self) -> Any:
        """A new one, which has seen nothing."""
        return KINDS[self.name].make(*self.parameters.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorPage:
    """Values of the closed candles of `span`; `values` has a member only where it is defined."""

    candles: CandlePage
    span: Span
    rows: Sequence[tuple[datetime, Mapping[str, float]]]
    next_cursor: datetime | None


def _make_stochastic(period: int, smooth: int, signal: int) -> Stochastic:
    return Stochastic(period, smooth=smooth, signal=signal)


_CLOSE: Final = ("close",)
_HIGH_LOW_CLOSE: Final = ("high", "low", "close")
KINDS: Final[Mapping[str, Kind]] = {
    "sma": Kind(make=Sma, inputs=_CLOSE, parameters={"period": 20}, memory=lambda p: p - 1),
    "ema": Kind(
        make=Ema, inputs=_CLOSE, parameters={"period": 20}, memory=lambda p: EXPONENTIAL * p
    ),
    "wma": Kind(make=Wma, inputs=_CLOSE, parameters={"period": 20}, memory=lambda p: p - 1),
    "rsi": Kind(
        make=Rsi, inputs=_CLOSE, parameters={"period": 14}, memory=lambda p: WILDER * p + 1
    ),
    "roc": Kind(make=Roc, inputs=_CLOSE, parameters={"period": 10}, memory=lambda p: p),
    "macd": Kind(
        make=Macd, inputs=_CLOSE, outputs=MacdValue._fields,
        parameters={"fast": 12, "slow": 26, "signal": 9},
        memory=lambda _, slow, signal: EXPONENTIAL * (slow + signal),
    ),
    "stochastic": Kind(
        make=_make_stochastic, inputs=_HIGH_LOW_CLOSE, outputs=StochasticValue._fields,
        parameters={"period": 14, "smooth": 3, "signal": 3},
        memory=lambda period, smooth, signal: period + smooth + signal - 3,
    ),
    "bollinger": Kind(
        make=Bollinger, inputs=_CLOSE, outputs=Bands._fields,
        parameters={"period": 20, "deviations": 2.0}, memory=lambda p, _: p - 1,
    ),
    "donchian": Kind(
        make=Donchian, inputs=("high", "low"), outputs=Bands._fields,
        parameters={"period": 20}, memory=lambda p: p - 1,
    ),
    "atr": Kind(
        make=Atr, inputs=_HIGH_LOW_CLOSE, parameters={"period": 14},
        memory=lambda p: WILDER * p + 1,
    ),
    "adx": Kind(
        make=Adx, inputs=_HIGH_LOW_CLOSE, outputs=AdxValue._fields, parameters={"period": 14},
        memory=lambda p: (WILDER + 2) * p,
    ),
    "supertrend": Kind(
        make=Supertrend, inputs=_HIGH_LOW_CLOSE, outputs=SupertrendValue._fields,
        parameters={"period": 10, "multiplier": 3.0}, memory=lambda p, _: WILDER * p + 1,
    ),
    "obv": Kind(make=Obv, inputs=("close", "volume"), parameters={}, memory=lambda: 0),
    "vwap": Kind(
        make=Vwap, inputs=(*_HIGH_LOW_CLOSE, "volume"), parameters={}, memory=lambda: 0
    ),
}  # fmt: skip


def parse_wanted(text: str) -> Wanted:
    """`rsi`, `rsi:14`, `macd:12,26,9`: parameters in order, the rest as usual.

    Raises IndicatorRefused and says what would be right.
    """
    name, _, listed = text.strip().lower().partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise IndicatorRefused(f"no such indicator: choose of {', '.join(KINDS)}")
    given = [part.strip() for part in listed.split(",")] if listed else []
    if len(given) > len(kind.parameters):
        takes = ", ".join(kind.parameters) or "no parameter"
        raise IndicatorRefused(f"{name} takes {takes}")
    parameters = dict(kind.parameters)
    for part, (parameter, usual) in zip(given, kind.parameters.items(), strict=False):
        try:
            parameters[parameter] = _number(part, whole=isinstance(usual, int))
        except ValueError as expected:
            example = f"{name}:{_spelled(kind.parameters)}"
            raise IndicatorRefused(
                f"{name}: {parameter} has to be {expected}, for example {example}"
            ) from None
    try:
        kind.make(*parameters.values())
    except ValueError as problem:
        raise IndicatorRefused(f"{name}: {problem}") from None
    memory = int(kind.memory(*parameters.values()))
    if memory > MEMORY_CANDLES_MAX:
        raise IndicatorRefused(
            f"{name} would look back {memory} candles, and at most {MEMORY_CANDLES_MAX} are "
            "fetched for it: choose a shorter period"
        )
    spelled = _spelled(parameters)
    return Wanted(
        name=name,
        label=f"{name}:{spelled}" if spelled else name,
        parameters=parameters,
        memory_candles=memory,
    )


async def read_indicators(
    reader: CandleReader, query: CandleQuery, wanted: Sequence[Wanted]
) -> IndicatorPage:
    """At most `query.limit` candles' values, and what CandleReader.read raises.

    Candles before the first are read as far as an indicator remembers, there are any, and a
    range may reach. A candle that is missing is a gap: what follows is warmed up anew.
    """
    memory = max(each.memory_candles for each in wanted)
    begin_at = _latest(query.begin_at, query.cursor)
    if begin_at is not None and query.end_at is not None:
        check_range(begin_at, query.end_at)
    earlier = None
    if begin_at is not None:
        begin_at = first_open_from(begin_at, query.interval)
        earlier = advance(begin_at, query.interval, -memory)
        if query.end_at is not None:
            earlier = max(earlier, advance(query.end_at - RANGE_MAX, query.interval))
        else:
            now = await reader.sources[query.venue].fetch_time()
            earlier = max(earlier, advance(now - RANGE_MAX, query.interval, 2))
        earlier = min(earlier, begin_at)
    page = await reader.read(
        replace(query, begin_at=earlier, cursor=None, limit=query.limit + memory)
    )
    if begin_at is None:
        begin_at = advance(page.span.end_at, query.interval, -query.limit)
    elif begin_at > page.span.end_at:
        raise CandleRangeRefused(
            f"from lies after the last closed candle, which ended at {page.span.end_at:%FT%TZ}"
        )
    begin_at = max(begin_at, page.span.begin_at)
    end_at = min(page.span.end_at, advance(begin_at, query.interval, query.limit))
    more = end_at < page.span.end_at or page.next_cursor is not None
    span = Span(begin_at=begin_at, end_at=end_at)
    return IndicatorPage(
        candles=page,
        span=span,
        rows=await asyncio.to_thread(indicator_rows, page, span, wanted),
        next_cursor=end_at if more else None,
    )


def indicator_rows(
    page: CandlePage, span: Span, wanted: Sequence[Wanted]
) -> Sequence[tuple[datetime, Mapping[str, float]]]:
    """What is known at each candle of the span, by member; those before it only warm up."""
    candles = [candle for candle in page.candles if candle.open_time < span.end_at]
    first = sum(candle.open_time < span.begin_at for candle in candles)
    rows: list[tuple[datetime, dict[str, float]]] = [
        (candle.open_time, {}) for candle in candles[first:]
    ]
    holes = [hole.begin_at for hole in page.missing]
    for each in wanted:
        begin = max(first - each.memory_candles, 0)
        for index, value in enumerate(_values(each, candles[begin:], holes), begin - first):
            if index >= 0:
                parts = value if isinstance(value, tuple) else (value,)
                rows[index][1].update(
                    (member, part)
                    for member, part in zip(each.members, parts, strict=True)
                    if isfinite(part)
                )
    return rows


def _values(
    wanted: Wanted, candles: Sequence[Candle], holes: Sequence[datetime]
) -> list[float | tuple[float, ...]]:
    indicator, inputs = wanted.start(), KINDS[wanted.name].inputs
    values = []
    before: Candle | None = None
    for candle in candles:
        if before is not None and any(before.open_time < h < candle.open_time for h in holes):
            indicator.update(*(_NOTHING for _ in inputs))
        values.append(indicator.update(*(float(getattr(candle, name)) for name in inputs)))
        before = candle
    return values


def _number(text: str, *, whole: bool) -> float:
    """Raises ValueError with what would be right."""
    digits = text.replace(".", "", 0 if whole else 1)
    if not (digits.isascii() and digits.isdigit() and len(text) <= PARAMETER_CHARACTERS_MAX):
        raise ValueError("a whole number" if whole else "a plain number")
    number = int(text) if whole else float(text)
    if whole and not 1 <= number <= PERIOD_MAX:
        raise ValueError(f"a whole number from 1, at most {PERIOD_MAX}")
    return number


def _spelled(parameters: Mapping[str, float]) -> str:
    """With every digit that can be asked for, and never an exponent, which cannot."""
    texts = (f"{value:.{PARAMETER_CHARACTERS_MAX}f}" for value in parameters.values())
    return ",".join(text.rstrip("0").rstrip(".") for text in texts)


def _latest(first: datetime | None, second: datetime | None) -> datetime | None:
    return max((at for at in (first, second) if at is not None), default=None)
