from decimal import Decimal

import pytest
from app.domain.instruments import (
    Category,
    Instrument,
    LotRuleBroken,
    Symbol,
    Venue,
    check_lot,
    nearest_lot,
)
from app.domain.money import EXACT
from hypothesis import given
from hypothesis import strategies as st


def instrument(
    *,
    step: str = "0.001",
    least: str = "0.002",
    most: str | None = "5.0005",
    amount: str | None = "5",
) -> Instrument:
    return Instrument(
        venue=Venue.BYBIT,
        category=Category.SPOT,
        symbol=Symbol("BTCUSDT"),
        base="BTC",
        quote="USDT",
        status="Trading",
        tick_size=Decimal("0.1"),
        lot_step=Decimal(step),
        quantity_min=Decimal(least),
        quantity_max=None if most is None else Decimal(most),
        amount_min=None if amount is None else Decimal(amount),
    )


@pytest.mark.parametrize(
    ("quantity", "rule", "nearest"),
    [
        ("0.0104", "the quantity has to be a multiple of the lot step 0.001", "0.010"),
        ("0.0105", "the quantity has to be a multiple of the lot step 0.001", "0.011"),
        ("0.001", "the quantity has to be at least 0.002", "0.005"),
        ("0.0001", "the quantity has to be a multiple of the lot step 0.001", "0.005"),
        ("6", "the quantity has to be at most 5.0005", "5.000"),
        ("0.004", "price times quantity has to be at least 5 USDT", "0.005"),
    ],
)
def test_a_refused_quantity_is_told_the_rule_and_the_nearest_one_that_is_allowed(
    quantity: str, rule: str, nearest: str
) -> None:
    with pytest.raises(LotRuleBroken) as raised:
        check_lot(instrument(), quantity=Decimal(quantity), price=Decimal("1000.5"))
    assert str(raised.value) == f"BTCUSDT: {rule}; the nearest allowed quantity is {nearest}"
    assert raised.value.nearest == Decimal(nearest)


def test_where_no_quantity_is_allowed_that_is_said() -> None:
    with pytest.raises(LotRuleBroken, match="no quantity is allowed at this price") as raised:
        check_lot(instrument(most="1"), quantity=Decimal(1), price=Decimal("0.5"))
    assert raised.value.nearest is None


AMOUNTS = st.decimals("0.0001", "20", places=4)


@given(quantity=AMOUNTS, step=AMOUNTS, least=AMOUNTS, most=AMOUNTS | st.none(),
       amount=AMOUNTS | st.none(), price=AMOUNTS)  # fmt: skip
def test_the_nearest_allowed_quantity_is_allowed_and_an_allowed_one_is_the_nearest(
    *,
    quantity: Decimal,
    step: Decimal,
    least: Decimal,
    most: Decimal | None,
    amount: Decimal | None,
    price: Decimal,
) -> None:
    rules = instrument(
        step=str(step),
        least=str(least),
        most=None if most is None else str(most),
        amount=None if amount is None else str(amount),
    )
    nearest = nearest_lot(rules, quantity=quantity, price=price)
    try:
        check_lot(rules, quantity=quantity, price=price)
    except LotRuleBroken:
        assert nearest != quantity
    else:
        assert nearest == quantity
    if nearest is None:
        return
    check_lot(rules, quantity=nearest, price=price)
    closer = EXACT.add(nearest, step if nearest < quantity else -step)
    if closer > 0 and abs(EXACT.subtract(closer, quantity)) < abs(
        EXACT.subtract(nearest, quantity)
    ):
        with pytest.raises(LotRuleBroken):
            check_lot(rules, quantity=closer, price=price)
