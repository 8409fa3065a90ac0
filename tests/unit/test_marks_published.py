"""Open orders at the closes of candles, as others computed it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from app.domain.candles import Interval, advance
from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics import History, Mark, Measure, Movement, OpenOrder, account_statistics
from pyarrow import parquet
from tests.unit.histories import BTC, bought, value


def exact(number: float) -> Decimal:
    return Decimal(repr(number))


def closes_of(path: Path, interval: Interval, symbol: Symbol) -> list[Mark]:
    table = parquet.read_table(path)
    return [
        Mark(
            at=advance(datetime.fromtimestamp(ts / 1000, UTC), interval),
            prices={symbol: exact(close)},
        )
        for ts, close in zip(
            table.column("ts").to_pylist(), table.column("close").to_pylist(), strict=True
        )
    ]


def bought_at(opened_at: datetime, price: Decimal, *, quantity: Decimal = Decimal(1)) -> OpenOrder:
    return OpenOrder(
        id=OrderId(1), symbol=BTC, opened_at=opened_at, buy_price=price, quantity=quantity
    )


def test_who_bought_bitcoin_and_held_it_has_empyricals_ratios_of_its_closes(
    shared_data: Path,
) -> None:
    """Nothing is ever sold: all of it comes from marks."""
    path = shared_data / "fixtures" / "empyrical" / "bybit_BTCUSDT_D.json"
    expected = json.loads(path.read_text())["values"]
    first, *marks = closes_of(
        shared_data / "candles" / "bybit_linear_BTCUSDT_D.parquet", Interval.DAY, BTC
    )
    one = bought_at(first.at, first.prices[BTC])
    found = account_statistics(
        History(
            begin_at=first.at,
            end_at=marks[-1].at,
            cash_at_begin=one.cost,
            open_at_begin=[],
            movements=[bought(one)],
            marks=[first, *marks],
        )
    )
    compared: dict[str, Measure] = {
        "cum_returns_final": found.total_return,
        "annual_return_365": found.annual_return,
        "annual_volatility_365": found.volatility,
        "sharpe_365": found.sharpe,
        "sortino_365": found.sortino,
        "calmar_365": found.calmar,
    }
    for name, measure in compared.items():
        assert value(measure) == pytest.approx(expected[name], rel=1e-11), name
    assert value(found.max_drawdown) == pytest.approx(-expected["max_drawdown"], rel=1e-11)
    assert found.symbols[0].marked == len(found.days) == expected["n"]
    assert value(found.buy_and_hold) == pytest.approx(value(found.total_return), rel=1e-30)
    held = value(found.buy_and_hold_max_drawdown)
    assert held == pytest.approx(value(found.max_drawdown), rel=1e-14)


@pytest.mark.parametrize(
    ("data", "interval", "case_name"),
    [
        ("BTCUSDT_D", Interval.DAY, "longonly_10_30_fee0.001"),
        ("BTCUSDT_D", Interval.DAY, "rsi14_lt30_sl3_tp5_half_fee0.001"),
        ("ETHUSDT_15", Interval.MINUTES_15, "rsi14_lt30_sl3_tp5_half_fee0.001"),
    ],
)
def test_who_traded_like_backtesting_py_falls_as_deep_as_it_says(
    shared_data: Path, data: str, interval: Interval, case_name: str
) -> None:
    """Its equity has open trades at the close of every bar, as marks have."""
    path = shared_data / "fixtures" / "backtesting_py" / f"bybit_{data}_cases.json"
    [case] = [each for each in json.loads(path.read_text())["cases"] if each["name"] == case_name]
    assert case["n_trades"] == len(case["trades"])
    marks = closes_of(shared_data / "candles" / f"bybit_linear_{data}.parquet", interval, BTC)
    fee = exact(case["params"]["commission"])
    found = account_statistics(
        History(
            begin_at=advance(marks[0].at, interval, -1),
            end_at=marks[-1].at,
            cash_at_begin=exact(case["params"]["cash"]),
            open_at_begin=[],
            movements=[m for trade in case["trades"] for m in traded(trade, fee)],
            interval=interval,
            marks=marks,
        )
    )
    stats = case["stats"]
    assert value(found.max_drawdown) == pytest.approx(-stats["Max. Drawdown [%]"] / 100, rel=1e-9)
    assert value(found.total_return) == pytest.approx(stats["Return [%]"] / 100, rel=1e-9)
    assert value(found.marked_equity_at_end) == pytest.approx(case["equity_final"], rel=1e-12)
    assert found.symbols[0].unmarked_count == 0


def traded(trade: dict[str, Any], fee: Decimal) -> tuple[Movement, Movement]:
    opened_at = datetime.fromisoformat(trade["EntryTime"]).replace(tzinfo=UTC)
    size = exact(trade["Size"])
    one = replace(
        bought_at(opened_at, exact(trade["EntryPrice"]) * (1 + fee), quantity=size),
        id=OrderId(trade["EntryBar"]),
    )
    price = exact(trade["ExitPrice"])
    return bought(one), Movement(
        at=datetime.fromisoformat(trade["ExitTime"]).replace(tzinfo=UTC),
        cause=Cause.ORDER_CLOSED,
        amount=price * size * (1 - fee),
        order=one,
        price=price,
    )
