"""Renewing a login while others ask, or leave."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import goblin
import pytest
import pytest_asyncio
from app.core.security import create_access_token, read_access_token
from app.db.dao.users import Credentials
from app.domain.access import SessionId
from app.services.authentication import Authenticator
from app.services.sessions import begin_session
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.client.conftest import AT_ONCE
from tests.conftest import Installation, Person
from tests.serving import served


class Holding:
    """Keeps the answer to a renewal, which has happened, until it is told to go on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.has_renewed, self.goes_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        is_renewal = scope["path"] == "/auth/refresh"
        await self._app(scope, receive, keep)
        if is_renewal:
            self.has_renewed.set()
            await self.goes_on.wait()
        for message in answer:
            await send(message)


@pytest_asyncio.fixture
async def expired(
    installation: Installation, somebody: Person
) -> AsyncIterator[tuple[goblin.AsyncClient, Holding]]:
    """Somebody's client, whose access token is of yesterday."""
    holding = Holding(installation.app)
    resources = installation.resources
    login = Credentials(user=somebody.user, password_hash="!")
    issued = await begin_session(resources.db, login, key=resources.token_key)
    session_id = read_access_token(issued.access_token, key=resources.token_key).session_id
    old = create_access_token(
        somebody.user,
        session_id=SessionId(session_id),
        key=resources.token_key,
        now=datetime.now(UTC) - resources.token_key.lifetime - timedelta(days=1),
    )
    async with (
        served(cast("FastAPI", holding)) as url,
        goblin.AsyncClient(url, api_key=old, retries=AT_ONCE) as client,
    ):
        client._refresh = issued.refresh_token  # noqa: SLF001 - as after a login
        yield client, holding


async def test_who_leaves_while_the_login_is_renewed_ends_it_for_nobody(
    expired: tuple[goblin.AsyncClient, Holding], somebody: Person
) -> None:
    client, holding = expired
    leaving = asyncio.create_task(client.me())
    await holding.has_renewed.wait()
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    holding.goes_on.set()
    assert (await client.me()).id == somebody.user.id


async def test_two_who_renew_one_login_at_the_same_time_both_stay_logged_in(
    expired: tuple[goblin.AsyncClient, Holding], somebody: Person
) -> None:
    client, holding = expired
    holding.goes_on.set()
    one, other = await asyncio.gather(client.refresh(), client.refresh())
    assert one.access_token != other.access_token
    assert (await client.me()).id == somebody.user.id


async def test_a_login_that_is_always_taken_for_expired_is_not_renewed_for_ever(
    expired: tuple[goblin.AsyncClient, Holding], installation: Installation
) -> None:
    """As by one of two servers, whose clock is ahead."""
    client, holding = expired
    holding.goes_on.set()
    resources = installation.resources
    ahead = Authenticator(
        resources.db,
        key=resources.token_key,
        uses=resources.api_key_uses,
        now=lambda: time.time() + 2 * resources.token_key.lifetime.total_seconds(),
    )
    installation.app.state.resources = replace(resources, authenticator=ahead)
    try:
        with pytest.raises(goblin.Unauthenticated) as failed:
            async with asyncio.timeout(20):
                await client.me()
    finally:
        installation.app.state.resources = resources
    assert failed.value.code == "token_expired"
