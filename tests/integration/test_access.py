"""What a request meets when something changed after its caller was let in."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from app.core.security import NotAuthenticated, TokenExpired, read_access_token
from app.db.dao.users import Credentials
from app.domain.access import ApiKeyId, Caller, Credential, CredentialKind, Scope, TokenRevoked
from app.domain.api_keys import ApiKey
from app.domain.instruments import Symbol
from app.domain.users import UserGone, UserId, WrongCredentials
from app.services.api_keys import MadeApiKey, make_api_key
from app.services.authentication import USES_MAX, ApiKeyUses, Authenticator
from app.services.decisions import Opening
from app.services.sessions import IssuedTokens, begin_session
from app.services.trading import preview
from tests.conftest import Installation, Person
from tests.integration.accounts import CHEAP_HASH, api_key, log_in, refresh, with_password
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.books import priced


async def test_no_session_begins_with_a_password_that_was_changed_meanwhile(
    installation: Installation, bob: Person
) -> None:
    resources = installation.resources
    stale = Credentials(user=bob.user, password_hash="of another password")
    with pytest.raises(WrongCredentials):
        await begin_session(resources.db, stale, key=resources.token_key)


async def test_no_session_begins_for_a_user_who_was_disabled_meanwhile(
    installation: Installation, bob: Person
) -> None:
    resources = installation.resources
    await with_password(installation, bob)
    login = await log_in(installation, bob)
    async with resources.db.connection() as conn:
        await conn.execute("UPDATE users SET disabled_at = now() WHERE id = $1", bob.user.id)
    known = Credentials(user=bob.user, password_hash=CHEAP_HASH)
    with pytest.raises(WrongCredentials):
        await begin_session(resources.db, known, key=resources.token_key)
    assert_is_error(await refresh(installation, login.refresh_token), 401, "user_disabled")


async def test_no_key_is_made_by_a_session_that_ended_meanwhile_or_for_a_user_who_is_gone(
    installation: Installation, bob: Person
) -> None:
    db = installation.resources.db
    ended = Caller(
        user=bob.user,
        credential=Credential(kind=CredentialKind.SESSION, id=2**40),
        scopes=frozenset(Scope),
    )
    with pytest.raises(TokenRevoked):
        await make_api_key(db, ended, name="bot", scopes=[Scope.READ], expires_at=None)
    gone = replace(ended, user=replace(bob.user, id=UserId(2**40)))
    with pytest.raises(UserGone):
        await make_api_key(db, gone, name="bot", scopes=[Scope.READ], expires_at=None)
    assert (await bob.client.get("/auth/api-keys")).json()["data"] == {"api_keys": []}


async def test_nobody_who_is_gone_is_told_what_an_order_would_do(
    installation: Installation,
) -> None:
    opening = Opening(
        user_id=UserId(2**40),
        symbol=Symbol("BTCUSDT"),
        quantity=Decimal(1),
        priced=priced("BTCUSDT", "2"),
        request_id="gone",
    )
    with pytest.raises(UserGone):
        await preview(installation.resources.db, opening)


async def test_a_token_that_is_remembered_is_refused_from_the_second_that_it_expires(
    installation: Installation, bob: Person
) -> None:
    resources = installation.resources
    token = bob.client.headers["Authorization"].removeprefix("Bearer ")
    expires_at = read_access_token(token, key=resources.token_key).expires_at
    times = iter([expires_at - 0.1, expires_at - 0.1, expires_at])
    authenticator = Authenticator(
        resources.db,
        key=resources.token_key,
        uses=resources.api_key_uses,
        now=lambda: next(times),
    )
    for _ in range(2):
        assert (await authenticator.authenticate(token)).user == bob.user
    with pytest.raises(TokenExpired):
        await authenticator.authenticate(token)


async def test_a_key_is_claimed_once_it_was_seen_and_few_are_remembered(
    installation: Installation, bob: Person
) -> None:
    resources = installation.resources
    first, second = [(await api_key(bob))["key"] for _ in range(2)]
    authenticator = Authenticator(
        resources.db, key=resources.token_key, uses=resources.api_key_uses, remembered_max=1
    )
    assert authenticator.claim(first) is None
    for seen, other in ((first, second), (second, first)):
        await authenticator.authenticate(seen)
        claim = authenticator.claim(seen)
        assert claim is not None
        assert claim.user_id == bob.user.id
        assert authenticator.claim(other) is None
    with pytest.raises(NotAuthenticated):
        authenticator.claim("")


async def test_uses_that_wait_to_be_written_down_are_bounded_and_the_latest_wins(
    installation: Installation, bob: Person
) -> None:
    made = await api_key(bob, "read")
    uses, now = ApiKeyUses(), datetime.now(UTC)
    for number in range(USES_MAX - 1):
        uses.note(ApiKeyId(2**40 + number), at=now, noted_at=None)
    uses.note(ApiKeyId(made["id"]), at=now - timedelta(seconds=5), noted_at=None)
    uses.note(ApiKeyId(2**41), at=now, noted_at=None)
    uses.note(ApiKeyId(made["id"]), at=now, noted_at=None)
    await uses.write_down(installation.resources.db)
    (listed,) = (await bob.client.get("/auth/api-keys")).json()["data"]["api_keys"]
    assert datetime.fromisoformat(listed["last_used_at"]) == now
    await uses.write_down(installation.resources.db)


async def test_a_use_that_comes_while_an_earlier_one_is_written_down_is_written_next(
    installation: Installation, bob: Person
) -> None:
    made = await api_key(bob, "read")
    uses, now = ApiKeyUses(), datetime.now(UTC)
    uses.note(ApiKeyId(made["id"]), at=now - timedelta(minutes=2))
    writing = asyncio.create_task(uses.write_down(installation.resources.db))
    await asyncio.sleep(0)
    uses.note(ApiKeyId(made["id"]), at=now)
    await writing
    await uses.write_down(installation.resources.db)
    (listed,) = (await bob.client.get("/auth/api-keys")).json()["data"]["api_keys"]
    assert datetime.fromisoformat(listed["last_used_at"]) == now


def test_nothing_that_holds_a_secret_shows_it_when_it_is_printed() -> None:
    key = ApiKey(
        id=ApiKeyId(1),
        name="bot",
        prefix="gob_",
        scopes=[Scope.READ],
        created_at=datetime.now(UTC),
        expires_at=None,
        last_used_at=None,
    )
    tokens = IssuedTokens(
        access_token="SECRET",
        refresh_token="SECRET",
        expires_in=timedelta(hours=1),
        scopes=frozenset(Scope),
    )
    for holder in (MadeApiKey(key=key, secret="SECRET"), tokens):
        assert "SECRET" not in f"{holder} {holder!r}"
