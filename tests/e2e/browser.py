"""Debian's chromium, driven through its own chromedriver by the W3C WebDriver protocol."""

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import signal
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from tests.unproven import unproven

WAIT_SECONDS_MAX: Final = 100
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"  # the standard's name for a reference
_ARGUMENTS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,2000",
    # Nothing but this machine has an address; and it has a name that looks like a public one,
    # because pages treat localhost differently.
    "--host-resolver-rules=MAP goblin.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


class Browser:
    """One window."""

    def __init__(self, session: httpx.AsyncClient) -> None:
        self._session = session

    async def open(self, url: str) -> None:
        """Load a page."""
        await self._call("POST", "url", {"url": url})

    async def texts(self, css: str) -> list[str]:
        """What the elements show, as soon as there is one."""
        await self._element(css)
        found = await self._call("POST", "elements", {"using": "css selector", "value": css})
        return [await self._call("GET", f"element/{one[_ELEMENT]}/text") for one in found]

    async def wait_for(self, css: str, text: str) -> str:
        """The whole text of the first such element that shows this text, once there is one."""
        shown: list[str] = []
        for _ in range(WAIT_SECONDS_MAX * 20):
            shown = await self.texts(css)
            for whole in shown:
                if text in whole:
                    return whole
            await asyncio.sleep(0.05)
        raise AssertionError(f"{css} never showed {text!r}, it shows {shown}")

    async def click(self, css: str) -> None:
        """Click the first such element, once it can be clicked."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while True:
                element = await self._element(css)
                try:
                    await self._call("POST", f"element/{element}/click", {})
                except WebDriverError as error:
                    if error.kind not in {
                        "element click intercepted", "element not interactable",
                        "stale element reference",
                    }:  # fmt: skip
                        raise
                    await asyncio.sleep(0.05)
                else:
                    return

    async def point_at(self, css: str) -> None:
        """Move the mouse onto the first such element, scrolling to it."""
        element = await self._element(css)
        await self.run("arguments[0].scrollIntoView({block: 'center'})", {_ELEMENT: element})
        await self._move_mouse(_to(element))

    async def drag(self, css: str, *, x: int) -> None:
        """From the middle of the first such element, so many pixels to the right."""
        await self.point_at(css)
        element = await self._element(css)
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        await self._move_mouse(down, _to(element, x=x // 2), _to(element, x=x), up)

    async def _move_mouse(self, *steps: dict[str, object]) -> None:
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        await self._call("POST", "actions", {"actions": [{**mouse, "actions": steps}]})

    async def run(self, script: str, *arguments: object) -> Any:
        """What the body of a function returns in the page, a promise's value too."""
        body = {"script": script, "args": list(arguments)}
        return await self._call("POST", "execute/sync", body)

    async def attributes(self, css: str, name: str) -> list[str]:
        """An attribute of the elements, as soon as there is one."""
        await self._element(css)
        found = await self._call("POST", "elements", {"using": "css selector", "value": css})
        return [
            str(await self._call("GET", f"element/{one[_ELEMENT]}/attribute/{name}"))
            for one in found
        ]

    async def type(self, css: str, text: str) -> None:
        """Type into the first such element."""
        element = await self._element(css)
        await self._call("POST", f"element/{element}/value", {"text": text})

    async def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(await self._call("GET", "screenshot"))

    async def requested(self) -> list[str]:
        """The address of every request since the last call, also of those that failed."""
        entries = await self._call("POST", "se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    async def complaints(self) -> list[str]:
        """What the page's console says is wrong."""
        entries = await self._call("POST", "se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    async def _element(self, css: str) -> str:
        selector = {"using": "css selector", "value": css}
        for _ in range(WAIT_SECONDS_MAX * 20):
            found = await self._call("POST", "elements", selector)
            if found:
                return str(found[0][_ELEMENT])
            await asyncio.sleep(0.05)
        raise AssertionError(f"the page never showed {css}")

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        response = await self._session.request(method, path, json=body)
        value = response.json()["value"]
        if response.status_code != httpx.codes.OK:
            raise WebDriverError(value["error"], value["message"])
        return value


def _to(element: str, *, x: int = 0) -> dict[str, object]:
    origin = {_ELEMENT: element}
    return {"type": "pointerMove", "duration": 50, "x": x, "y": 0, "origin": origin}


class WebDriverError(Exception):
    """The browser could not do it; `kind` is the standard's name of the reason."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@asynccontextmanager
async def open_browser(profile: Path) -> AsyncIterator[Browser]:
    """A new chromium with an empty profile. Skips, or fails in CI, where there is none."""
    driver, binary = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or binary is None:
        remedy = "apt-get install -y chromium chromium-driver"
        unproven(f"no browser: {remedy}")
    process = await asyncio.create_subprocess_exec(
        driver, "--port=0", stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    try:
        url = f"http://127.0.0.1:{await _port_of(process)}"
        async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS_MAX) as client:
            options = {"binary": binary, "args": [*_ARGUMENTS, f"--user-data-dir={profile}"]}
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
            }
            answer = await client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
            assert answer.status_code == httpx.codes.OK, answer.text
            client.base_url = httpx.URL(f"{url}/session/{answer.json()['value']['sessionId']}/")
            try:
                yield Browser(client)
            finally:
                await client.delete("")
    finally:
        # The browser is in the group of its driver and may outlive a session that failed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _port_of(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        async for line in process.stdout:
            said += line
            started = re.search(rb"started successfully on port (\d+)", line)
            if started:
                return int(started[1])
    raise AssertionError(f"chromedriver did not start: {said.decode()}")
