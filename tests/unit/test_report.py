"""What a report says is what the statistics say, whatever the account lived through."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType

import pytest
from app.domain.instruments import Category, Symbol, Venue
from app.domain.ledger import Cause
from app.domain.orders import OrderId
from app.domain.statistics import History, Movement, OpenOrder, account_statistics
from app.schemas.statistics import StatisticsOut
from goblin import models
from goblin.decoding import decode, read_json
from goblin.reporting import write_report
from goblin.reporting.charts.account import POINTS_MAX, account_chart
from goblin.reporting.charts.months import months_chart
from goblin.reporting.curve import curve, thinned
from goblin.reporting.data import Assignment, Execution, ReportData
from goblin.reporting.figures import figures, strategies, warnings
from goblin.reporting.intervals import CANDLES_WANTED, SECONDS, window
from goblin.reporting.page import embedded_json
from goblin.reporting.rendering import ReportPackageMissing, vl_convert
from goblin.reporting.text import cents, duration, money, percent, quantity

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Life:
    """A random life of an account, as its ledger and orders tell it."""

    def __init__(self, seed: int, *, hours: int, is_cut: bool = False) -> None:
        self.rng = random.Random(seed)
        self.movements: list[Movement] = []
        self.orders: dict[int, models.Order] = {}
        self.held: dict[str, OpenOrder] = {}
        self.prices = dict.fromkeys(SYMBOLS, Decimal(100))
        self.cash = Decimal(0)
        self.move(0, Cause.DEPOSIT, Decimal(10_000))
        for hour in range(1, hours, 3):
            self.live(hour)
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

    def data(self) -> ReportData:
        """What `fetch_report` would have made of it."""
        before = [m for m in self.movements if m.at < self.begin_at]
        inside = [m for m in self.movements if self.begin_at <= m.at < self.end_at]
        opened = {m.order.id: m.order for m in before if m.order and m.cause is Cause.ORDER_OPENED}
        closed = {m.order.id for m in before if m.order and m.cause is Cause.ORDER_CLOSED}
        history = History(
            begin_at=self.begin_at,
            end_at=self.end_at,
            cash_at_begin=sum((m.amount for m in before), Decimal(0)),
            open_at_begin=[order for number, order in opened.items() if number not in closed],
            movements=inside,
        )
        told = StatisticsOut.of(
            account_statistics(history), epoch=1, venue=Venue.BYBIT, category=Category.SPOT
        )
        return ReportData(
            account="Ada",
            symbol=None,
            statistics=decode(
                models.Statistics,
                read_json(told.model_dump_json(by_alias=True, exclude_none=True)),
            ),
            orders=[order for order in self.orders.values() if order.id not in closed],
            entries=[_entry(number, m) for number, m in enumerate(inside, start=1)],
        )


def _entry(number: int, movement: Movement) -> models.LedgerEntry:
    return models.LedgerEntry(
        id=number, transfer_id=number, cause=movement.cause, kind="cash", asset="USD", epoch=1,
        version=number, amount=movement.amount, balance_before=Decimal(0),
        balance_after=Decimal(0), order_id=movement.order.id if movement.order else None,
        event_at=movement.at, created_at=movement.at,
    )  # fmt: skip


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_charts_end_where_the_server_says_to_the_last_digit(seed: int, *, is_cut: bool) -> None:
    data = Life(seed, hours=24 * 60, is_cut=is_cut).data()
    points = curve(data)
    found = data.statistics
    assert len(points) == len(data.entries) + 2
    assert points[-1].equity == found.equity_at_end
    assert points[-1].open_cost == found.open_cost > 0
    assert points[-1].growth - 1 == pytest.approx(found.total_return.value, rel=1e-9)
    fallen = max(point.drawdown for point in points)
    assert fallen == pytest.approx(found.max_drawdown.value, rel=1e-9)
    held = [each.buy_and_hold.value for each in found.symbols if each.buy_and_hold.value]
    assert len(held) == 3
    assert points[-1].held == pytest.approx(1 + sum(held) / 3, rel=1e-9)
    assert warnings(data, equity_at_end=points[-1].equity) == []


def test_charts_that_disagree_with_the_server_say_so() -> None:
    data = Life(4, hours=24 * 60).data()
    lost = replace(data, entries=data.entries[1:])
    [warning] = warnings(lost, equity_at_end=curve(lost)[-1].equity)
    assert money(data.statistics.equity_at_end) in warning


def test_a_long_life_is_drawn_with_few_points_that_keep_its_extremes() -> None:
    points = curve(Life(5, hours=24 * 600).data())
    drawn = thinned(points, POINTS_MAX)
    assert len(points) > 4000
    assert len(drawn) <= POINTS_MAX
    assert (drawn[0], drawn[-1]) == (points[0], points[-1])
    for extreme in (min, max):
        assert extreme(p.equity for p in drawn) == extreme(p.equity for p in points)
    assert max(p.drawdown for p in drawn) == max(p.drawdown for p in points)
    assert account_chart(points)["data"]["values"][-1]["equity_text"] == money(points[-1].equity)


def test_the_heat_map_has_every_month_of_every_year_and_the_servers_numbers_in_it() -> None:
    data = Life(6, hours=24 * 450).data()
    spec = months_chart(data.statistics)
    assert spec is not None
    empty, shown = spec["layer"][0]["data"]["values"], spec["data"]["values"]
    assert len(empty) == 24
    assert len(shown) == 15
    by_month = {month.month: month.return_.value for month in data.statistics.months}
    assert {row["name"]: row["value"] for row in shown} == by_month
    assert shown[-1]["return_text"] == percent(by_month["2026-03"] or 0)


def test_a_sample_that_is_too_small_is_said_once_and_shows_no_ratio() -> None:
    data = Life(7, hours=24 * 5).data()
    said = warnings(data, equity_at_end=data.statistics.equity_at_end)
    assert ["Small sample" in said[0], "No measures of risk: 5 days" in said[1]] == [True, True]
    shown = {figure.name: (figure.text, figure.note) for figure in figures(data)}
    for name in ("Sharpe", "Sortino", "Calmar", "Volatility", "Annual return"):
        assert shown[name] == ("–", "too small a sample, see above")


def test_a_large_sample_shows_its_ratios_without_a_warning() -> None:
    data = Life(8, hours=24 * 90).data()
    shown = {figure.name: figure.text for figure in figures(data)}
    assert shown["Sharpe"] == f"{data.statistics.sharpe.value:,.2f}".replace("-", "−")
    assert warnings(data, equity_at_end=data.statistics.equity_at_end) == []


def test_a_strategy_is_credited_with_each_symbol_it_is_assigned_to_once() -> None:
    data = replace(
        Life(9, hours=24 * 60).data(),
        assignments=[
            Assignment(strategy="both", symbol="BTCUSDT", interval="1h"),
            Assignment(strategy="both", symbol="BTCUSDT", interval="4h"),
            Assignment(strategy="both", symbol="ETHUSDT", interval="1h"),
            Assignment(strategy="idle", symbol="XRPUSDT", interval="1d"),
        ],
    )
    trades = {each.symbol: each.trades for each in data.statistics.symbols}
    both, idle = strategies(data)
    assert both.profit == trades["BTCUSDT"].profit + trades["ETHUSDT"].profit
    assert both.count == trades["BTCUSDT"].count + trades["ETHUSDT"].count
    assert (idle.name, idle.count, idle.profit) == ("idle", 0, Decimal(0))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0E-20", "0.00"), ("-0.00000000000000000001", "−0.00000000000000000001"),
     ("10000000000.10000000000000000000", "10,000,000,000.10"), ("-1234.5", "−1,234.50"),
     ("999.99999999999999999999", "999.99999999999999999999")],
)  # fmt: skip
def test_money_is_shown_with_every_digit(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown
    assert Decimal(shown.replace(",", "").replace("−", "-")) == Decimal(amount)


def test_what_is_rounded_for_reading_is_rounded_once() -> None:
    assert cents(Decimal("2.675")) == "2.68"
    assert quantity(Decimal("1500.00000000000000000000")) == "1,500"
    assert quantity(Decimal("0.12345678901234567891")) == "0.12345678901234567891"
    assert [percent(x) for x in (0.01234, -0.5, 0.0, -0.000001)] == [
        "+1.23 %", "−50.00 %", "0.00 %", "0.00 %",
    ]  # fmt: skip
    assert [duration(x) for x in (0.25, 59, 3600, 90_061)] == ["0.25 s", "59 s", "1 h", "1 d 1 h"]


HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \u2028"


def test_json_in_the_page_cannot_end_its_script_and_reads_back_the_same() -> None:
    text = embedded_json({HOSTILE: [HOSTILE]})
    assert not set("<>&") & set(text)
    assert text.isascii()
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def executions(*hours: float) -> list[Execution]:
    return [
        Execution(
            order_id=1, symbol="BTCUSDT", side="buy", quantity=Decimal(1), price=Decimal(1),
            venue_at=BEGIN + timedelta(hours=hour),
        )
        for hour in hours
    ]  # fmt: skip


@pytest.mark.parametrize("hours", [0, 1, 30, 1000, 100_000])
def test_candles_are_the_shortest_that_show_all_executions(hours: int) -> None:
    chosen = window(executions(0, hours), interval=None)
    names = list(SECONDS)
    assert hours * 3600 <= SECONDS[chosen.interval] * CANDLES_WANTED or chosen.interval == "1M"
    shorter = names[: names.index(chosen.interval)]
    assert all(hours * 3600 > SECONDS[name] * CANDLES_WANTED for name in shorter)
    assert chosen.begin_at < chosen.first_at <= chosen.last_at < chosen.end_at


def test_an_interval_that_cannot_be_drawn_is_refused_with_what_can() -> None:
    with pytest.raises(ValueError, match=r"'90s': expected one of 1m, 3m"):
        window(executions(0), interval="90s")
    with pytest.raises(ValueError, match=r"'1m' makes 60,000 candles of BTCUSDT, .* 2,000"):
        window(executions(0, 1000), interval="1m")


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'report\.pdf': expected .* \.html or \.png"):
        write_report(Life(1, hours=5).data(), "report.pdf")


def test_the_missing_package_is_named_with_the_command_that_installs_it() -> None:
    def missing() -> ModuleType:
        raise ImportError("No module named 'vl_convert'")

    with pytest.raises(ReportPackageMissing, match=r"pip install 'goblin\[report\]'"):
        vl_convert(missing)
