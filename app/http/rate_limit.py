"""How often one caller may ask, decided before the request costs anything."""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.constants import RATE_LIMITED
from app.http.errors import error_response
from app.http.middleware import refuse_socket

WINDOW_SECONDS: Final = 60.0
CALLERS_MAX: Final = 20_000
"""How many callers are remembered; the one that has not asked for longest is forgotten first."""

IPV6_PREFIX: Final = 64
"""One household or machine has a whole network of these addresses to choose from."""

_UNLIMITED: Final = "/health"
"""And GET /: they cost no more than a refusal, and whoever watches a server must get through."""

_NO_REMAINDER: Final = 1e-6
"""Seconds by which sums of floats may be off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a request may be served, and what is left."""

    is_allowed: bool
    remaining: int
    whole_in_seconds: int
    """When the whole quota is there again."""
    retry_after_seconds: int


class Quota:
    """So many requests a minute for each key, all at once or spread: a bucket that refills.

    For each key one instant is kept, the one at which its bucket is full again (GCRA).
    """

    def __init__(self, per_minute: int, *, keys_max: int = CALLERS_MAX) -> None:
        self._interval_seconds = WINDOW_SECONDS / per_minute
        self._keys_max = keys_max
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, *, now: float) -> Verdict:
        """One request of the key's at this instant, in seconds of a clock that never goes back."""
        before = max(self._full_at.get(key, now), now)
        after = before + self._interval_seconds
        if after - now > WINDOW_SECONDS + _NO_REMAINDER:
            self._full_at.move_to_end(key)  # who is refused must not be forgotten for it
            return Verdict(
                is_allowed=False,
                remaining=0,
                whole_in_seconds=math.ceil(before - now - _NO_REMAINDER),
                retry_after_seconds=max(math.ceil(after - now - WINDOW_SECONDS - _NO_REMAINDER), 1),
            )
        self._full_at[key] = after
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._keys_max:
            self._full_at.popitem(last=False)
        left_seconds = WINDOW_SECONDS - (after - now)
        return Verdict(
            is_allowed=True,
            remaining=int((left_seconds + _NO_REMAINDER) / self._interval_seconds),
            whole_in_seconds=math.ceil(after - now - _NO_REMAINDER),
            retry_after_seconds=0,
        )


class RateLimit:
    """Counts a request for its credential if that is known to be good, else for its address.

    A credential is known once a request with it was answered as a user's, until one is
    answered with 401. So what was made up counts for the address that it comes from, however
    often it changes, and costs no look at the database when that has asked enough. The count
    is one process's own: with several behind one address the limit is theirs together. What
    comes over a WebSocket counts like requests; it is not refused, but read when its turn is.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_minute: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._monotonic, self._sleep = monotonic, sleep
        self._quota = Quota(per_minute)
        self._known: OrderedDict[bytes, Hashable] = OrderedDict()
        self._limit_headers = [(b"ratelimit-limit", str(per_minute).encode())]
        self._policies = {
            name: (b"ratelimit-policy", f'"{name}";q={per_minute};w={WINDOW_SECONDS:.0f}'.encode())
            for name in ("credential", "address")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket, or refuse it with 429."""
        path = scope.get("path", "/")
        if path == "/" or path.startswith(_UNLIMITED):
            await self._app(scope, receive, send)
            return
        credential = _credential(scope)
        caller = None if credential is None else self._known.get(credential)
        name = "address" if caller is None else "credential"
        key = network_of(scope) if caller is None else caller
        verdict = self._quota.take(key, now=self._monotonic())
        if not verdict.is_allowed:
            await self._refuse(verdict, name, scope, receive, send)
            return

        async def receive_in_turn() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                while not (turn := self._quota.take(key, now=self._monotonic())).is_allowed:
                    await self._sleep(turn.retry_after_seconds)
            return message

        if scope["type"] == "websocket":
            await self._app(scope, receive_in_turn, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if credential is not None:
                    self._learn(credential, scope["state"], message["status"])
                message["headers"] = [*message.get("headers", ()), *self._headers(verdict, name)]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _learn(self, credential: bytes, state: dict[str, object], status: int) -> None:
        user_id = state.get("user_id")
        if user_id is not None:
            self._known[credential] = (user_id, state.get("credential"))
            self._known.move_to_end(credential)
            if len(self._known) > CALLERS_MAX:
                self._known.popitem(last=False)
        elif status == HTTPStatus.UNAUTHORIZED:
            self._known.pop(credential, None)

    def _headers(self, verdict: Verdict, name: str) -> list[tuple[bytes, bytes]]:
        """As draft-ietf-httpapi-ratelimit-headers-11 has them, and as its older versions had."""
        remaining, whole_in = verdict.remaining, verdict.whole_in_seconds
        return [
            self._policies[name],
            (b"ratelimit", b'"%b";r=%d;t=%d' % (name.encode(), remaining, whole_in)),
            *self._limit_headers,
            (b"ratelimit-remaining", b"%d" % remaining),
            (b"ratelimit-reset", b"%d" % whole_in),
        ]

    async def _refuse(
        self, verdict: Verdict, name: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        wait = {"Retry-After": str(verdict.retry_after_seconds)}
        if scope["type"] == "websocket":
            await refuse_socket(
                scope, receive, send,
                status=429, code="rate_limited", message=RATE_LIMITED, headers=wait,
            )  # fmt: skip
            return
        response = error_response(
            Request(scope),
            status=429,
            code="rate_limited",
            message=RATE_LIMITED,
            headers=wait,
        )
        response.raw_headers += self._headers(verdict, name)
        await response(scope, receive, send)


def _credential(scope: Scope) -> bytes | None:
    """A digest of what is sent as proof: the secret itself is not to be kept here."""
    sent = [value for name, value in scope["headers"] if name in (b"authorization", b"x-api-key")]
    return hashlib.blake2b(b"\0".join(sent), digest_size=16).digest() if sent else None


def network_of(scope: Scope) -> str:
    """The address that a request comes from; of IPv6 the network that it lies in."""
    client = scope.get("client")
    if client is None:
        return "unknown"
    host: str = client[0]
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, IPV6_PREFIX), strict=False))
