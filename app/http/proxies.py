"""Who is asking: the address at the other end of the connection, or what a known proxy says."""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

HOPS_MAX: Final = 20
"""How many proxies in a row are looked at, from the nearest on."""

UNKNOWN_ADDRESS: Final = "unknown"
"""Of whoever comes through a socket that has no addresses."""

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


class KnownProxies:
    """Makes `scope["client"]` the address that a request comes from, whoever runs the server.

    X-Forwarded-For is believed from the right, for as long as those who wrote it are trusted;
    whatever a stranger wrote into it stands further left. uvicorn, started without us, has a
    list of its own (the loopback address) and has overwritten `client` by then, also with
    what is no address; so the socket is asked.
    """

    def __init__(self, app: ASGIApp, *, trusted: Collection[_Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        if scope["type"] in ("http", "websocket"):
            address = self._client(_peer(scope, receive), scope)
            scope["client"] = None if address is None else (_spelled(address), 0)
        await self._app(scope, receive, send)

    def _client(self, peer: _Address | None, scope: Scope) -> _Address | None:
        client = peer
        if client is None or not self._is_trusted(client):
            return client
        fields = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        hops = b",".join(fields).decode("latin-1").rsplit(",", HOPS_MAX)[-HOPS_MAX:]
        for hop in reversed(hops):
            named = _address(hop)
            if named is None:  # whoever wrote that can have written everything before it
                break
            client = named
            if not self._is_trusted(client):
                break
        return client

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def _peer(scope: Scope, receive: Receive) -> _Address | None:
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    peer = scope.get("client") if transport is None else transport.get_extra_info("peername")
    return _address(peer[0]) if isinstance(peer, list | tuple) and peer else None


@lru_cache(maxsize=1024)
def _spelled(address: _Address) -> str:
    return str(address)


@lru_cache(maxsize=1024)
def _address(text: str) -> _Address | None:
    """An IP address, perhaps with a port; one of IPv4 in the clothes of IPv6 is one of IPv4."""
    text = text.strip()
    if text.startswith("["):  # [2001:db8::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


async def get_client_address(request: Request) -> str:
    """The address that the request comes from."""
    return UNKNOWN_ADDRESS if request.client is None else request.client.host


ClientAddress = Annotated[str, Depends(get_client_address)]
