"""One bounded GET to a venue that may be slow, hostile, or tired of us.

What httpx does not bound is bounded here: the time of a whole call (httpx limits each read,
so a server that sends a byte now and then is waited for without end) and the size of an
answer. Compression is not asked for and never undone: an answer is below 4 kB, and a few
kilobytes of gzip can become gigabytes. Nothing is retried; see docs/adr/0005. A venue that
fails again and again is left alone for a while; see app/domain/circuits.py.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, ClassVar, Final

import httpx

from app.core.clock import wall_clock_ms
from app.domain.circuits import Circuit, CircuitState, PriceUnavailable, VenueState
from app.domain.errors import GoblinError, UpstreamInvalid, UpstreamUnavailable

log = logging.getLogger(__name__)

RESPONSE_BYTES_MAX: Final = 1024 * 1024
"""A venue's longest ticker list has about 150 kB."""

LOGGED_LENGTH_MAX: Final = 300
CONNECTIONS_MAX: Final = 20
IDLE_SECONDS_MAX: Final = 30.0
"""An idle connection is kept for less than venues keep theirs, so that few die in use."""

USER_AGENT: Final = "goblin/1 (paper trading sandbox)"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

REFUSED: Final = frozenset({408, 451})
BAN_TEXT: Final = b"access too frequent"
"""Bybit's 403 for too many requests; its other 403s are pages of a firewall in front."""

WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """How many seconds a venue is left alone after it said that we may not ask.

    `limited_seconds` follows a rate limit that names no end; it is what Bybit's own client
    waits. `forbidden_seconds` follows any other 403 (a blocked country, a firewall): short,
    because it ends when the user changes network, and nothing tells us. `banned_seconds`
    follows a ban of our address, which Bybit lifts after ten minutes; it is also the longest
    that a header can make us wait, so that no answer stops quotes for days.
    """

    limited_seconds: float = 2.0
    forbidden_seconds: float = 10.0
    banned_seconds: float = 600.0


DEFAULT_PAUSES: Final = Pauses()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a venue sent, the body cut off soon after `bytes_max`."""

    status: int
    headers: httpx.Headers
    body: bytes
    bytes_max: int = RESPONSE_BYTES_MAX


def venue_http_client(base_url: str) -> httpx.AsyncClient:
    """Build the connections to one venue; build it once, it costs 16 ms, and close it.

    It goes where `base_url` says and nowhere else: redirects are answers, not orders, and
    cookies are dropped. A proxy of the environment (HTTPS_PROXY) is used, as curl would,
    except to reach this machine itself. There is no timeout here: VenueHttp bounds the whole.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        headers={
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        },
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=httpx.URL(base_url).host not in LOOPBACK,
        timeout=None,  # noqa: S113 - httpx's own limits start anew with every read
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=IDLE_SECONDS_MAX),
    )


