"""What a report says is what the statistics say, whatever the account lived through."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import goblin
import pytest
from app.domain.statistics import Mark, account_statistics
from goblin.reporting import write_report
from goblin.reporting.charts.account import POINTS_MAX, account_chart
from goblin.reporting.charts.months import NAMES as MONTHS
from goblin.reporting.charts.months import months_chart
from goblin.reporting.curve import Point, curve, thinned
from goblin.reporting.data import Assignment, Execution
from goblin.reporting.figures import figures, strategies, valuation, warnings
from goblin.reporting.intervals import CANDLES_WANTED, SECONDS, window
from goblin.reporting.page import embedded_json
from goblin.reporting.rendering import ReportPackageMissing, vl_convert
from goblin.reporting.tables import symbols_table
from goblin.reporting.text import cents, duration, money, percent, quantity, share
from tests.unit.lives import BEGIN, Life


def deepest(points: Sequence[Point]) -> float:
    return max(point.drawdown for point in points if point.drawdown is not None)


@pytest.mark.parametrize("is_marked", [False, True])
@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_charts_end_where_the_server_says_to_the_last_digit(
    seed: int, *, is_cut: bool, is_marked: bool
) -> None:
    data = Life(seed, hours=24 * 60, is_cut=is_cut, is_marked=is_marked).data()
    points = curve(data)
    found = data.statistics
    end = points[-1]
    assert end.equity == found.equity_at_end
    assert end.marked_equity == found.marked_equity_at_end
    assert end.open_cost == found.open_cost > 0
    assert end.growth == pytest.approx(1 + (found.total_return.value or 0), rel=1e-9)
    for day in found.days:
        after = datetime(day.on.year, day.on.month, day.on.day, tzinfo=UTC) + timedelta(days=1)
        last = [point for point in points if point.at <= after and point is not end][-1]
        assert (last.equity, last.marked_equity) == (day.equity, day.marked_equity), day.on
    if is_marked:
        assert found.marks.marked > 0
        assert deepest(points) <= (found.max_drawdown.value or 0) * (1 + 1e-9)
    else:
        assert len(points) == len(data.entries) + 2
        assert deepest(points) == pytest.approx(found.max_drawdown.value, rel=1e-9)
    said = warnings(data, end=end)
    assert [text for text in said if not text.startswith("Not marked")] == []


@pytest.mark.parametrize("is_cut", [False, True])
def test_of_one_symbol_each_step_of_the_marked_curve_is_the_servers(*, is_cut: bool) -> None:
    """One order at a time: what is not cash is what it is worth."""
    data = Life(10, hours=24 * 60, is_cut=is_cut, is_marked=True).data("ETHUSDT")
    points, found = curve(data), data.statistics
    assert [each.symbol for each in found.symbols] == ["ETHUSDT"]
    assert found.marks.marked > 5
    assert None not in {point.marked_equity for point in points}
    assert points[-1].marked_equity == found.marked_equity_at_end
    assert deepest(points) == pytest.approx(found.max_drawdown.value, rel=1e-9)


def test_a_value_that_is_drawn_is_the_servers_and_one_that_nobody_told_is_left_out() -> None:
    life = Life(11, hours=24 * 30, is_marked=True)
    points = curve(life.data())
    unknown = [point for point in points if point.marked_equity is None]
    assert 20 < len(unknown) < len(points) / 2
    assert {point.growth for point in unknown} == {point.exposure for point in unknown} == {None}
    assert any(point.growth is None for point in points if point not in unknown)
    for point in points[1:-1]:
        then = account_statistics(life.history(point.at + timedelta(microseconds=1)))
        assert point.equity == then.equity_at_end
        if point.marked_equity is not None:
            assert point.marked_equity == then.marked_equity_at_end, point.event
        if point.growth is not None:
            assert isinstance(then.total_return, Decimal)
            assert point.growth == pytest.approx(1 + float(then.total_return), rel=1e-9)


def test_charts_that_disagree_with_the_server_say_so() -> None:
    data = Life(4, hours=24 * 60).data()
    lost = replace(data, entries=data.entries[1:])
    [_, warning] = warnings(lost, end=curve(lost)[-1])
    assert "a realised equity of" in warning
    assert money(data.statistics.equity_at_end) in warning
    other = replace(data.statistics, marked_equity_at_end=Decimal(7))
    [_, warning] = warnings(replace(data, statistics=other), end=curve(data)[-1])
    assert "an equity of" in warning
    assert "the server says 7.00" in warning


def test_what_was_not_marked_is_said_with_its_days() -> None:
    life = Life(12, hours=24 * 40, is_marked=True)
    known = [mark for mark in life.marks if mark.at.day not in {9, 10}]
    life.marks = [
        *known, *(Mark(at=mark.at, prices={}) for mark in life.marks if mark not in known),
    ]  # fmt: skip
    life.marks.sort(key=lambda mark: mark.at)
    data = life.data()
    marks = data.statistics.marks
    [said] = [text for text in warnings(data, end=curve(data)[-1]) if "Not marked" in text]
    assert f"{marks.unmarked} of {marks.marked + marks.unmarked} closes of 1d candles" in said
    lacking = [each for each in data.statistics.symbols if each.unmarked]
    assert all(each.symbol in said for each in lacking)
    assert "2025-01-08 to 2025-01-09" in said, "the days that those midnights end"
    assert "stored 1d candles (bybit, spot)" in valuation(data)
    [symbol] = [each for each in data.statistics.symbols if each.symbol == "BTCUSDT"]
    held = symbol.marked + symbol.unmarked
    assert f"<td>{symbol.marked} of {held}</td>" in symbols_table(data.statistics)
    assert "at what they cost" in valuation(Life(12, hours=24 * 40).data())


def test_what_buying_and_holding_came_to_is_the_servers() -> None:
    data = Life(13, hours=24 * 60, is_marked=True).data()
    found = data.statistics
    held, fallen = found.buy_and_hold.value, found.buy_and_hold_max_drawdown.value
    assert held is not None
    assert fallen is not None
    shown = {figure.name: figure for figure in figures(data)}
    assert shown["Buy and hold"].text == percent(held)
    assert (shown["Buy and hold"].note or "").startswith("3 symbols equally, until 2025-03-0")
    assert shown["Drawdown of buy and hold"].text == share(fallen)
    rows = account_chart(curve(data), held=held)["data"]["values"]
    assert {row["held"] for row in rows} == {held}
    worth = found.open_cost + found.marked_equity_at_end - found.equity_at_end
    assert f"worth {cents(worth)}" in (shown["Orders"].note or "")


def test_a_long_life_is_drawn_with_few_points_that_keep_its_extremes() -> None:
    points = curve(Life(5, hours=24 * 600, is_marked=True).data())
    drawn = thinned(points, POINTS_MAX)
    assert len(points) > 4000
    assert len(drawn) <= POINTS_MAX
    assert (drawn[0], drawn[-1]) == (points[0], points[-1])
    for extreme in (min, max):
        assert extreme(p.equity for p in drawn) == extreme(p.equity for p in points)
        known = [
            [p.marked_equity for p in some if p.marked_equity is not None]
            for some in (drawn, points)
        ]
        assert extreme(known[0]) == extreme(known[1])
    assert deepest(drawn) == deepest(points)
    last = account_chart(points, held=None)["data"]["values"][-1]
    assert last["equity_text"] == money(points[-1].equity)
    assert last["marked_text"] == money(points[-1].marked_equity or Decimal(0))


def axis_labels(*, seconds: float, gain: float) -> list[list[str]]:
    """Of every axis of an account that won and fell by `gain` in so long a life."""
    nothing = Point(
        at=BEGIN, event="begin", equity=Decimal(1), open_cost=Decimal(0), marked_equity=Decimal(1),
        growth=1.0, drawdown=0.0,
    )  # fmt: skip
    end = replace(
        nothing, at=BEGIN + timedelta(seconds=seconds), event="end",
        open_cost=Decimal(str(gain)), growth=1 + gain, drawdown=gain,
    )  # fmt: skip
    drawn = vl_convert().vegalite_to_svg(account_chart([nothing, end], held=None))
    axes = re.findall(r'role-axis-label".*?</g>', drawn, re.DOTALL)
    return [re.findall(r">([^<>]+)</text>", axis) for axis in axes]


@pytest.mark.parametrize(("seconds", "gain"), [(2.1, 1e-6), (5, 0.0003), (9000, 25)])
def test_each_tick_of_an_axis_has_a_label_of_its_own(seconds: float, gain: float) -> None:
    """However short the account's life was, and however little it won or lost."""
    labels = axis_labels(seconds=seconds, gain=gain)
    assert [len(texts) > 1 for texts in labels] == [False, True, True, True, True]
    assert [texts for texts in labels if len(set(texts)) < len(texts)] == []


