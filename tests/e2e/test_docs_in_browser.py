from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest_asyncio
from tests.conftest import Installation
from tests.e2e.browser import Browser, open_browser
from tests.serving import served

GET_ME = "#operations-users-get_me"
EMAIL, PASSWORD = "browser@example.com", "correct horse battery"


@pytest_asyncio.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with open_browser(tmp_path / "profile") as opened:
        yield opened


@asynccontextmanager
async def served_as_goblin_test(installation: Installation) -> AsyncIterator[str]:
    async with served(installation.app) as url:
        yield url.replace("127.0.0.1", "goblin.test")


async def assert_only_this_machine_was_asked(browser: Browser, url: str) -> None:
    asked = [urlsplit(address) for address in await browser.requested()]
    network = [address for address in asked if address.scheme in {"http", "https", "ws", "wss"}]
    assert len(network) >= 4, "the page, its script, its style and /openapi.json"
    assert {f"{address.scheme}://{address.netloc}" for address in network} == {url}


async def test_docs_lists_every_tag_logs_in_and_tries_a_route_without_the_internet(
    installation: Installation, browser: Browser, tmp_path: Path
) -> None:
    async with installation.client() as client:
        person = {"email": EMAIL, "password": PASSWORD, "name": "Ada"}
        assert (await client.post("/auth/register", json=person)).status_code == 201

    async with served_as_goblin_test(installation) as url:
        await browser.open(f"{url}/docs")
        shown = await browser.texts(".opblock-tag a span")
        assert shown == [tag["name"] for tag in installation.app.openapi()["tags"]]

        await browser.click(".auth-wrapper button.authorize")
        await browser.type("#oauth_username", EMAIL)
        await browser.type("#oauth_password", PASSWORD)
        await browser.click(".auth-btn-wrapper button.authorize")
        await browser.wait_for(".auth-btn-wrapper button", "Logout")
        (tmp_path / "authorized.png").write_bytes(await browser.screenshot())
        await browser.click(".auth-btn-wrapper button.btn-done")

        await browser.click(f"{GET_ME} .opblock-summary-control")
        await browser.click(f"{GET_ME} button.execute")
        status = await browser.texts(f"{GET_ME} .live-responses-table .response-col_status")
        (tmp_path / "tried.png").write_bytes(await browser.screenshot())
        assert "200" in status
        [answer] = await browser.texts(
            f"{GET_ME} .live-responses-table .response-col_description .highlight-code"
        )
        assert EMAIL in answer

        await assert_only_this_machine_was_asked(browser, url)
        assert await browser.complaints() == []


async def test_redoc_shows_every_route_without_the_internet(
    installation: Installation, browser: Browser, tmp_path: Path
) -> None:
    async with served_as_goblin_test(installation) as url:
        await browser.open(f"{url}/redoc")
        [title] = await browser.texts("h1")
        (tmp_path / "redoc.png").write_bytes(await browser.screenshot())
        assert title.startswith("goblin")
        await assert_only_this_machine_was_asked(browser, url)
        assert await browser.complaints() == []
