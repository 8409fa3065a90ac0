"""goblin.report against a real server: what the files show is what the server said."""

import asyncio
import base64
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import goblin
import pytest
import pytest_asyncio
from app.core.config import PROJECT
from app.domain.candles import Interval
from app.replay import ReplayExchange
from goblin.reporting import ReportData, fetch_report, write_report
from goblin.reporting.curve import curve
from goblin.reporting.text import money, percent
from tests.client.conftest import AT_ONCE, token_of
from tests.conftest import CloneDatabase, Installation, new_person
from tests.e2e.browser import open_browser
from tests.integration.api.test_marked_statistics import past
from tests.serving import served

pytestmark = pytest.mark.xdist_group("report")  # the script of the page is made once a process

HOSTILE = '</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1> & "it\'s"'
HOUR_MS = 3_600_000
LINE = "#account-chart .mark-line path"
COUNT_PIXELS = """
    const image = new Image();
    image.src = "data:image/png;base64," + arguments[0];
    return image.decode().then(() => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.width, image.height];
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const colors = new Uint32Array(
            context.getImageData(0, 0, image.width, image.height).data.buffer);
        let [white, account, gain] = [0, 0, 0];
        for (const color of colors) {  // 0xAABBGGRR
            const [red, green, blue] = [color & 255, (color >> 8) & 255, (color >> 16) & 255];
            white += red + green + blue === 765;
            account += red === 0x4f && green === 0x7c && blue === 0xff;
            gain += green > red + 60 && green > blue;
        }
        return [image.width, image.height, white, account, gain];
    });
"""


