"""What an account's history amounts to: by example, by property, and as others published it."""

import gzip
import json
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics import (
    AccountStatistics,
    History,
    Measure,
    Movement,
    OpenOrder,
    Undefined,
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
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PERIODS = {"daily": 252, "weekly": 52, "monthly": 12}
BTC, ETH = Symbol("BTCUSDT"), Symbol("ETHUSDT")


def value(measure: Measure) -> float:
    assert isinstance(measure, Decimal), measure
    return float(measure)


def reason(measure: Measure) -> str:
    assert isinstance(measure, Undefined), measure
    return measure.reason


def order(number: int, *, day: float = 0, price: str = "100", symbol: Symbol = BTC) -> OpenOrder:
    return OpenOrder(
        id=OrderId(number),
        symbol=symbol,
        opened_at=BEGIN + timedelta(days=day),
        buy_price=Decimal(price),
        quantity=Decimal(1),
    )


def flow(amount: str, *, day: float = 0) -> Movement:
    cause = Cause.WITHDRAWAL if amount.startswith("-") else Cause.DEPOSIT
    return Movement(at=BEGIN + timedelta(days=day), cause=cause, amount=Decimal(amount))


def bought(one: OpenOrder) -> Movement:
    return Movement(
        at=one.opened_at,
        cause=Cause.ORDER_OPENED,
        amount=-one.cost,
        order=one,
        price=one.buy_price,
    )


def sold(one: OpenOrder, price: str, *, day: float) -> Movement:
    return Movement(
        at=BEGIN + timedelta(days=day),
        cause=Cause.ORDER_CLOSED,
        amount=Decimal(price),
        order=one,
        price=Decimal(price),
    )


def history(*movements: Movement, days: float = 10) -> History:
    return History(
        begin_at=BEGIN,
        end_at=BEGIN + timedelta(days=days),
        cash_at_begin=Decimal(0),
        open_at_begin=[],
        movements=movements,
    )


def test_an_account_is_followed_to_the_last_cent() -> None:
    first, second, third = order(1), order(2, day=2, price="200", symbol=ETH), order(3, day=8)
    found = account_statistics(
        history(
            flow("1000"), bought(first), sold(first, "150", day=1), bought(second),
            flow("500", day=3), sold(second, "95", day=4), flow("-45", day=5), bought(third),
        )
    )  # fmt: skip
    assert found.equity_at_begin == 0
    assert found.flow == Decimal(1455)
    assert found.equity_at_end == 1000 + 50 + 500 - 105 - 45
    assert (found.open_orders, float(found.open_cost)) == (1, 100.0)
    trades = found.trades
    assert (trades.count, trades.wins, trades.losses, float(trades.profit)) == (2, 1, 1, -55.0)
    assert (value(trades.best), value(trades.worst)) == (50.0, -105.0)
    assert value(trades.win_rate) == 0.5
    assert value(trades.profit_factor) == pytest.approx(50 / 105, rel=1e-15)
    assert value(trades.holding_seconds_average) == 1.5 * 86_400
    assert value(trades.holding_seconds_longest) == 2 * 86_400
    # 1000 grew by 50; of the 1550 that a deposit had made of it 105 were lost
    unit = (1 + 50 / 1000) * (1 - 105 / 1550)
    assert value(found.total_return) == pytest.approx(unit - 1, rel=1e-14)
    assert value(found.max_drawdown) == pytest.approx(105 / 1550, rel=1e-14)
    assert value(found.exposure_time) == pytest.approx((1 + 2 + 2) / 10, rel=1e-14)
    invested = (100 / 1000 + 200 / 1050 + 200 / 1550 + 2 * 100 / 1400) / 10
    assert value(found.exposure) == pytest.approx(invested, rel=1e-14)
    days = [(day.on.day, *map(float, (day.equity, day.profit, day.flow))) for day in found.days]
    assert days == [
        (1, 1000, 0, 1000), (2, 1050, 50, 0), (3, 1050, 0, 0), (4, 1550, 0, 500),
        (5, 1445, -105, 0), (6, 1400, 0, -45), (9, 1400, 0, 0),
    ]  # fmt: skip
    [month] = found.months
    assert (month.first_on, float(month.profit), float(month.flow)) == (
        date(2026, 1, 1),
        -55.0,
        1455.0,
    )
    assert month.return_ == found.total_return


def test_a_symbol_alone_is_the_account_as_if_nothing_else_had_been_traded() -> None:
    btc, eth = order(1), order(2, symbol=ETH)
    both = history(
        flow("1000"), bought(btc), bought(eth), sold(eth, "10", day=1), sold(btc, "110", day=2)
    )
    alone = account_statistics(both, symbol=BTC)
    assert alone == account_statistics(
        history(flow("1000"), bought(btc), sold(btc, "110", day=2)), symbol=BTC
    )
    assert alone.equity_at_end == 1010
    assert [each.symbol for each in account_statistics(both).symbols] == [BTC, ETH]
    held = account_statistics(replace(both, open_at_begin=[order(9, price="7", symbol=ETH)]))
    assert held.equity_at_begin == 7
    assert held.open_orders == 1


def test_buying_and_holding_is_measured_by_the_fills_that_are_known() -> None:
    one, two = order(1), order(2, day=3, price="80")
    found = account_statistics(
        history(flow("500"), bought(one), sold(one, "90", day=1), bought(two))
    )
    [btc] = found.symbols
    assert value(btc.buy_and_hold) == pytest.approx(-0.2, rel=1e-15)
    [only] = account_statistics(history(flow("500"), bought(one))).symbols
    assert "one price" in reason(only.buy_and_hold)


def test_a_lucky_week_has_no_sharpe_ratio_of_1603_but_a_reason() -> None:
    movements = [flow("1000")]
    for number in range(5):
        one = order(number, day=number)
        movements += [bought(one), sold(one, f"{101 + number / 1e6}", day=number + 0.5)]
    found = account_statistics(history(*movements, days=5))
    for measure in (
        found.sharpe,
        found.sortino,
        found.calmar,
        found.volatility,
        found.annual_return,
    ):
        assert "6 days, 5 of them with a return, are too few" in reason(measure)
    assert value(found.total_return) > 0
    assert "at a loss" in reason(found.trades.profit_factor)
    assert "at a loss" in reason(found.trades.average_loss)


def test_one_lucky_day_in_a_year_says_nothing_about_risk_either() -> None:
    one = order(1)
    found = account_statistics(
        history(flow("1000"), bought(one), sold(one, "200", day=1), days=365)
    )
    assert "1 of them with a return" in reason(found.sharpe)


def test_enough_days_have_every_ratio() -> None:
    movements = [flow("1000")]
    for number in range(40):
        one = order(number, day=number)
        movements += [bought(one), sold(one, "105" if number % 3 else "97", day=number + 0.5)]
    found = account_statistics(history(*movements, days=40))
    returns = [day.return_ for day in found.days]
    defined = [each for each in returns if isinstance(each, Decimal)]
    defined.append(Decimal(0))  # the day on which it ends
    assert len(defined) == 41
    assert found.sharpe == sharpe(defined, periods_per_year=365)
    assert found.sortino == sortino(defined, periods_per_year=365)
    assert found.volatility == volatility(defined, periods_per_year=365)
    assert found.calmar == calmar(defined, periods_per_year=365)


def test_an_account_that_never_did_anything_has_reasons_instead_of_numbers() -> None:
    found = account_statistics(history())
    assert found.equity_at_end == 0
    assert value(found.total_return) == 0
    assert "no order" in reason(found.trades.win_rate)
    assert "no order" in reason(found.trades.profit_factor)
    assert "no money" in reason(found.exposure)
    assert "no time" in reason(account_statistics(history(days=0)).exposure_time)


def test_a_trade_without_money_leaves_no_return_to_speak_of() -> None:
    """A purchase so small that its cost rounds to zero, by an account with nothing."""
    dust = replace(order(1), buy_price=Decimal("1e-20"), quantity=Decimal("1e-20"))
    found = account_statistics(history(bought(dust), sold(dust, "0.5", day=1)))
    assert found.equity_at_end == Decimal("0.5")
    assert "no money" in reason(found.total_return)
    assert "no money" in reason(found.max_drawdown)


def test_all_that_was_lost_is_a_drawdown_of_one() -> None:
    movements = [flow("100")]
    one = order(1)
    movements += [bought(one), sold(one, "0", day=1)]
    found = account_statistics(history(*movements, days=60))
    assert value(found.max_drawdown) == 1
    assert value(found.total_return) == -1
    assert "lost" in reason(annual_return([Decimal(-1)], periods_per_year=365))


def test_a_return_beyond_every_float_is_said_to_be_one() -> None:
    movements = []
    for number in range(25):
        dust = replace(order(number), buy_price=Decimal("1e-10"), quantity=Decimal("1e-10"))
        movements += [flow("1e-20"), bought(dust), sold(dust, "999999999", day=0.5)]
        movements.append(flow("-999999999", day=0.5))
    found = account_statistics(history(*sorted(movements, key=lambda m: m.at), days=40))
    assert 0 <= found.equity_at_end < 1
    assert "larger" in reason(found.total_return)


AMOUNTS = st.decimals("0.00000000000000000001", "99999", places=20)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Whatever can happen to an account, sorted by time."""
    movements: list[Movement] = []
    held: list[OpenOrder] = []
    at = BEGIN
    for number in range(draw(st.integers(0, 25))):
        at += timedelta(seconds=draw(st.integers(0, 400_000)))
        match draw(st.sampled_from(["flow", "buy", "sell"])):
            case "flow":
                amount = draw(AMOUNTS) * draw(st.sampled_from([1, -1]))
                movements.append(Movement(at=at, cause=Cause.DEPOSIT, amount=amount))
            case "buy":
                symbol = draw(st.sampled_from([BTC, ETH]))
                price, quantity = draw(AMOUNTS), draw(AMOUNTS)
                held.append(
                    OpenOrder(
                        id=OrderId(number), symbol=symbol, opened_at=at, buy_price=price,
                        quantity=quantity,
                    )
                )  # fmt: skip
                movements.append(bought(held[-1]))
            case "sell" if held:
                one = held.pop(draw(st.integers(0, len(held) - 1)))
                movements.append(
                    Movement(
                        at=at, cause=Cause.ORDER_CLOSED, amount=draw(AMOUNTS), order=one,
                        price=draw(AMOUNTS),
                    )
                )  # fmt: skip
    funded = Movement(at=BEGIN, cause=Cause.DEPOSIT, amount=Decimal(10**12))
    return replace(
        history(funded, *movements), end_at=at + timedelta(seconds=draw(st.integers(0, 10**6)))
    )


def exactly(amounts: Iterable[Decimal]) -> Fraction:
    """Their sum, by other arithmetic than that of the code under test."""
    return sum(map(Fraction, amounts), Fraction(0))


def cash_and_open(given_history: History) -> Fraction:
    """What is there in the end: the cash, and what is open at cost."""
    held: dict[int, Decimal] = {}
    for movement in given_history.movements:
        if movement.order is not None:
            if movement.cause is Cause.ORDER_OPENED:
                held[movement.order.id] = -movement.amount
            else:
                del held[movement.order.id]
    return exactly([*(each.amount for each in given_history.movements), *held.values()])


@settings(max_examples=150, deadline=None)
@given(given_history=histories())
def test_the_profits_of_the_trades_are_the_change_of_equity_exactly(given_history: History) -> None:
    found = account_statistics(given_history)
    assert exactly([found.equity_at_begin, found.flow, found.trades.profit]) == Fraction(
        found.equity_at_end
    )
    assert Fraction(found.equity_at_end) == cash_and_open(given_history)
    assert exactly([found.trades.gross_profit, found.trades.gross_loss]) == exactly(
        [found.trades.profit]
    )
    for parts in (
        [each.trades.profit for each in found.symbols],
        [day.profit for day in found.days],
        [month.profit for month in found.months],
    ):
        assert exactly(parts) == exactly([found.trades.profit])
    assert exactly([day.flow for day in found.days]) == exactly([found.flow])
    if found.days:
        assert found.days[-1].equity == found.equity_at_end
    assert sum(each.trades.count for each in found.symbols) == found.trades.count


@settings(max_examples=100, deadline=None)
@given(given_history=histories())
def test_what_is_a_part_of_something_is_between_nothing_and_all_of_it(
    given_history: History,
) -> None:
    found = account_statistics(given_history)
    trades = found.trades
    assert trades.wins + trades.losses <= trades.count
    for measure in (found.exposure_time, found.exposure, trades.win_rate, found.max_drawdown):
        if isinstance(measure, Decimal):
            assert 0 <= measure <= 1 + Decimal("1e-30")
    for each in every_measure(found):
        if isinstance(each, Decimal):
            assert math.isfinite(float(each))


def every_measure(found: AccountStatistics) -> list[Measure]:
    return [
        found.total_return, found.annual_return, found.volatility, found.sharpe, found.sortino,
        found.calmar, found.max_drawdown, found.exposure_time, found.exposure,
        found.trades.win_rate, found.trades.profit_factor, found.trades.average_profit,
        found.trades.average_win, found.trades.average_loss, found.trades.best,
        found.trades.worst, found.trades.holding_seconds_average,
        found.trades.holding_seconds_longest,
        *(day.return_ for day in found.days), *(month.return_ for month in found.months),
        *(each.buy_and_hold for each in found.symbols),
    ]  # fmt: skip


def test_a_history_in_two_parts_ends_where_the_whole_one_does() -> None:
    first, second = order(1), order(2, day=5, price="300")
    whole = history(
        flow("1000"), bought(first), sold(first, "150", day=4), bought(second),
        sold(second, "290", day=6),
    )  # fmt: skip
    before = replace(whole, end_at=BEGIN + timedelta(days=3), movements=whole.movements[:2])
    after = replace(
        whole,
        begin_at=BEGIN + timedelta(days=3),
        cash_at_begin=Decimal(900),
        open_at_begin=[first],
        movements=whole.movements[2:],
    )
    early, late, all_of_it = map(account_statistics, (before, after, whole))
    assert early.equity_at_end == late.equity_at_begin == 1000
    assert late.equity_at_end == all_of_it.equity_at_end
    assert late.total_return == all_of_it.total_return
    assert late.trades == all_of_it.trades


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
