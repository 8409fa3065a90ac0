"""Open orders at the closes of candles: by example and by property."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from app.domain.candles import Interval, SeriesId, Span, open_of
from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.statistics import (
    ClosingSeries,
    History,
    Mark,
    OpenOrder,
    TooManyMarks,
    account_statistics,
    plan_marks,
)
from app.domain.statistics.marks import CLOSES_MAX, Close
from app.domain.statistics.trades import money_sum
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.histories import BEGIN, BTC, ETH, bought, flow, history, order, reason, sold, value
from tests.unit.test_statistics_properties import exactly, histories

DAY = timedelta(days=1)


def mark(day: float, prices: Mapping[Symbol, str | int]) -> Mark:
    return Mark(
        at=BEGIN + timedelta(days=day), prices={s: Decimal(price) for s, price in prices.items()}
    )


def marked(given_history: History, *marks: Mark) -> History:
    return replace(given_history, marks=marks)


def test_an_order_is_worth_what_each_close_says_until_it_is_sold() -> None:
    one = order(1, day=0.5, price="100")
    found = account_statistics(
        marked(
            history(flow("1000"), bought(one), sold(one, "120", day=3.5), days=5),
            mark(1, {BTC: 150}), mark(2, {BTC: 50}), mark(3, {BTC: 130}), mark(4, {BTC: 90}),
            mark(5, {BTC: 80}),
        )
    )  # fmt: skip
    days = [
        (day.on.day, float(day.marked_equity), float(day.equity), value(day.return_))
        for day in found.days
    ]
    assert days == [
        (1, 1050, 1000, 0.05),
        (2, 950, 1000, pytest.approx(-100 / 1050, rel=1e-15)),
        (3, 1030, 1000, pytest.approx(80 / 950, rel=1e-15)),
        (4, 1020, 1020, pytest.approx(-10 / 1030, rel=1e-15)),
    ], "the close at midnight is of the day before, and after the sale the market is others'"
    assert value(found.max_drawdown) == pytest.approx(100 / 1050, rel=1e-15)
    assert value(found.total_return) == pytest.approx(0.02, rel=1e-15)
    assert found.trades.profit == 20
    assert found.marked_equity_at_begin == 0
    assert found.marked_equity_at_end == found.equity_at_end == 1020
    invested = (0.5 * 0.1 + 150 / 1050 + 50 / 950 + 0.5 * 130 / 1030) / 5
    assert value(found.exposure) == pytest.approx(invested, rel=1e-14)
    [btc] = found.symbols
    assert (btc.marked, btc.unmarked_count, btc.unmarked) == (3, 0, [])
    assert value(btc.buy_and_hold) == value(found.buy_and_hold) == pytest.approx(-0.2, rel=1e-15)
    assert value(found.buy_and_hold_max_drawdown) == pytest.approx(100 / 150, rel=1e-15)


def test_where_no_candle_is_stored_nothing_moves_and_it_is_said() -> None:
    btc, eth = order(1, day=0.5), order(2, day=1.5, price="10", symbol=ETH)
    found = account_statistics(
        marked(
            history(flow("1000"), bought(btc), bought(eth), days=6),
            mark(1, {}), mark(2, {BTC: 110}), mark(3, {BTC: 121}), mark(4, {}), mark(5, {}),
            mark(6, {BTC: 133}),
        )
    )  # fmt: skip
    assert [(day.on.day, float(day.marked_equity)) for day in found.days] == [
        (1, 1000), (2, 1010), (3, 1021), (6, 1033),
    ]  # fmt: skip
    first, second = found.symbols
    assert (first.symbol, first.marked, first.unmarked_count) == (BTC, 3, 3)
    assert first.unmarked == [
        Span(begin_at=BEGIN, end_at=BEGIN + DAY),
        Span(begin_at=BEGIN + 3 * DAY, end_at=BEGIN + 5 * DAY),
    ]
    assert (second.symbol, second.marked, second.unmarked_count) == (ETH, 0, 5)
    assert second.unmarked == [Span(begin_at=BEGIN + DAY, end_at=BEGIN + 6 * DAY)]
    assert "only one price" in reason(second.buy_and_hold)
    assert "only one price of ETHUSDT" in reason(found.buy_and_hold)
    assert second.prices is not None
    assert second.prices.first == 10
    assert second.prices.last_at == eth.opened_at


def test_holding_puts_an_equal_part_into_each_symbol_at_its_first_price() -> None:
    btc, eth = order(1, day=0.5), order(2, day=2.5, price="10", symbol=ETH)
    found = account_statistics(
        marked(
            history(flow("1000"), bought(btc), sold(btc, "105", day=0.75), bought(eth), days=4),
            mark(1, {BTC: 110}), mark(2, {BTC: 50}), mark(3, {BTC: 60, ETH: 12}),
            mark(4, {BTC: 70, ETH: 30}),
        )
    )  # fmt: skip
    assert value(found.buy_and_hold) == pytest.approx((0.7 + 3) / 2 - 1, rel=1e-15)
    fallen = 1 - (0.5 + 1) / (1.1 + 1)
    assert value(found.buy_and_hold_max_drawdown) == pytest.approx(fallen, rel=1e-15)
    alone = account_statistics(
        marked(history(flow("1000"), bought(btc), days=1), mark(1, {BTC: 110})), symbol=ETH
    )
    assert "no order was opened" in reason(alone.buy_and_hold)


def test_a_mark_at_the_instant_of_a_purchase_was_before_it() -> None:
    one = order(1, day=1, price="100")
    found = account_statistics(
        marked(history(bought(one), days=2), mark(1, {BTC: 500}), mark(2, {BTC: 110}))
    )
    assert found.marked_equity_at_end - found.equity_at_end == 10
    assert found.symbols[0].marked == 1
    begun = account_statistics(
        History(
            begin_at=BEGIN + DAY,
            end_at=BEGIN + 3 * DAY,
            cash_at_begin=Decimal(1),
            open_at_begin=[one],
            movements=[],
            marks=[mark(1, {BTC: 500})],
        )
    )
    assert begun.marked_equity_at_begin == begun.marked_equity_at_end == 101


SERIES = [
    ClosingSeries(id=SeriesId(number), symbol=symbol, interval=interval)
    for number, (symbol, interval) in enumerate(
        [
            (BTC, Interval.MINUTE),
            (BTC, Interval.DAY),
            (BTC, Interval.MONTH),
            (ETH, Interval.HOURS_4),
        ]
    )
]


def test_the_close_of_a_day_is_that_of_any_stored_candle_that_ends_with_it() -> None:
    plan = plan_marks(
        {BTC: datetime(2026, 1, 30, 12, tzinfo=UTC), ETH: datetime(2026, 1, 31, tzinfo=UTC)},
        datetime(2026, 2, 1, tzinfo=UTC),
        SERIES,
        interval=None,
    )
    assert plan.interval is Interval.DAY
    wanted = [(int(number), f"{open_time:%m-%d %H:%M}") for number, open_time in plan.wanted()]
    assert sorted(wanted) == [
        (0, "01-30 23:59"), (0, "01-31 23:59"), (1, "01-30 00:00"), (1, "01-31 00:00"),
        (2, "01-01 00:00"), (3, "01-31 20:00"),
    ]  # fmt: skip
    closes = [
        Close(number, open_time, Decimal(int(number) + 1)) for number, open_time in plan.wanted()
    ]
    first, second = plan.marks(closes)
    assert [first.at.day, second.at.day] == [31, 1]
    assert first.prices == {BTC: Decimal(2)}, "a day's own close comes first"
    assert second.prices == {BTC: Decimal(2), ETH: Decimal(4)}
    without_days = [close for close in closes if close.series_id != 1]
    assert plan.marks(without_days)[1].prices[BTC] == 1, "then that of the shortest"
    huge = [close._replace(price=Decimal(10) ** 10) for close in closes]
    assert [one.prices for one in plan.marks(huge)] == [{}, {}]
    assert plan_marks({}, BEGIN, [], interval=None).marks([]) == []


def test_too_many_closes_are_refused_or_become_those_of_longer_candles() -> None:
    years = {Symbol(f"S{number}"): datetime(2016, 1, 1, tzinfo=UTC) for number in range(100)}
    series = [
        ClosingSeries(id=SeriesId(number), symbol=symbol, interval=Interval.HOUR)
        for number, symbol in enumerate(years)
    ]
    plan = plan_marks(years, datetime(2026, 1, 1, tzinfo=UTC), series, interval=None)
    assert plan.interval is Interval.MONTH, "522 weeks were too many as well"
    assert sum(1 for _ in plan.wanted()) == 100 * 120 < CLOSES_MAX
    with pytest.raises(TooManyMarks, match=r"^365300 closes .* interval 1d, and at most 50000"):
        plan_marks(years, datetime(2026, 1, 1, tzinfo=UTC), series, interval=Interval.DAY)
    with pytest.raises(TooManyMarks, match=r"interval 1m, .* longer interval, one symbol"):
        plan_marks(
            {BTC: BEGIN}, BEGIN + timedelta(days=36), [], interval=Interval.MINUTE
        )  # none is stored, and each would be told


@st.composite
def marked_histories(draw: st.DrawFn) -> History:
    """Whatever can happen, with marks of some symbols at each midnight."""
    found = draw(histories())
    rng = random.Random(draw(st.integers(0, 2**32)))  # months of draws would take seconds
    marks = []
    at = BEGIN
    while (at := at + DAY) <= found.end_at:
        known = rng.choice([[], [BTC], [ETH], [BTC, ETH]])
        prices = {s: Decimal(rng.randrange(1, 10**22)).scaleb(-18) for s in known}
        marks.append(Mark(at=at, prices=prices))
    return replace(found, marks=marks)


def last_value(one: OpenOrder, marks: Sequence[Mark]) -> Fraction:
    """What it is worth, by other arithmetic than that of the code under test."""
    prices = [
        m.prices[one.symbol] for m in marks if one.symbol in m.prices and m.at > one.opened_at
    ]
    exact = Fraction(prices[-1] if prices else one.buy_price) * Fraction(one.quantity)
    return Fraction(int(exact * 10**20 + Fraction(1, 2)), 10**20)


@settings(max_examples=60, deadline=None)
@given(given_history=marked_histories())
def test_marks_move_the_curve_and_no_cent_of_what_was_booked(given_history: History) -> None:
    found = account_statistics(given_history)
    plain = account_statistics(replace(given_history, marks=()))
    for name in ("equity_at_begin", "equity_at_end", "flow", "open_cost", "trades"):
        assert getattr(found, name) == getattr(plain, name), name
    opened = {m.order.id: m.order for m in given_history.movements if m.order is not None}
    for movement in given_history.movements:
        if movement.cause is Cause.ORDER_CLOSED and movement.order is not None:
            del opened[movement.order.id]
    worth = sum((last_value(one, given_history.marks) for one in opened.values()), Fraction(0))
    cash = exactly(movement.amount for movement in given_history.movements)
    assert Fraction(found.marked_equity_at_end) == cash + worth
    ends = [m.at for m in given_history.marks]
    held = sum(
        sum(1 for at in ends if one.opened_at < at <= closed_at)
        for one, closed_at in lives(given_history)
    )
    assert sum(each.marked + each.unmarked_count for each in found.symbols) == held
    if found.days:
        assert found.days[-1].marked_equity == found.marked_equity_at_end


def lives(given_history: History) -> list[tuple[OpenOrder, datetime]]:
    """Every order, and until when it was held."""
    closed = {
        m.order.id: m.at
        for m in given_history.movements
        if m.order is not None and m.cause is Cause.ORDER_CLOSED
    }
    return [
        (m.order, closed.get(m.order.id, given_history.end_at))
        for m in given_history.movements
        if m.order is not None and m.cause is Cause.ORDER_OPENED
    ]


def cut(given_history: History, at: datetime) -> tuple[History, History]:
    """The same life in two parts, as the database gives them."""
    before = [m for m in given_history.movements if m.at < at]
    after = [m for m in given_history.movements if m.at >= at]
    held = [o for o, until in lives(given_history) if o.opened_at < at and until >= at]
    closed_before = {m.order.id for m in before if m.cause is Cause.ORDER_CLOSED and m.order}
    return (
        replace(
            given_history, end_at=at, movements=before,
            marks=[m for m in given_history.marks if m.at <= at],
        ),
        replace(
            given_history, begin_at=at, movements=after,
            cash_at_begin=money_sum([m.amount for m in before]),
            open_at_begin=[one for one in held if one.id not in closed_before],
        ),
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    given_history=marked_histories(),
    part=st.integers(0, 1000),
    interval=st.sampled_from([None, Interval.DAY]),
)
def test_the_end_of_one_part_is_the_beginning_of_the_next_marked_as_well(
    given_history: History, part: int, interval: Interval | None
) -> None:
    at = BEGIN + (given_history.end_at - BEGIN) * part / 1000
    at = at if interval is None else open_of(at, interval)
    early, late = map(account_statistics, cut(given_history, at))
    whole = account_statistics(given_history)
    assert early.marked_equity_at_end == late.marked_equity_at_begin
    assert late.marked_equity_at_end == whole.marked_equity_at_end
    returns = [early.total_return, late.total_return, whole.total_return]
    if all(isinstance(each, Decimal) for each in returns):
        first, second, both = (1 + Fraction(each) for each in returns if isinstance(each, Decimal))
        assert abs(first * second - both) <= abs(both) / 10**25
