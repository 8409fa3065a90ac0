"""Sending calls, again where that is safe, and following events.

What to send is in calls.py, when to send it again in retries.py.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from goblin.aio.listing import AsyncListing
from goblin.calls import (
    DEFAULT_URL,
    Call,
    Pages,
    base_address,
    credential_change,
    get,
    header_text,
    read_answer,
    read_data,
)
from goblin.decoding import read_json
from goblin.errors import (
    HOW_TO_MAKE_A_KEY,
    NOT_GOBLIN,
    BadAnswer,
    GoblinError,
    NotConfigured,
    Unauthenticated,
    Unreachable,
    error_of,
)
from goblin.models import Event, Session, Token
from goblin.retries import Attempts, Retries, passes, unreachable
from goblin.sse import SseParser

T = TypeVar("T")
EVENT_STREAM: Final = "text/event-stream"
STREAM_SILENCE_SECONDS_MAX: Final = 45.0
"""The server says something at least every 15 seconds."""

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_log = logging.getLogger("goblin")


class AsyncTransport:
    """A connection to one goblin with one identity."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        """`api_key` may also be the access token of a login."""
        self.url = base_address(url)
        self._access = None if api_key is None else header_text(api_key, "api_key")
        self._refresh: str | None = None
        self._renewing = asyncio.Lock()
        self._was_reached = False
        self._retries = retries or Retries()
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=timeout_seconds,
            # The environment's proxy does not lead to this very machine.
            trust_env=httpx.URL(self.url).host not in LOOPBACK,
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The goblin that GOBLIN_URL names, with the key in GOBLIN_API_KEY."""
        missing = [name for name in ("GOBLIN_URL", "GOBLIN_API_KEY") if not environment.get(name)]
        if missing:
            raise NotConfigured(
                f"the environment variable{'s' * (len(missing) > 1)} {' and '.join(missing)} "
                "must be set",
                hint=f"export GOBLIN_URL={DEFAULT_URL} GOBLIN_API_KEY=gob_...; ./scripts/run "
                f"starts goblin; to make a key: {HOW_TO_MAKE_A_KEY}",
            )
        return cls(environment["GOBLIN_URL"], api_key=environment["GOBLIN_API_KEY"])

    def __repr__(self) -> str:
        who = "nobody's" if self._access is None else "with a key"
        return f"<{type(self).__name__} {self.url} {who}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _keep(self, tokens: Token) -> None:
        self._access, self._refresh = tokens.access_token, tokens.refresh_token

    def _forget(self) -> None:
        self._access = self._refresh = None

    async def login(self, email: str, password: str) -> Session:
        """Ask as this user from now on; the session is renewed by itself."""
        call = credential_change("POST", "/auth/login", "always", email=email, password=password)
        session: Session = await self._get(Session, call)
        self._keep(session)
        return session

    async def refresh(self) -> Token:
        """New tokens for those of the login; happens by itself when they have expired."""
        return await asyncio.shield(self._renewed())

    async def _renewed(self) -> Token:
        async with self._renewing:
            return await self._exchanged()

    async def _renewed_unless_it_was(self, sent_with: str | None) -> None:
        async with self._renewing:
            if self._access == sent_with:
                await self._exchanged()

    async def _exchanged(self) -> Token:
        """New tokens, once at a time and to the end, even if whoever asked has left.

        The server takes a refresh token once: one that comes a second time ends the session.
        """
        if self._refresh is None:
            raise Unauthenticated("there is no session to renew: log in first")
        call = credential_change("POST", "/auth/refresh", "never", refresh_token=self._refresh)
        token: Token = await self._get(Token, call)
        self._keep(token)
        return token

    async def _get(self, wanted: Any, call: Call) -> Any:
        return read_data(wanted, await self._answer(call), call.name)

    async def _do(self, call: Call) -> None:
        await self._answer(call)

    def _list(self, pages: Pages[T]) -> AsyncListing[T]:
        return AsyncListing(self._answer, pages)

    async def _answer(self, call: Call) -> dict[str, Any]:
        return read_answer(await self._send(call, whole), call.name)

    async def _send(self, call: Call, read: Callable[[httpx.Response], Awaitable[T]]) -> T:
        """What `read` makes of the answer. Raises GoblinError."""
        attempts = Attempts(call, self._retries, url=self.url, was_reached=self._was_reached)
        has_renewed = False
        while True:
            sent_with = self._access
            try:
                async with self._http.stream(
                    call.method,
                    call.path,
                    params=call.query,
                    content=call.body,
                    headers=call.headers | self._authorization(),
                ) as response:
                    self._was_reached = True
                    if response.is_success:
                        return await read(response)
                    failure = _failure(call, response, await response.aread(), sent_with)
            except httpx.RequestError as error:
                wait = attempts.after_failure(error, was_sent=not isinstance(error, NOT_SENT))
            else:
                # Once: a server whose clock is ahead takes every token for expired.
                if not has_renewed and await self._is_renewed(failure, sent_with):
                    has_renewed = True
                    continue
                wait = attempts.after_answer(failure)
            await asyncio.sleep(wait)

    def _authorization(self) -> dict[str, str]:
        return {} if self._access is None else {"Authorization": f"Bearer {self._access}"}

    async def _is_renewed(self, failure: GoblinError, sent_with: str | None) -> bool:
        """Whether asking again with other tokens may help; one of many callers fetches them."""
        if failure.code != "token_expired" or self._refresh is None:
            return False
        await asyncio.shield(self._renewed_unless_it_was(sent_with))
        return True

    async def _save(self, call: Call, path: Path) -> None:
        """The answer as a file, which is there as a whole or not at all."""
        # Of its own: another may write the same file.
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")

        async def write(response: httpx.Response) -> None:
            with part.open("wb") as file:
                async for piece in response.aiter_bytes():
                    file.write(piece)

        try:
            await self._send(call, write)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    async def events(self, *, after: int = 0) -> AsyncGenerator[Event, None]:
        """Every event after this number, as it happens, without an end.

        Whatever breaks, the stream is opened again and goes on after the last event: nothing
        is missed and nothing comes twice. A refusal that passes is waited for, with a warning
        in the log "goblin". Remember `event.number`, and go on from there after
        a restart of your own. Raises GoblinError for what waiting does not help against.
        """
        last = after

        def rest() -> Call:
            return get("/events/stream", accept=EVENT_STREAM, after=last)

        async with aclosing(self._stream(rest)) as values:
            async for value in values:
                event: Event = read_data(Event, {"data": value}, rest().name)
                if event.number > last:
                    last = event.number
                    yield event

    async def _stream(self, ask: Callable[[], Call]) -> AsyncGenerator[Any, None]:
        """What a stream says; asked for again whenever it ends."""
        failures = 0
        while True:
            told, refused = None, None
            try:
                async with aclosing(self._connected(ask())) as values:
                    async for value in values:
                        failures = 0
                        yield value
            except httpx.RequestError as error:
                if not self._was_reached and isinstance(error, NOT_SENT):
                    raise unreachable(self.url, error) from error
            except GoblinError as failure:
                # Unreachable is the renewal of a login, of which nothing was sent.
                if not (passes(failure) or isinstance(failure, Unreachable)):
                    raise
                told, refused = failure.retry_after_seconds, failure
            wait = self._retries.wait_seconds(failures, told)
            wait = max(wait, self._retries.reconnect_seconds)
            if refused is not None:  # who waits for an event does not see why none comes
                _log.warning("events are waited for: %s; asked again in %.3g s", refused, wait)
            await asyncio.sleep(wait)
            failures += 1

    async def _connected(self, call: Call) -> AsyncGenerator[Any, None]:
        """What a stream says for as long as one connection holds, or one login."""
        sent_with = self._access
        async with self._http.stream(
            call.method,
            call.path,
            params=call.query,
            headers=call.headers | self._authorization(),
            timeout=httpx.Timeout(self._timeout_seconds, read=STREAM_SILENCE_SECONDS_MAX),
        ) as response:
            self._was_reached = True
            if not response.is_success:
                failure = _failure(call, response, await response.aread(), sent_with)
                if await self._is_renewed(failure, sent_with):
                    return
                raise failure
            if not response.headers.get("Content-Type", "").startswith(EVENT_STREAM):
                raise BadAnswer(f"{call.name} answered no events: {NOT_GOBLIN}")
            parser = SseParser()
            async for piece in response.aiter_bytes():
                for text in parser.feed(piece):
                    yield read_json(text)


async def whole(response: httpx.Response) -> bytes:
    """The answer in memory."""
    return await response.aread()


def _failure(
    call: Call, response: httpx.Response, content: bytes, sent_with: str | None
) -> GoblinError:
    return error_of(
        status=response.status_code,
        headers=response.headers,
        content=content,
        where=call.name,
        now=time.time(),
        has_credentials=sent_with is not None,
        idempotency_key=call.idempotency_key,
    )
