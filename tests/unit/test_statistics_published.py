"""The statistics beside those that others published of the same trades and returns."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics import (
    History,
    Movement,
    OpenOrder,
    account_statistics,
    annual_return,
    calmar,
    cumulative_return,
    max_drawdown,
    sharpe,
    sortino,
    volatility,
)
from app.domain.statistics.trades import profit_factor, win_rate
from pyarrow import parquet
from tests.unit.histories import bought, reason, value

PERIODS = {"daily": 252, "weekly": 52, "monthly": 12}


MEASURES: dict[str, Any] = {
    "cum_returns_final": lambda r, _: cumulative_return(r),
    "max_drawdown": lambda r, _: -max_drawdown(r),  # theirs is negative
    "annual_return": lambda r, p: annual_return(r, periods_per_year=p),
    "annual_volatility": lambda r, p: volatility(r, periods_per_year=p),
    "calmar_ratio": lambda r, p: calmar(r, periods_per_year=p),
    "sharpe_ratio": lambda r, p: sharpe(r, periods_per_year=p),
    "cagr": lambda r, p: annual_return(r, periods_per_year=p),
}


def test_the_values_that_empyrical_published_are_ours(shared_data: Path) -> None:
    path = shared_data / "fixtures" / "empyrical" / "known_values.json"
    fixture = json.loads(path.read_text())
    compared = 0
    for case in fixture["cases"]:
        if case["fn"] not in MEASURES or case.get("risk_free", 0.0) != 0.0:
            continue
        given_returns = fixture["returns"][case["returns"]]
        if case["fn"] in {"annual_return", "calmar_ratio"}:  # no return still takes its time
            given_returns = [r or 0.0 for r in given_returns]
        returns = [Decimal(repr(r)) for r in given_returns if r is not None]
        found = MEASURES[case["fn"]](returns, PERIODS[case.get("period", "daily")])
        if case["expected"] == "nan":
            assert "one return" in reason(found)
        else:
            tolerance = 10 ** -case["places"] if "places" in case else 1e-8
            assert value(found) == pytest.approx(case["expected"], rel=1e-9, abs=tolerance), case
        compared += 1
    assert compared == 23


def test_four_years_of_bitcoin_have_empyricals_ratios(shared_data: Path) -> None:
    path = shared_data / "fixtures" / "empyrical" / "bybit_BTCUSDT_D.json"
    expected = json.loads(path.read_text())["values"]
    table = parquet.read_table(shared_data / "candles" / "bybit_linear_BTCUSDT_D.parquet")
    closes = [Decimal(repr(close)) for close in table.column("close").to_pylist()]
    returns = [now / before - 1 for before, now in pairwise(closes)]
    assert len(returns) == expected["n"]
    for name, found in {
        "cum_returns_final": cumulative_return(returns),
        "max_drawdown": -max_drawdown(returns),
        "annual_return_252": annual_return(returns, periods_per_year=252),
        "annual_return_365": annual_return(returns, periods_per_year=365),
        "annual_volatility_365": volatility(returns, periods_per_year=365),
        "sharpe_365": sharpe(returns, periods_per_year=365),
        "sharpe_252": sharpe(returns, periods_per_year=252),
        "sortino_365": sortino(returns, periods_per_year=365),
        "calmar_365": calmar(returns, periods_per_year=365),
    }.items():
        assert value(found) == pytest.approx(expected[name], rel=1e-11), name


def exact(number: float) -> Decimal:
    return Decimal(repr(number)).quantize(Decimal("1e-20"))


def test_an_account_that_traded_like_freqtrade_has_the_numbers_of_its_report(
    shared_data: Path,
) -> None:
    path = shared_data / "fixtures" / "freqtrade" / "backtest-result.json.gz"
    report = json.loads(gzip.decompress(path.read_bytes()))["strategy"]["StrategyTestV3"]
    movements: list[tuple[datetime, float, Movement]] = []
    for number, trade in enumerate(report["trades"]):
        one = OpenOrder(
            id=OrderId(number),
            symbol=Symbol(trade["pair"]),
            opened_at=datetime.fromisoformat(trade["open_date"]),
            buy_price=exact(trade["stake_amount"]),
            quantity=Decimal(1),
        )
        closed_at = datetime.fromisoformat(trade["close_date"])
        proceeds = one.cost + exact(trade["profit_abs"])
        movements += [(one.opened_at, number, bought(one))]
        movements += [
            (
                closed_at, number + 0.5,
                Movement(
                    at=closed_at, cause=Cause.ORDER_CLOSED, amount=proceeds, order=one,
                    price=proceeds,
                ),
            )
        ]  # fmt: skip
    found = account_statistics(
        History(
            begin_at=datetime.fromisoformat(report["backtest_start"]).replace(tzinfo=UTC),
            end_at=datetime.fromisoformat(report["backtest_end"]).replace(tzinfo=UTC),
            cash_at_begin=exact(report["starting_balance"]),
            open_at_begin=[],
            movements=[movement for *_, movement in sorted(movements, key=lambda m: m[:2])],
        )
    )
    trades = found.trades
    assert (trades.count, trades.losses) == (report["total_trades"], report["losses"])
    for mine, theirs in (
        (found.equity_at_end, "final_balance"),
        (trades.profit, "profit_total_abs"),
        (found.total_return, "profit_total"),
        (trades.profit_factor, "profit_factor"),
        (max(day.profit for day in found.days), "backtest_best_day_abs"),
        (min(day.profit for day in found.days), "backtest_worst_day_abs"),
    ):
        assert value(mine) == pytest.approx(report[theirs], rel=1e-9, abs=5e-10), theirs
    equity, peak, fallen = 0.01, 0.01, 0.0  # its drawdown is not that of its own trades
    for trade in sorted(report["trades"], key=lambda trade: trade["close_timestamp"]):
        equity += trade["profit_abs"]
        peak = max(peak, equity)
        fallen = max(fallen, 1 - equity / peak)
    assert value(found.max_drawdown) == pytest.approx(fallen, rel=1e-9)
    held = value(trades.holding_seconds_average)
    assert held == pytest.approx(report["holding_avg_s"], abs=60), "published to the minute"


def test_the_trades_of_backtesting_py_have_its_win_rate_and_profit_factor(
    shared_data: Path,
) -> None:
    folder = shared_data / "fixtures" / "backtesting_py"
    compared = 0
    for path in sorted(folder.glob("bybit_*_cases.json")):
        for case in json.loads(path.read_text())["cases"]:
            if case["n_trades"] != len(case["trades"]):
                continue  # only the first were kept
            stats = case["stats"]
            profits = [exact(trade["PnL"]) for trade in case["trades"]]
            fractions = [exact(trade["ReturnPct"]) for trade in case["trades"]]
            rate, factor = win_rate(profits), profit_factor(fractions)
            assert 100 * value(rate) == pytest.approx(stats["Win Rate [%]"], rel=1e-12)
            # published with ten decimals for each trade
            assert value(factor) == pytest.approx(stats["Profit Factor"], rel=1e-7)
            ended = 10_000 + sum(profits, Decimal(0))
            assert float(ended) == pytest.approx(case["equity_final"], rel=1e-9)
            compared += 1
    assert compared == 5
