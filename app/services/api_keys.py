"""Making API keys; a bot keeps one where a person would log in."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from app.core.security import API_KEY_SHOWN_CHARACTERS, hash_secret, new_api_key
from app.db.connection import Connection
from app.db.dao import api_keys, sessions, users
from app.db.database import Database
from app.domain.access import Caller, Scope, TokenRevoked
from app.domain.api_keys import API_KEYS_MAX, ApiKey, ApiKeyNotFound, TooManyApiKeys
from app.domain.users import UserGone


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeApiKey:
    """A key and its secret, which is shown once and kept nowhere."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"MadeApiKey(key={self.key!r})"


async def make_api_key(
    db: Database,
    caller: Caller,
    *,
    name: str,
    scopes: Collection[Scope],
    expires_at: datetime | None,
) -> MadeApiKey:
    """A new key of the caller's that can do no more than they can.

    Raises ScopeRequired, TooManyApiKeys, and SessionRequired: a key that was stolen must not
    be able to make itself a successor.
    """
    session_id = caller.session_id()
    wanted = [scope for scope in Scope if scope in scopes]
    for scope in wanted:
        caller.require(scope)
    secret = new_api_key()

    async def work(conn: Connection) -> ApiKey:
        # The lock makes the limit hold, and a change of password find this key or refuse it.
        if not await users.lock_users(conn, user_ids=[caller.user.id]):
            raise UserGone
        if await sessions.get_ended_sessions(conn, session_ids=[session_id]):
            raise TokenRevoked
        if await api_keys.count_api_keys(conn, user_id=caller.user.id) >= API_KEYS_MAX:
            raise TooManyApiKeys
        return await api_keys.insert_api_key(
            conn,
            user_id=caller.user.id,
            name=name,
            key_hash=hash_secret(secret),
            prefix=secret[:API_KEY_SHOWN_CHARACTERS],
            scopes=wanted,
            expires_at=expires_at,
        )

    return MadeApiKey(key=await db.run_in_transaction(work), secret=secret)


async def delete_api_key(db: Database, caller: Caller, *, key_id: int) -> None:
    """Revoke a key of the caller's, at once and everywhere.

    Raises ApiKeyNotFound or SessionRequired.
    """
    caller.session_id()
    async with db.connection() as conn:
        is_deleted = await api_keys.delete_api_key(conn, user_id=caller.user.id, key_id=key_id)
    if not is_deleted:
        raise ApiKeyNotFound(key_id)