def test_days_are_labelled_all_in_the_same_way() -> None:
    [*_, times, _] = axis_labels(seconds=20 * 86_400, gain=0.01)
    assert {text.partition(" ")[0] for text in times} == {"Jan"}


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


def test_the_names_of_months_do_not_run_into_each_other_on_a_phone() -> None:
    spec = months_chart(Life(6, hours=24 * 60).data().statistics)
    assert spec is not None
    for width, names in ((200, MONTHS[::2]), (800, MONTHS)):
        drawn = vl_convert().vegalite_to_svg({**spec, "width": width})
        texts = re.findall(r'opacity="1">([A-Z][a-z]{2})</text>', drawn)
        assert texts == names


def test_a_sample_that_is_too_small_is_said_once_and_shows_no_ratio() -> None:
    data = Life(7, hours=24 * 5).data()
    said = warnings(data, end=curve(data)[-1])
    assert ["Small sample" in said[0], "No measures of risk: at least" in said[1]] == [True, True]
    shown = {figure.name: (figure.text, figure.note) for figure in figures(data)}
    for name in ("Sharpe", "Sortino", "Calmar", "Volatility", "Annual return"):
        assert shown[name] == ("–", "too small a sample, see above")


def test_a_large_sample_shows_its_ratios_without_a_warning() -> None:
    data = Life(8, hours=24 * 90).data()
    shown = {figure.name: figure.text for figure in figures(data)}
    assert shown["Sharpe"] == f"{data.statistics.sharpe.value:,.2f}".replace("-", "−")
    [said] = warnings(data, end=curve(data)[-1])
    assert said.startswith("Not marked"), "there was no candle"


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


def test_a_client_that_has_to_be_awaited_is_refused_with_the_one_that_reports() -> None:
    client: Any = goblin.AsyncClient()
    with pytest.raises(TypeError, match=r"asked for with a goblin\.Client, not <AsyncClient http"):
        goblin.report(client, "report.html")


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'report\.pdf': expected .* \.html or \.png"):
        write_report(Life(1, hours=5).data(), "report.pdf")


def test_the_missing_package_is_named_with_the_command_that_installs_it() -> None:
    def missing() -> ModuleType:
        raise ImportError("No module named 'vl_convert'")

    with pytest.raises(ReportPackageMissing, match=r"pip install 'vl-convert-python"):
        vl_convert(missing)
