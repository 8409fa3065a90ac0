"""What an account's history amounts to, by example."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from app.domain.statistics import (
    account_statistics,
    annual_return,
    calmar,
    sharpe,
    sortino,
    volatility,
)
from tests.unit.histories import BTC, ETH, bought, flow, history, order, reason, sold, value


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
        assert "with a return, are needed, and there are 5 and 5" in reason(measure)
    assert value(found.total_return) > 0
    assert "at a loss" in reason(found.trades.profit_factor)
    assert "at a loss" in reason(found.trades.average_loss)


def test_one_lucky_day_in_a_year_says_nothing_about_risk_either() -> None:
    one = order(1)
    found = account_statistics(
        history(flow("1000"), bought(one), sold(one, "200", day=1), days=365)
    )
    assert reason(found.sharpe).endswith("and there are 365 and 1")


def test_enough_days_have_every_ratio() -> None:
    movements = [flow("1000")]
    for number in range(40):
        one = order(number, day=number)
        movements += [bought(one), sold(one, "105" if number % 3 else "97", day=number + 0.5)]
    found = account_statistics(history(*movements, days=40))
    returns = [day.return_ for day in found.days]
    defined = [each for each in returns if isinstance(each, Decimal)]
    assert len(defined) == 40
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


def test_no_measure_makes_a_number_of_no_returns() -> None:
    for measure in (annual_return, calmar, sharpe, sortino, volatility):
        assert reason(measure([], periods_per_year=365)) == "there are no returns"


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
