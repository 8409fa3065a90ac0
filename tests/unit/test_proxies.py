"""Who a request comes from, whatever it says about itself."""

from typing import Any

import pytest
from app.core.config import SettingsError, load_settings, networks
from app.http.proxies import HOPS_MAX, KnownProxies, get_client_address
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

PROXIES = "10.0.0.0/8, 192.0.2.1, fd00::/8, 2001:db8:ffff::1"
NOBODY = "unknown"


async def seen(
    peer: str | None, *forwarded: str, trusted: str = PROXIES, kind: str = "http"
) -> str:
    """The address that the application finds."""
    found = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        request = Request({**scope, "type": "http"})
        found.append(await get_client_address(request))

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nothing is read and nothing is sent")

    scope = {
        "type": kind,
        "client": None if peer is None else (peer, 4711),
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }
    await KnownProxies(app, trusted=networks(trusted))(scope, nothing, nothing)
    return found[0]


@pytest.mark.parametrize("forwarded", [(), ("1.2.3.4",), ("10.0.0.1",), ("1.2.3.4, 10.0.0.1",)])
async def test_a_stranger_is_who_the_connection_comes_from(forwarded: tuple[str, ...]) -> None:
    assert await seen("203.0.113.7", *forwarded) == "203.0.113.7"
    assert await seen("127.0.0.1", *forwarded, trusted="") == "127.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["1.2.3.4"], "1.2.3.4"),
        (["1.2.3.4:5678"], "1.2.3.4"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:db8::7]:5678"], "2001:db8::7"),
        (["2001:DB8:0:0::7"], "2001:db8::7"),
        (["fe80::7%eth0"], "fe80::7"),
        (["::ffff:1.2.3.4"], "1.2.3.4"),
        (["9.9.9.9, 8.8.8.8,1.2.3.4"], "1.2.3.4"),
        (["9.9.9.9, 1.2.3.4, 10.1.1.1, fd00::1"], "1.2.3.4"),
        (["9.9.9.9", "1.2.3.4", "10.1.1.1"], "1.2.3.4"),
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
    ],
    ids=str,
)
async def test_behind_known_proxies_it_is_the_rightmost_who_is_not_one_of_them(
    forwarded: list[str], client: str
) -> None:
    for proxy in ("10.0.0.9", "192.0.2.1", "2001:db8:ffff::1", "::ffff:10.0.0.9"):
        assert await seen(proxy, *forwarded) == client
        assert await seen(proxy, *forwarded, kind="websocket") == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("", "10.0.0.9"),
        ("garbage", "10.0.0.9"),
        ("1.2.3.4, garbage", "10.0.0.9"),
        ("1.2.3.4, garbage, 10.1.1.1", "10.1.1.1"),
        ("999.1.1.1", "10.0.0.9"),
        ("1.2.3.4, ", "10.0.0.9"),
        ("[2001:db8::7", "2001:db8::7"),
        ("١.٢.٣.٤", "10.0.0.9"),
        ("unix:/tmp/socket", "10.0.0.9"),
    ],
)
async def test_what_is_no_address_is_not_believed_and_neither_is_what_stands_before_it(
    forwarded: str, client: str
) -> None:
    assert await seen("10.0.0.9", forwarded) == client


async def test_a_list_without_an_end_is_not_followed_for_ever() -> None:
    assert await seen("10.0.0.9", "1.2.3.4" + ", 10.0.0.8" * 5000) == "10.0.0.8"
    assert await seen("10.0.0.9", "1.2.3.4" + ", 10.0.0.8" * (HOPS_MAX - 1)) == "1.2.3.4"


async def test_a_peer_without_an_address_is_unknown_and_trusted_by_nobody() -> None:
    assert await seen(None, "1.2.3.4") == NOBODY
    assert await seen("/run/goblin.socket", "1.2.3.4") == NOBODY


@pytest.mark.parametrize(
    "wrong", ["*", "localhost", "10.0.0.1/8", "10.0.0.0/33", "1.2.3.4 5.6.7.8"]
)
def test_a_wrong_list_of_proxies_is_named_with_what_was_expected(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"TRUSTED_PROXIES: expected IP .* is neither"):
        load_settings(env_file=None, trusted_proxies=f"127.0.0.1, {wrong}")
