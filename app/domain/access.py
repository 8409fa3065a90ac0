"""Who asks, what proves it, and what that allows."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from app.domain.errors import Forbidden, Unauthenticated
from app.domain.users import User, UserGone, UserId

SessionId = NewType("SessionId", int)
ApiKeyId = NewType("ApiKeyId", int)


class Scope(StrEnum):
    """What a credential allows. None includes another."""

    READ = "read"
    TRADE = "trade"
    ADMIN = "admin"


class Role(StrEnum):
    """What a user is to the installation."""

    USER = "user"
    ADMINISTRATOR = "administrator"


class CredentialKind(StrEnum):
    """What a caller can prove who they are with."""

    SESSION = "session"
    API_KEY = "api_key"


SCOPES_OF: Final = {
    Role.USER: frozenset({Scope.READ, Scope.TRADE}),
    Role.ADMINISTRATOR: frozenset(Scope),
}
"""The most that a user of each role can do, with whatever credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What was checked: a session or an API key, by its id. Not the secret."""

    kind: CredentialKind
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user, and what they may do with the credential that they sent."""

    user: User
    credential: Credential
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raise ScopeRequired unless the credential allows it."""
        if scope not in self.scopes:
            raise ScopeRequired(scope)

    def session_id(self) -> SessionId:
        """The session that the caller logged in to. Raises SessionRequired for an API key."""
        if self.credential.kind is not CredentialKind.SESSION:
            raise SessionRequired
        return SessionId(self.credential.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Whom a credential speaks for, unless the user, the session or the key has ended since."""

    user_id: UserId
    credential: Credential
    email: str | None = None
    """What the token says; a key says nothing."""
    key_hash: bytes | None = None
    """Of the key that was sent. Whose it was when it was last seen is a guess until it is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the database says now of a session or a key that exists, and of its user."""

    email: str
    role: Role
    is_disabled: bool
    is_session_live: bool = True
    is_key_expired: bool = False
    scopes: frozenset[Scope] = frozenset(Scope)
    """Those of a key; a session has all of its user's."""

    def allowed(self) -> frozenset[Scope]:
        """What the caller may do. Raises UserDisabled, ApiKeyExpired or TokenRevoked."""
        if self.is_disabled:
            raise UserDisabled
        if self.is_key_expired:
            raise ApiKeyExpired
        if not self.is_session_live:
            raise TokenRevoked
        return SCOPES_OF[self.role] & self.scopes


def admit(claim: Claim, standing: Standing | None) -> frozenset[Scope]:
    """What the caller may do. Raises UserGone, InvalidApiKey and as `Standing.allowed`."""
    if claim.email is None:
        if standing is None:
            raise InvalidApiKey
    elif standing is None or standing.email.lower() != claim.email.lower():
        raise UserGone
    return standing.allowed()


class ScopeRequired(Forbidden):
    """The caller is known, and the credential does not allow this."""

    code = "scope_required"

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"this needs the scope '{scope}'")
        self.scope = scope


class SessionRequired(Forbidden):
    """Passwords, sessions and keys are changed by who logged in, never by a key."""

    code = "session_required"

    def __init__(self) -> None:
        super().__init__("an API key cannot do this: log in")


class TokenRevoked(Unauthenticated):
    """The token was good, and its session has been ended."""

    code = "token_revoked"

    def __init__(self) -> None:
        super().__init__("Token revoked")


class UserDisabled(Unauthenticated):
    """An administrator has disabled the account."""

    code = "user_disabled"

    def __init__(self) -> None:
        super().__init__("User is disabled")


class InvalidApiKey(Unauthenticated):
    """No such key, or not any more."""

    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("Invalid API key")


class ApiKeyExpired(Unauthenticated):
    """The key was made for a time that is over."""

    code = "api_key_expired"

    def __init__(self) -> None:
        super().__init__("API key expired")


class ConflictingCredentials(Unauthenticated):
    """Authorization and X-API-Key differ, or one came twice; choosing would be guessing."""

    code = "conflicting_credentials"

    def __init__(self) -> None:
        super().__init__("more than one credential was sent: send Authorization or X-API-Key, once")


class InvalidRefreshToken(Unauthenticated):
    """Unknown, expired, or of a session that has been ended."""

    code = "invalid_refresh_token"

    def __init__(self) -> None:
        super().__init__("Invalid refresh token: log in again")


class RefreshTokenReused(Unauthenticated):
    """A refresh token came twice, so two parties have it: the session is ended for both."""

    code = "refresh_token_reused"

    def __init__(self) -> None:
        super().__init__("Refresh token used twice, the session is ended: log in again")
