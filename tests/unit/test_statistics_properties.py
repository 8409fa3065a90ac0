"""What holds of the statistics of every history."""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics import (
    AccountStatistics,
    History,
    Measure,
    Movement,
    OpenOrder,
    account_statistics,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.histories import BEGIN, BTC, ETH, bought, flow, history, order, sold

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
                held[movement.order.id] = movement.amount.copy_negate()
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
