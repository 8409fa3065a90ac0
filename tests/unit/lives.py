"""Random lives of accounts, as a server would tell them to a report."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.instruments import Category, Symbol, Venue
from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics import History, Mark, Movement, OpenOrder, account_statistics
from app.schemas.statistics import StatisticsOut
from goblin import models
from goblin.decoding import decode, read_json
from goblin.reporting.data import ReportData

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Life:
    """A random life of an account, as its ledger and orders tell it.

    `is_marked`: of most symbols a close is stored at most midnights.
    """

    def __init__(
        self, seed: int, *, hours: int, is_cut: bool = False, is_marked: bool = False
    ) -> None:
        self.rng, self.market = random.Random(seed), random.Random(seed)
        self.is_marked = is_marked
        self.marks: list[Mark] = []
        self.movements: list[Movement] = []
        self.orders: dict[int, models.Order] = {}
        self.held: dict[str, OpenOrder] = {}
        self.prices = dict.fromkeys(SYMBOLS, Decimal(100))
        self.cash = Decimal(0)
        self.move(0, Cause.DEPOSIT, Decimal(10_000))
        for hour in range(1, hours, 3):
            self.live(hour)
            if hour % 24 == 22:
                self.mark(hour + 2)
        self.begin_at = BEGIN + timedelta(hours=hours / 2 if is_cut else 0)
        self.end_at = BEGIN + timedelta(hours=hours)

    def move(self, hour: int, cause: Cause, amount: Decimal, order: OpenOrder | None = None,
             price: Decimal | None = None) -> None:  # fmt: skip
        at = BEGIN + timedelta(hours=hour)
        self.cash += amount
        self.movements.append(Movement(at=at, cause=cause, amount=amount, order=order, price=price))

    def live(self, hour: int) -> None:
        symbol = self.rng.choice(SYMBOLS)
        price = self.prices[symbol] * Decimal(self.rng.randrange(9700, 10_330)) / 10_000
        self.prices[symbol] = price = round(price, 4)
        held = self.held.pop(symbol, None)
        if held is not None:
            self.close(hour, held, price)
        elif self.rng.random() < 0.1:
            amount = Decimal(self.rng.randrange(-500, 900))
            cause = Cause.DEPOSIT if amount > 0 else Cause.WITHDRAWAL
            self.move(hour, cause, amount or Decimal(1))
        else:
            self.open(hour, symbol, price)

    def mark(self, hour: int) -> None:
        prices = {
            Symbol(symbol): round(price * self.market.randrange(9500, 10_500) / 10_000, 4)
            for symbol, price in self.prices.items()
            if self.is_marked and self.market.random() < 0.8
        }
        self.marks.append(Mark(at=BEGIN + timedelta(hours=hour), prices=prices))

    def open(self, hour: int, symbol: str, price: Decimal) -> None:
        at = BEGIN + timedelta(hours=hour)
        wanted = Decimal(self.rng.randrange(1, 2000)) / price
        order = OpenOrder(
            id=OrderId(len(self.orders) + 1), symbol=Symbol(symbol), opened_at=at,
            buy_price=price, quantity=round(wanted, 8),
        )  # fmt: skip
        self.held[symbol] = order
        self.move(hour, Cause.ORDER_OPENED, -order.cost, order, price)
        self.orders[order.id] = models.Order(
            id=order.id, symbol=symbol, status=models.ACTIVE, quantity=order.quantity,
            buy_price=price, cost=order.cost, profit=Decimal(0), user_id=1, created_at=at,
            updated_at=at,
        )  # fmt: skip

    def close(self, hour: int, held: OpenOrder, price: Decimal) -> None:
        proceeds = price * held.quantity
        self.move(hour, Cause.ORDER_CLOSED, proceeds, held, price)
        self.orders[held.id] = replace(
            self.orders[held.id], status=models.CLOSED, sell_price=price, proceeds=proceeds,
            profit=proceeds - held.cost, updated_at=BEGIN + timedelta(hours=hour),
        )  # fmt: skip

    def history(self, until: datetime) -> History:
        """What the server would have read."""
        before = [m for m in self.movements if m.at < self.begin_at]
        opened = {m.order.id: m.order for m in before if m.order and m.cause is Cause.ORDER_OPENED}
        closed = {m.order.id for m in before if m.order and m.cause is Cause.ORDER_CLOSED}
        return History(
            begin_at=self.begin_at,
            end_at=until,
            cash_at_begin=sum((m.amount for m in before), Decimal(0)),
            open_at_begin=[order for number, order in opened.items() if number not in closed],
            movements=[m for m in self.movements if self.begin_at <= m.at < until],
            marks=[mark for mark in self.marks if mark.at <= until],
        )

    def data(self, symbol: str | None = None) -> ReportData:
        """What `fetch_report` would have made of it."""
        history = self.history(self.end_at)
        one = None if symbol is None else Symbol(symbol)
        told = StatisticsOut.of(
            account_statistics(history, symbol=one),
            epoch=1,
            venue=Venue.BYBIT,
            category=Category.SPOT,
        )
        return ReportData(
            account="Ada",
            symbol=symbol,
            statistics=decode(
                models.Statistics,
                read_json(told.model_dump_json(by_alias=True, exclude_none=True)),
            ),
            orders=[
                order
                for order in self.orders.values()
                if (order.is_active or order.updated_at >= self.begin_at)
                and symbol in {None, order.symbol}
            ],
            entries=[_entry(number, m) for number, m in enumerate(history.movements, start=1)],
        )


def _entry(number: int, movement: Movement) -> models.LedgerEntry:
    return models.LedgerEntry(
        id=number, transfer_id=number, cause=movement.cause, kind="cash", asset="USD", epoch=1,
        version=number, amount=movement.amount, balance_before=Decimal(0),
        balance_after=Decimal(0), order_id=movement.order.id if movement.order else None,
        event_at=movement.at, created_at=movement.at,
    )  # fmt: skip
