from datetime import UTC, datetime
from decimal import Decimal

import pytest
from app.domain.instruments import Symbol
from app.domain.money import EXACT, LIMIT, QUANTUM, cash_value, subtract
from app.domain.orders import Order, OrderId, OrderStatus
from app.domain.users import BalanceLimitExceeded, InsufficientBalance, UserId, credit, debit
from hypothesis import assume, given
from hypothesis import strategies as st

TOP = Decimal("9999999999.99999999999999999999")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
positive = st.integers(min_value=1, max_value=10**30 - 1).map(lambda n: EXACT.scaleb(n, -20))
balances = st.integers(min_value=0, max_value=10**30 - 1).map(lambda n: EXACT.scaleb(n, -20))


def order(*, quantity: Decimal, buy: Decimal, sell: Decimal | None = None) -> Order:
    return Order(
        id=OrderId(1),
        user_id=UserId(1),
        epoch=1,
        symbol=Symbol("BTCUSDT"),
        status=OrderStatus.ACTIVE if sell is None else OrderStatus.CLOSED,
        quantity=quantity,
        buy_price=buy,
        sell_price=sell,
        created_at=NOW,
        updated_at=NOW,
    )


@given(balance=balances, price=positive, quantity=positive)
def test_buying_and_closing_at_one_price_leaves_the_balance_as_it_was(
    balance: Decimal, price: Decimal, quantity: Decimal
) -> None:
    cost = cash_value(price, quantity)
    assume(cost <= balance)
    assert credit(debit(balance, cost), cost) == balance


@given(balance=balances, buy=positive, sell=positive, quantity=positive)
def test_the_shown_profit_is_what_the_balance_gained_to_the_last_digit(
    balance: Decimal, buy: Decimal, sell: Decimal, quantity: Decimal
) -> None:
    closed = order(quantity=quantity, buy=buy, sell=sell)
    assume(closed.cost <= balance)
    assert closed.proceeds is not None
    after_buying = debit(balance, closed.cost)
    assume(after_buying + closed.proceeds < LIMIT)
    assert subtract(credit(after_buying, closed.proceeds), balance) == closed.profit


@given(buy=positive, sell=positive, quantity=st.integers(1, 10**9).map(Decimal))
def test_profit_is_the_price_change_times_the_quantity_where_nothing_was_rounded(
    buy: Decimal, sell: Decimal, quantity: Decimal
) -> None:
    closed = order(quantity=quantity, buy=buy, sell=sell)
    change = int(EXACT.scaleb(sell, 20)) - int(EXACT.scaleb(buy, 20))
    assert int(EXACT.scaleb(closed.profit, 20)) == change * int(quantity)


def test_an_active_order_shows_no_sale_and_no_profit() -> None:
    active = order(quantity=Decimal("0.5"), buy=Decimal(100))
    assert active.cost == 50
    assert active.proceeds is active.price_change is None
    assert active.profit == 0


def test_an_order_is_born_valid() -> None:
    with pytest.raises(AssertionError):
        order(quantity=Decimal(0), buy=Decimal(1))
    with pytest.raises(AssertionError):
        order(quantity=Decimal(1), buy=Decimal("NaN"))


def test_a_balance_is_never_overdrawn_and_never_reaches_the_limit() -> None:
    with pytest.raises(InsufficientBalance, match="insufficient balance"):
        debit(Decimal(1), Decimal(1) + QUANTUM)
    assert debit(Decimal(1), Decimal(1)) == 0
    with pytest.raises(BalanceLimitExceeded, match="balance limit exceeded"):
        credit(TOP, QUANTUM)
    assert credit(subtract(TOP, QUANTUM), QUANTUM) == TOP