class Page(HTMLParser):
    """What a browser would make of the file, as far as the tests look."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.cells: list[str] = []
        self.amounts: list[str] = []
        self._in_cell = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag in {"td", "th", "dd", "h1"}:
            self.cells.append("")
            self._in_cell = True
        if tag == "data":
            self.amounts.append(dict(attrs)["value"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in {"td", "th", "dd", "h1"}

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


Ask = Callable[[Callable[[goblin.Client], object]], Awaitable[ReportData]]


@pytest_asyncio.fixture(scope="module")
async def ask(installation: Installation, url: str) -> AsyncIterator[Ask]:
    """Lets somebody new live with a sync client, in a thread, and fetches their report."""
    made = []

    async def told(live: Callable[[goblin.Client], object]) -> ReportData:
        person = await new_person(installation, balance="0")
        made.append(person)

        def run() -> ReportData:
            with goblin.Client(url, api_key=token_of(person), retries=AT_ONCE) as client:
                live(client)
                return fetch_report(client)

        return await asyncio.to_thread(run)

    yield told
    for person in made:
        await person.client.aclose()


@dataclass(frozen=True)
class Written:
    """A report of a life with everything in it."""

    data: ReportData
    html: Path
    png: Path

    @property
    def page(self) -> Page:
        return Page(self.html.read_text("utf-8"))


@pytest_asyncio.fixture(scope="module")
async def written(
    ask: Ask, exchange: ReplayExchange, tmp_path_factory: pytest.TempPathFactory
) -> Written:
    folder = tmp_path_factory.mktemp("report")

    def live(client: goblin.Client) -> None:
        client.deposit("50000")
        strategy = client.create_strategy(HOSTILE)
        client.create_trade_strategy("BTCUSDT", strategy.id, interval="1h")
        for number in range(4):
            client.buy("BTCUSDT", f"0.1234567890123456789{number}")
            if number % 2:
                client.buy("ETHUSDT", "1.5")
            exchange.clock.advance(5 * HOUR_MS)
            client.close_order("BTCUSDT")
            if number % 2:
                client.close_order("ETHUSDT")
            exchange.clock.advance(HOUR_MS)
        client.withdraw("0.00000000000000000001")
        client.buy("SOLUSDT", "2")

    data = await ask(live)
    return Written(
        data=data,
        html=write_report(data, folder / "report.html"),
        png=write_report(data, folder / "report.png"),
    )


def test_every_amount_on_the_page_is_one_that_the_server_gave(written: Written) -> None:
    found = written.data.statistics
    shown = written.page.amounts
    told = (found.marked_equity_at_end, found.equity_at_end, found.trades.profit, found.flow)
    for amount in told:
        assert format(amount, "f") in shown
    assert format(found.flow, "f") == "49999.99999999999999999999"
    for order in written.data.orders:
        assert format(order.cost, "f") in shown
        if order.proceeds is not None:
            assert format(order.proceeds, "f") in shown
            assert format(order.profit, "f") in shown
    assert all(len(amount.partition(".")[2]) == 20 for amount in shown)


def test_nothing_on_the_page_is_fetched_and_only_its_own_scripts_run(written: Written) -> None:
    page = written.page
    assert page.tags.count("script") == 3
    assert not {"link", "iframe", "img", "object", "embed", "base", "form"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert name not in {"src", "href", "srcset", "style"}, (tag, name)
        assert not name.startswith("on"), (tag, name)
        if name == "content" and (value or "").startswith("default-src"):
            assert value is not None
            assert value.startswith("default-src 'none'; script-src 'sha256-")
            assert "unsafe-inline" not in value.partition("style-src")[0]


def test_a_hostile_name_is_shown_as_it_was_written(written: Written) -> None:
    assert HOSTILE in written.page.cells


def test_the_page_can_be_read_without_its_charts(written: Written) -> None:
    page = written.page
    assert ("html", "lang", "en") in page.attributes
    assert page.tags.count("h1") == 1
    assert page.tags.count("caption") == page.tags.count("table") == 5
    found = written.data.statistics
    [month] = found.months
    assert {month.month, percent(month.return_.value or 0)} <= set(page.cells)
    symbols = {each.symbol for each in found.symbols}
    assert symbols == {"BTCUSDT", "ETHUSDT", "SOLUSDT"} <= set(page.cells)


async def test_a_browser_without_a_network_shows_the_servers_numbers_on_the_charts(
    written: Written, tmp_path: Path
) -> None:
    found = written.data.statistics
    async with open_browser(tmp_path / "profile") as browser:
        await browser.open(written.html.as_uri())
        assert await browser.texts("html[data-drawn] h1") == ["Somebody: all symbols"]
        equity = money(found.marked_equity_at_end)
        assert equity in await browser.attributes("#account-chart [aria-label]", "aria-label")
        cells = await browser.texts("#months-chart .mark-text text")
        assert percent(found.months[0].return_.value or 0) in cells
        amounts = await browser.attributes("#figures data", "value")
        first = [found.marked_equity_at_end, found.equity_at_end, found.trades.profit]
        assert amounts[:3] == [format(amount, "f") for amount in first]

        sold = [order for order in written.data.orders if not order.is_active]
        [order] = [order for order in sold if order.symbol == "ETHUSDT"][:1]
        described = f"sell 1.5 at {money(order.sell_price or Decimal(0))}"
        await browser.point_at(f'#fills_2 [aria-label="{described}"]')
        told = await browser.wait_for("#vg-tooltip-element", "Profit")
        lines = told.splitlines()
        assert f"Order {order.id}" in lines
        assert f"Amount {money(order.proceeds or Decimal(0))}" in lines
        assert f"Profit {money(order.profit)}" in lines

        before = await browser.attributes(LINE, "d")
        for _ in range(20):  # a busy machine may miss where the mouse went down
            await browser.drag("#account-chart svg", x=-200)
            await asyncio.sleep(0.1)
            if await browser.attributes(LINE, "d") != before:
                break
        else:
            pytest.fail("the line does not follow the mouse")

        assert await browser.run("return window.hacked") is None
        requested = await browser.requested()
        assert written.html.as_uri() in requested
        schemes = {urlsplit(url).scheme for url in requested}
        assert not schemes & {"http", "https", "ws", "wss"}, requested
        assert await browser.complaints() == []
        (tmp_path / "shown.png").write_bytes(await browser.screenshot())

        await browser.open("about:blank")
        picture = base64.b64encode(written.png.read_bytes()).decode()
        width, height, white, account, gain = await browser.run(COUNT_PIXELS, picture)
        assert width > 2000
        assert height > 3000
        assert 0.5 < white / (width * height) < 0.99
        assert account > 2000, "the line of the equity is a thousand points long"
        assert gain > 500, "there are candles"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


async def test_the_report_of_an_empty_account_says_that_it_is_empty(
    ask: Ask, tmp_path: Path
) -> None:
    data = await ask(lambda _: None)
    page = write_report(data, tmp_path / "empty.html").read_text("utf-8")
    assert "Nothing has happened in this account" in page
    assert "No order was filled" in page
    assert write_report(data, tmp_path / "empty.png").stat().st_size > 10_000


async def test_the_page_about_reports_says_what_works_and_one_order_is_called_a_small_sample(
    ask: Ask, url: str, exchange: ReplayExchange, tmp_path: Path
) -> None:
    """Its Python runs as it stands, but for the address, the key and the folder."""
    text = (PROJECT / "docs" / "report.md").read_text("utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    code = code.replace("http://127.0.0.1:8000", url)
    code = re.sub(r'client, "([a-z.]+)"', rf'client, "{tmp_path}/\1"', code)
    command = re.search(r"^python -m (goblin report --to )report\.html$", text, re.MULTILINE)
    assert command is not None

    def live(client: goblin.Client) -> None:
        client.deposit("10000")
        client.buy("BTCUSDT", "0.01")
        exchange.clock.advance(HOUR_MS)
        client.close_order("BTCUSDT")
        key = client.create_api_key("report", scopes=["read"]).key
        exec(code, {"key": key})  # noqa: S102 - our own page
        done = subprocess.run(
            [sys.executable, "-m", *command[1].split(), str(tmp_path / "typed.png")],
            env={"GOBLIN_URL": url, "GOBLIN_API_KEY": key},
            cwd=PROJECT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.stderr, done.stdout) == ("", f"{tmp_path / 'typed.png'}\n")

    await ask(live)
    written = contents(tmp_path)
    assert list(written) == ["btc.html", "report.html", "report.png", "since.html", "typed.png"]
    for name, content in written.items():
        assert content.startswith(b"\x89PNG" if name.endswith(".png") else b"<!doctype html>")
    page = written["report.html"].decode()
    assert "Small sample: 1 closed order." in page
    assert "No measures of risk: at least 30 days, 10 of them with a return, are needed" in page
    assert page.count("too small a sample, see above") == 5


async def test_a_report_of_one_symbol_and_a_part_of_the_time_is_as_the_server_counts_it(
    ask: Ask, exchange: ReplayExchange
) -> None:
    fetched: list[ReportData] = []

    def live(client: goblin.Client) -> None:
        client.deposit("100000")
        client.buy("ETHUSDT", "1")
        bought = client.buy("BTCUSDT", "0.5")
        exchange.clock.advance(HOUR_MS)
        closed = client.close_order("ETHUSDT")
        part = fetch_report(client, begin=bought.created_at, end=closed.updated_at)
        fetched.append(part)
        fetched.append(fetch_report(client, symbol=" ethusdt ", interval="1m"))
        client.reset("5")
        fetched.append(fetch_report(client, epoch=1))
        fetched.append(fetch_report(client))

    await ask(live)
    for data in fetched:
        assert curve(data)[-1].equity == data.statistics.equity_at_end
        assert curve(data)[-1].marked_equity == data.statistics.marked_equity_at_end
        assert curve(data)[-1].open_cost == data.statistics.open_cost
    part, ether, old, new = fetched
    assert [order.is_active for order in part.orders] == [True, True], "the close came later"
    assert [market.symbol for market in ether.markets] == ["ETHUSDT"]
    assert ether.markets[0].interval == "1m"
    assert len(ether.markets[0].candles) > 60
    assert ether.markets[0].missing is None, "candles that still form are not missing"
    assert [old.statistics.epoch, new.statistics.epoch] == [1, 2]
    assert len(old.orders) == 2
    assert new.orders == []


async def test_the_equity_of_a_report_follows_the_stored_candles_and_says_where_there_are_none(
    clone: CloneDatabase, exchange: ReplayExchange, tmp_path: Path
) -> None:
    async with past(clone, exchange) as its, served(its.running.app) as url:
        closes = {its.midnight(ago): str(50_000 + 7 * ago) for ago in range(30, 0, -1)}
        await its.keep(closes, Interval.DAY)

        def read() -> ReportData:
            with goblin.Client(url, api_key=token_of(its.ada), retries=AT_ONCE) as client:
                return fetch_report(client)

        data = await asyncio.to_thread(read)
        found, points = data.statistics, curve(data)
        assert found.marks.marked == 30
        assert points[-1].marked_equity == found.marked_equity_at_end != found.equity_at_end
        assert points[-1].equity == found.equity_at_end
        drawn = [point.marked_equity for point in points if point.event.startswith("end of")]
        assert drawn == [day.marked_equity for day in found.days[-30:]]
        page = write_report(data, tmp_path / "report.html").read_text("utf-8")
        first = its.midnight(40).date()
        assert f"Not marked: {found.marks.unmarked} of" in page
        assert f"BTCUSDT {first} to {its.midnight(31).date()}" in page
        assert "Open orders stand at the closes of stored 1d candles (bybit, spot)" in page
        assert found.buy_and_hold.value is not None
        assert f">{percent(found.buy_and_hold.value)}<span" in page


async def test_a_venue_that_has_no_candles_is_named_and_the_fills_are_drawn_without_them(
    ask: Ask, exchange: ReplayExchange, tmp_path: Path
) -> None:
    fetched: list[ReportData] = []

    def live(client: goblin.Client) -> None:
        client.deposit("1000")
        client.buy("DOGEUSDT", "100")
        exchange.faults.add("html", times=1, path="/v5/market/kline", symbol="DOGEUSDT")
        fetched.append(fetch_report(client, interval="30m"))

    await ask(live)
    [market] = fetched[0].markets
    assert market.candles == ()
    page = write_report(fetched[0], tmp_path / "report.html").read_text("utf-8")
    assert market.missing is not None
    assert "Invalid response from Bybit API" in market.missing
    assert f'<p class="warning" role="note">{market.missing}</p>' in page
    assert "buy 100 at" in page