class VenueHttp:
    """GETs to one venue, its circuit, and the pauses it asked for.

    The errors carry the venue's name only; its own words go to the log, cut and escaped.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        venue: str,
        timeout_seconds: float,
        pauses: Pauses,
        monotonic: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._http = http
        self._venue = venue
        self._timeout_seconds = timeout_seconds
        self._pauses = pauses
        self._monotonic = monotonic
        self._now_ms = now_ms
        self._circuit = Circuit(since=monotonic())

    @property
    def state(self) -> VenueState:
        """Whether the venue is asked at present, and since when."""
        now, circuit = self._monotonic(), self._circuit
        return VenueState(
            venue=self._venue,
            state=circuit.state,
            age_seconds=now - circuit.since,
            failures=circuit.failures,
            retry_after_seconds=circuit.seconds_to_wait(now),
        )

    @asynccontextmanager
    async def get(
        self, path: str, params: Mapping[str, str], *, bytes_max: int = RESPONSE_BYTES_MAX
    ) -> AsyncIterator[Answer]:
        """Ask once, and read the answer in the block: what it raises decides what counts.

        The answer's status is 200 or one that the caller has to read. An upstream error, from
        here or from the block, is a failure of the venue; anything else that is an answer of
        ours, as an unknown symbol, is its success.

        Raises UpstreamUnavailable when the venue could not be reached within the timeout,
        redirected, failed or refused (3xx, 5xx, 403, 408, 418, 429, 451), and PriceUnavailable
        at once, without a call, while it is left alone.
        """
        seconds = self._circuit.seconds_to_wait(self._monotonic())
        if seconds > 0:
            raise PriceUnavailable(self._venue, seconds)
        self._set(self._circuit.begun(self._monotonic()))
        turn = self._circuit.turn
        try:
            yield await self._ask(path, params, bytes_max)
        except (UpstreamUnavailable, UpstreamInvalid):
            self._set(self._circuit.failed(self._monotonic(), turn=turn))
            raise
        except GoblinError:
            self._set(self._circuit.succeeded(self._monotonic(), turn=turn))
            raise
        except BaseException:  # the caller left, or a bug of ours: it says nothing of the venue
            self._set(self._circuit.abandoned(self._monotonic(), turn=turn))
            raise
        self._set(self._circuit.succeeded(self._monotonic(), turn=turn))

    async def _ask(self, path: str, params: Mapping[str, str], bytes_max: int) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._exchange(path, params, bytes_max)
        except (httpx.HTTPError, OSError) as error:  # TimeoutError is an OSError
            self._warn(f"no answer: {type(error).__name__}", text=str(error).encode())
            raise UpstreamUnavailable(self._venue) from error
        match answer.status:
            case HTTPStatus.TOO_MANY_REQUESTS:
                raise self.limited("HTTP status 429", answer)
            case HTTPStatus.IM_A_TEAPOT:
                raise self._paused("HTTP status 418", answer, self._pauses.banned_seconds)
            case HTTPStatus.FORBIDDEN:
                is_ban = BAN_TEXT in answer.body.lower()
                seconds = self._pauses.banned_seconds if is_ban else self._pauses.forbidden_seconds
                raise self._paused("HTTP status 403", answer, seconds)
            case status if status // 100 in {3, 5} or status in REFUSED:
                raise self.unavailable(f"HTTP status {status}", answer)
            case _:
                return answer

    def json_object(self, answer: Answer) -> dict[str, Any]:
        """The body as a JSON object; UpstreamInvalid when it is none, or too large."""
        content = self.json_value(answer)
        if not isinstance(content, dict):
            raise self.invalid("not a JSON object", answer)
        return content

    def json_value(self, answer: Answer) -> object:
        """The body as whatever JSON it is; UpstreamInvalid when it is none, or too large."""
        if len(answer.body) > answer.bytes_max:
            raise self.invalid(f"more than {answer.bytes_max} bytes", answer)
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise self.invalid(f"not JSON: {type(error).__name__}", answer) from error

    def limited(self, reason: str, answer: Answer) -> UpstreamUnavailable:
        """Begin the pause that the answer's headers ask for; return the error to raise."""
        seconds = self._seconds_asked_for(answer.headers)
        return self._paused(
            reason, answer, self._pauses.limited_seconds if seconds is None else seconds
        )

    def unavailable(self, reason: str, answer: Answer) -> UpstreamUnavailable:
        """Log the answer; return the error to raise."""
        self._warn(reason, text=answer.body)
        return UpstreamUnavailable(self._venue)

    def invalid(self, reason: str, answer: Answer) -> UpstreamInvalid:
        """Log the answer; return the error to raise."""
        self._warn(f"{reason} (HTTP status {answer.status})", text=answer.body)
        return UpstreamInvalid(self._venue)

    async def _exchange(self, path: str, params: Mapping[str, str], bytes_max: int) -> Answer:
        body = bytearray()
        opened: list[Any] = []

        async def note(event: str, info: Mapping[str, Any]) -> None:
            if event.endswith("connect_tcp.complete"):
                opened.append(info["return_value"])

        trace = {"trace": note}
        try:
            async with self._http.stream("GET", path, params=params, extensions=trace) as response:
                stream = response.stream  # the bytes as sent: httpx would decompress without bound
                assert isinstance(stream, httpx.AsyncByteStream)
                async for chunk in stream:
                    body += chunk
                    if len(body) > bytes_max:
                        break
        except BaseException:
            for socket in opened:  # httpcore forgets it when we end its TLS handshake
                await socket.aclose()
            raise
        return Answer(
            status=response.status_code,
            headers=response.headers,
            body=bytes(body),
            bytes_max=bytes_max,
        )

    def _seconds_asked_for(self, headers: httpx.Headers) -> float | None:
        retry_after = headers.get("Retry-After", "")
        if WHOLE_NUMBER.fullmatch(retry_after):
            return float(retry_after)
        reset_ms = headers.get("X-Bapi-Limit-Reset-Timestamp", "")
        if WHOLE_NUMBER.fullmatch(reset_ms):
            seconds = (int(reset_ms) - self._now_ms()) / 1000
            # Outside these bounds one of the two clocks is wrong: the header says nothing.
            if 0 < seconds <= self._pauses.banned_seconds:
                return seconds
        return None

    def _paused(self, reason: str, answer: Answer, seconds: float) -> UpstreamUnavailable:
        seconds = min(seconds, self._pauses.banned_seconds)
        self._set(self._circuit.paused(self._monotonic(), seconds=seconds))
        return self.unavailable(f"{reason}, not asking for {seconds:g} seconds", answer)

    def _set(self, circuit: Circuit) -> None:
        if circuit.state is not self._circuit.state:
            level = logging.WARNING if circuit.state is CircuitState.OPEN else logging.INFO
            extra = {
                "venue": self._venue,
                "state": circuit.state.value,
                "failures": circuit.failures,
            }
            log.log(level, "venue circuit", extra=extra)
        self._circuit = circuit

    def _warn(self, reason: str, *, text: bytes) -> None:
        log.warning(
            "upstream failure",
            extra={
                "venue": self._venue,
                "reason": reason[:LOGGED_LENGTH_MAX],
                "upstream_text": repr(text[:LOGGED_LENGTH_MAX]),
            },
        )


class VenueClient:
    """What the clients of all venues have in common: their way to ask, and what comes of it.

    `http` comes from `venue_http_client` and stays the caller's to close. A call takes at
    most `timeout_seconds`, connecting and waiting for a free connection included.
    """

    venue: ClassVar[str]

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        timeout_seconds: float,
        pauses: Pauses = DEFAULT_PAUSES,
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._now_ms = now_ms
        self._http = VenueHttp(
            http,
            venue=self.venue,
            timeout_seconds=timeout_seconds,
            pauses=pauses,
            monotonic=monotonic,
            now_ms=now_ms,
        )

    @property
    def state(self) -> VenueState:
        """Whether the venue is asked at present."""
        return self._http.state
