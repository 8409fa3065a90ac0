from decimal import Decimal

import pytest
from app.domain.instruments import Category, Symbol
from app.domain.money import DECIMALS, LIMIT, is_positive_amount
from app.domain.quotes import PRICE_TEXT, Quote, parse_price, plain_text
from hypothesis import given
from hypothesis import strategies as st

amounts = st.decimals(
    min_value=Decimal(1).scaleb(-DECIMALS),
    max_value=LIMIT - 1,
    places=DECIMALS,
    allow_nan=False,
    allow_infinity=False,
)
price_texts = st.from_regex(PRICE_TEXT, fullmatch=True)


@given(amounts)
def test_every_price_that_can_be_booked_is_read_to_the_last_digit(amount: Decimal) -> None:
    assert parse_price(format(amount, "f")) == amount


@given(st.text() | price_texts)
def test_any_text_is_either_a_price_that_can_be_booked_or_none(text: str) -> None:
    price = parse_price(text)
    if price is not None:
        assert is_positive_amount(price)
        assert price == Decimal(text)


@given(st.integers() | st.floats() | st.none() | st.booleans() | st.binary() | st.lists(st.text()))
def test_nothing_but_a_text_is_a_price(value: object) -> None:
    assert parse_price(value) is None


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "NaN", "Infinity", "-1", "+1", "0", "0.0", "0e5", ".5", "5.", "1,5", "1_000"],
        *["0x10", "1e30", "1e999", "1e-999", "1e9999", "10000000000", "0.000000000000000000001"],
        *["1\n", "\n1", "٣", "1e", "e1", "9" * 41, "--1", "1 2", "1\0"],
    ],
)
def test_no_order_can_be_booked_at(text: str) -> None:
    assert parse_price(text) is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("63855", "63855"),
        ("83024.60", "83024.60"),
        ("0.0000007", "0.0000007"),
        ("7E-7", "0.0000007"),
        ("1.50e-3", "0.00150"),
        ("1e+2", "100"),
        ("9999999999.99999999999999999999", "9999999999.99999999999999999999"),
        ("0.5" + "0" * 30, "0.5" + "0" * 30),
    ],
)
def test_the_venues_text_is_shown_as_sent_but_for_exponents(text: str, plain: str) -> None:
    price = parse_price(text)
    assert price == Decimal(plain)
    assert plain_text(text) == plain


@given(price_texts)
def test_a_plain_text_is_the_same_number_without_an_exponent(text: str) -> None:
    plain = plain_text(text)
    assert Decimal(plain) == Decimal(text)
    assert "e" not in plain.lower()


@pytest.mark.parametrize(
    ("price", "text"), [("0", "0"), ("-1", "-1"), ("1e10", "10000000000"), ("1", "2")]
)
def test_a_quote_cannot_be_born_without_a_usable_price(price: str, text: str) -> None:
    with pytest.raises(AssertionError):
        Quote(
            venue="Bybit",
            symbol=Symbol("BTCUSDT"),
            category=Category.SPOT,
            price=Decimal(price),
            price_text=text,
            upstream_time_ms=1,
        )
