"""A page of orders is written without models, to the letter as the models write one order."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from app.domain.instruments import Symbol
from app.domain.money import EXACT
from app.domain.orders import Order, OrderId, OrderStatus
from app.domain.users import UserId
from app.schemas.common import format_instant
from app.schemas.order import OrderOut, order_members
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

amounts = st.integers(min_value=1, max_value=10**30 - 1).map(lambda n: EXACT.scaleb(n, -20))
plain = st.sampled_from([Decimal(1), Decimal("0.1"), Decimal("1E+3"), Decimal("1E-20")])
instants = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - the zone is drawn
    max_value=datetime(2099, 12, 31),  # noqa: DTZ001 - and so no instant leaves what goblin takes
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)


@given(
    prices=st.tuples(amounts | plain, st.none() | amounts | plain),
    quantity=amounts | plain,
    symbol=st.text(min_size=1, max_size=10),
    client_order_id=st.none() | st.from_regex(r"\A[A-Za-z0-9_-]{1,36}\Z"),
    at=instants,
)
def test_a_page_writes_an_order_to_the_letter_as_its_model_does(
    prices: tuple[Decimal, Decimal | None],
    quantity: Decimal,
    symbol: str,
    client_order_id: str | None,
    at: datetime,
) -> None:
    buy_price, sell_price = prices
    order = Order(
        id=OrderId(7),
        user_id=UserId(77),
        epoch=1,
        client_order_id=client_order_id,
        symbol=Symbol(symbol),
        status=OrderStatus.ACTIVE if sell_price is None else OrderStatus.CLOSED,
        quantity=quantity,
        buy_price=buy_price,
        sell_price=sell_price,
        created_at=at,
        updated_at=at,
    )
    by_model = OrderOut.of(order).model_dump_json(exclude_none=True)
    assert to_json(order_members(order)).decode() == by_model


@given(at=instants)
def test_an_instant_is_written_in_utc_wherever_it_was_taken(at: datetime) -> None:
    assert format_instant(at) == at.astimezone(UTC).isoformat().replace("+00:00", "Z")
