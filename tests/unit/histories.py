"""Histories of accounts, made by hand, and how to read a measure."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.instruments import Symbol
from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics import History, Measure, Movement, OpenOrder, Undefined

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
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
        amount=one.cost.copy_negate(),  # a minus would round it to 28 digits
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
