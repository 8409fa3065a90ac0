from decimal import Decimal

import pytest
from app.domain.money import (
    EXACT,
    LIMIT,
    QUANTUM,
    add,
    cash_value,
    format_amount,
    is_amount,
    is_positive_amount,
    subtract,
)
from hypothesis import given
from hypothesis import strategies as st

amounts = st.integers(min_value=0, max_value=10**30 - 1).map(lambda n: EXACT.scaleb(n, -20))


@pytest.mark.parametrize(
    "text",
    ["NaN", "sNaN", "Infinity", "-Infinity", "-1", "-0", "10000000000", "1e400", "1e-21",
     "1E+999999", "1E-999999", "0.123456789012345678901"],
)  # fmt: skip
def test_what_no_column_can_hold_is_no_amount(text: str) -> None:
    assert not is_amount(Decimal(text))


@pytest.mark.parametrize(
    "text",
    ["0", "1", "9999999999.99999999999999999999", "1e-20", "0.1000000000000000000000000", "1E+9"],
)
def test_what_a_column_holds_exactly_is_an_amount(text: str) -> None:
    assert is_amount(Decimal(text))


def test_zero_is_an_amount_but_not_a_positive_one() -> None:
    assert is_amount(Decimal(0))
    assert not is_positive_amount(Decimal(0))
    assert is_positive_amount(QUANTUM)


def test_a_cash_value_is_rounded_once_half_away_from_zero() -> None:
    assert cash_value(Decimal("2.5"), QUANTUM) == 3 * QUANTUM
    assert cash_value(Decimal("0.5"), QUANTUM) == QUANTUM
    assert cash_value(Decimal("0.4999"), QUANTUM) == 0


@given(price=amounts, quantity=amounts)
def test_a_cash_value_is_the_exact_product_to_within_half_a_quantum(
    price: Decimal, quantity: Decimal
) -> None:
    exact = int(EXACT.scaleb(price, 20)) * int(
        EXACT.scaleb(quantity, 20)
    )  # integers: no context involved
    rounded, rest = divmod(exact, 10**20)
    expected = rounded + (1 if 2 * rest >= 10**20 else 0)
    value = cash_value(price, quantity)
    assert value.as_tuple().exponent == -20
    assert int("".join(map(str, value.as_tuple().digits))) == expected


@given(left=amounts, right=amounts)
def test_sums_and_differences_never_lose_a_digit(left: Decimal, right: Decimal) -> None:
    assert subtract(add(left, right), right) == left


@given(amount=amounts)
def test_money_is_written_with_exactly_twenty_decimals_and_reads_back_the_same(
    amount: Decimal,
) -> None:
    text = format_amount(amount)
    assert "E" not in text
    assert len(text.partition(".")[2]) == 20
    assert Decimal(text) == amount < LIMIT
