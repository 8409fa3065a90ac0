"""From what was sent to who is asking."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Final

from app.core.security import (
    NotAuthenticated,
    TokenExpired,
    TokenKey,
    hash_secret,
    read_access_token,
)
from app.db.dao import api_keys, callers
from app.db.dao.callers import FoundKey, FoundUser
from app.db.database import Database
from app.domain.access import (
    ApiKeyId,
    Caller,
    Claim,
    Credential,
    CredentialKind,
    InvalidApiKey,
    SessionId,
    admit,
)
from app.domain.api_keys import API_KEY_PREFIX
from app.domain.ids import ID_MAX
from app.domain.users import UserGone, UserId
from app.services.gathering import Gathering

USE_NOTED_EVERY: Final = timedelta(minutes=1)
USES_MAX: Final = 10_000
"""Most keys that are remembered until their use is written down."""
SECRETS_REMEMBERED_MAX: Final = 5_000
"""Tokens whose signature need not be computed again, and keys whose owner is known."""


class ApiKeyUses:
    """When API keys were used, until a job writes it down; no request waits for that."""

    def __init__(self) -> None:
        self._used_at: dict[ApiKeyId, datetime] = {}
        self._written: dict[ApiKeyId, datetime] = {}

    def note(self, key_id: ApiKeyId, *, at: datetime, noted_at: datetime | None = None) -> None:
        """Remember a use, unless one was written down less than a minute ago.

        By this process, that is, or at `noted_at` as the caller has read.
        """
        noted_at = noted_at or self._written.get(key_id)
        if noted_at is not None and at - noted_at < USE_NOTED_EVERY:
            return
        if key_id in self._used_at or len(self._used_at) < USES_MAX:
            self._used_at[key_id] = at

    async def write_down(self, db: Database) -> None:
        """Write what was noted since the last time; if that fails, it is tried again."""
        noted = dict(self._used_at)
        if not noted:
            return
        async with db.connection() as conn:
            await api_keys.update_last_used(conn, key_ids=list(noted), used_at=list(noted.values()))
        for key_id, at in noted.items():
            if self._used_at.get(key_id) == at:
                del self._used_at[key_id]
        newest = max(noted.values())
        self._written = {
            key_id: at
            for key_id, at in (self._written | noted).items()
            if newest - at < USE_NOTED_EVERY
        }


class Authenticator:
    """Finds out who asks, for everybody who asks at the same time at once.

    `now` says when a token that is remembered has expired, in seconds since 1970 UTC.
    """

    def __init__(
        self,
        db: Database,
        *,
        key: TokenKey,
        uses: ApiKeyUses,
        now: Callable[[], float] = time.time,
        remembered_max: int = SECRETS_REMEMBERED_MAX,
    ) -> None:
        self._db, self._uses, self._now = db, uses, now
        self._remembered_max = remembered_max
        self._sessions = Gathering(self._find_sessions)
        self._api_keys = Gathering(self._find_api_keys)
        remember = lru_cache(maxsize=remembered_max)
        self._claims_of = remember(partial(read_access_token, key=key))
        self._keys: OrderedDict[bytes, Claim] = OrderedDict()

    async def authenticate(self, secret: str | None) -> Caller:
        """The caller that an access token or an API key speaks for.

        Raises Unauthenticated kinds.
        """
        if not secret:
            raise NotAuthenticated
        if secret.startswith(API_KEY_PREFIX):
            return await self._by_api_key(secret)
        return await self._by_token(self._claim(secret))

    def claim(self, secret: str | None) -> Claim | None:
        """What an access token says, to be held against the database by whoever asks it anyway.

        An API key says nothing by itself: None, unless it has been seen here, when it is likely
        still that user's. Raises Unauthenticated kinds.
        """
        if not secret:
            raise NotAuthenticated
        if secret.startswith(API_KEY_PREFIX):
            return self._keys.get(hash_secret(secret))
        return self._claim(secret)

    async def _by_token(self, claim: Claim) -> Caller:
        found = await self._sessions.ask((claim.user_id, SessionId(claim.credential.id)))
        scopes = admit(claim, None if found is None else found.standing)
        assert found is not None, "nobody else is admitted"
        return Caller(user=found.user, credential=claim.credential, scopes=scopes)

    def _claim(self, token: str) -> Claim:
        """What the token says; one that was read before cannot have become another's."""
        claims = self._claims_of(token)
        if self._now() >= claims.expires_at:
            raise TokenExpired
        if not 1 <= claims.user_id <= ID_MAX:
            raise UserGone
        session = Credential(kind=CredentialKind.SESSION, id=claims.session_id)
        return Claim(user_id=claims.user_id, credential=session, email=claims.email)

    async def _by_api_key(self, secret: str) -> Caller:
        key_hash = hash_secret(secret)
        found = await self._api_keys.ask(key_hash)
        if found is None:
            raise InvalidApiKey
        key = Credential(kind=CredentialKind.API_KEY, id=found.key_id)
        scopes = found.standing.allowed()
        self._uses.note(found.key_id, at=datetime.now(UTC), noted_at=found.last_used_at)
        self._keys[key_hash] = Claim(user_id=found.user.id, credential=key, key_hash=key_hash)
        if len(self._keys) > self._remembered_max:
            self._keys.popitem(last=False)
        return Caller(user=found.user, credential=key, scopes=scopes)

    async def _find_sessions(
        self, asked: Sequence[tuple[UserId, SessionId]]
    ) -> list[FoundUser | None]:
        async with self._db.connection() as conn:
            found = await callers.get_users_with_sessions(
                conn,
                user_ids=[user_id for user_id, _ in asked],
                session_ids=[session_id for _, session_id in asked],
            )
        return [found.get(pair) for pair in asked]

    async def _find_api_keys(self, hashes: Sequence[bytes]) -> list[FoundKey | None]:
        async with self._db.connection() as conn:
            found = await callers.get_users_with_keys(conn, key_hashes=hashes)
        return [found.get(key_hash) for key_hash in hashes]
