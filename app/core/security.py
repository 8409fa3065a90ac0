"""Passwords and tokens: plain functions, no state, no I/O but for the secret's own file."""

import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import jwt
from passlib.context import CryptContext

from app.core.config import JWT_SECRET_BYTES_MIN, PASSWORD_ROUNDS, Settings, SettingsError
from app.core.passwords import PASSWORD_BYTES_MAX
from app.domain.access import SessionId
from app.domain.api_keys import API_KEY_PREFIX
from app.domain.errors import Unauthenticated
from app.domain.ids import ID_MAX
from app.domain.users import User, UserId

TOKEN_CHARACTERS_MAX: Final = 4096
SECRET_BYTES: Final = 40
"""320 random bits; of an API key 48 of them are shown later."""
API_KEY_SHOWN_CHARACTERS: Final = len(API_KEY_PREFIX) + 8
REFRESH_TOKEN_PREFIX: Final = "gor_"  # noqa: S105 - what follows is the secret
ACCESS_TYPE: Final = "access"
CLOCKS_APART_SECONDS_MAX: Final = 30
"""How far the clock of the process that made a token may be ahead of ours."""
REQUIRED_CLAIMS: Final = ("exp", "iat", "jti", "sid", "typ")

# A shorter key than the hash is refused, not only warned of.
_JWT: Final = jwt.PyJWT(options={"enforce_minimum_key_length": True})


# bcrypt_sha256 uses every byte of a password; plain bcrypt hashes of older installations
# verify and are replaced at the next login.
# So is a hash of fewer rounds than are wanted now.
@cache
def _context(rounds: int) -> CryptContext:
    return CryptContext(
        schemes=["bcrypt_sha256", "bcrypt"],
        deprecated="auto",
        bcrypt_sha256__default_rounds=rounds,
        bcrypt_sha256__min_rounds=rounds,
    )


def hash_password(password: str, *, rounds: int = PASSWORD_ROUNDS) -> str:
    """A salted bcrypt hash of 2^rounds rounds.

    Twelve take about 0.2 s of one core: never call it on the event loop.
    """
    hashed: str = _context(rounds).hash(password)
    return hashed


def verify_password(
    password: str, hashed: str, *, rounds: int = PASSWORD_ROUNDS
) -> tuple[bool, str | None]:
    """Whether the password is right, and a new hash if the old one is outdated.

    An unreadable hash is a wrong password, not an error.
    """
    try:
        is_right, renewed = _context(rounds).verify_and_update(password, hashed)
    except ValueError:
        return False, None
    return bool(is_right), renewed


def can_verify(password: str, hashed: str) -> bool:
    """Whether checking this password against this hash takes the time of a check.

    It does not for a hash that cannot be read, and for a password longer than plain bcrypt
    accepts, which nobody can have chosen.
    """
    return (
        len(password.encode()) <= PASSWORD_BYTES_MAX
        and _context(PASSWORD_ROUNDS).identify(hashed) is not None
    )


def check_password_hashing() -> None:
    """Fail at the start, not at the first login, if the hashing libraries do not fit together."""
    context = _context(PASSWORD_ROUNDS)
    for scheme in ("bcrypt_sha256", "bcrypt"):
        cheap = context.handler(scheme).using(rounds=4)
        if not context.verify("goblin self-test", cheap.hash("goblin self-test")):
            raise RuntimeError("password hashing is broken: reinstall requirements.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """What tokens are signed with and how long they live."""

    secret: str
    algorithm: str
    lifetime: timedelta
    refresh_lifetime: timedelta = timedelta(days=30)

    def __repr__(self) -> str:
        return f"TokenKey(algorithm={self.algorithm!r}, lifetime={self.lifetime!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """Who a valid token speaks for."""

    email: str
    user_id: UserId
    session_id: SessionId
    expires_at: int
    """Seconds since 1970 UTC."""


class NotAuthenticated(Unauthenticated):
    """No bearer token was sent."""

    code = "not_authenticated"

    def __init__(self) -> None:
        super().__init__("Not authenticated")


class TokenExpired(Unauthenticated):
    """The token was good once."""

    code = "token_expired"

    def __init__(self) -> None:
        super().__init__("Token expired")


class InvalidToken(Unauthenticated):
    """Not signed by us, or not a token at all."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("Invalid token")


class InvalidTokenPayload(Unauthenticated):
    """Signed by us, yet it names nobody."""

    code = "invalid_token_payload"

    def __init__(self) -> None:
        super().__init__("Invalid token payload")


def create_access_token(user: User, *, session_id: SessionId, key: TokenKey, now: datetime) -> str:
    """A signed JWT for a session of the user's: sub (the e-mail), uid, sid, iat, exp, jti."""
    claims = {
        "sub": user.email,
        "uid": user.id,
        "sid": session_id,
        "typ": ACCESS_TYPE,
        "iat": int(now.timestamp()),
        "exp": int((now + key.lifetime).timestamp()),
        "jti": secrets.token_urlsafe(16),
    }
    return _JWT.encode(claims, key.secret, algorithm=key.algorithm)


def read_access_token(token: str, *, key: TokenKey) -> TokenClaims:
    """The claims of a token that we signed and that has not expired.

    Raises TokenExpired, InvalidTokenPayload (no usable subject) or InvalidToken.
    """
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise InvalidToken
    try:
        read = _JWT.decode_complete(
            token,
            key.secret,
            algorithms=[key.algorithm],
            options={"require": [*REQUIRED_CLAIMS], "verify_sub": False, "verify_iat": False},
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired from None
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidToken from None
    claims = read["payload"]
    # Our own header has no other member, so none that names a key or wants to be understood.
    if not {"alg", "typ"} >= set(read["header"]) or claims["typ"] != ACCESS_TYPE:
        raise InvalidToken
    if type(claims["iat"]) is not int or claims["iat"] > time.time() + CLOCKS_APART_SECONDS_MAX:
        raise InvalidToken
    email, user_id, session_id = claims.get("sub"), claims.get("uid"), claims["sid"]
    if not isinstance(email, str) or not email or type(user_id) is not int:
        raise InvalidTokenPayload
    if type(session_id) is not int or not 1 <= session_id <= ID_MAX:
        raise InvalidTokenPayload
    return TokenClaims(
        email=email,
        user_id=UserId(user_id),
        session_id=SessionId(session_id),
        expires_at=int(claims["exp"]),
    )


def new_api_key() -> str:
    """A secret that names itself, so that a leaked one can be searched for."""
    return API_KEY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def new_refresh_token() -> str:
    """The same for what a session is renewed with."""
    return REFRESH_TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hash_secret(secret: str) -> bytes:
    """SHA-256, which is enough for a secret that nobody can guess."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def token_key(settings: Settings) -> TokenKey:
    """The configured secret, or in development one that is generated once and kept."""
    if settings.jwt_secret_key is not None:
        secret = settings.jwt_secret_key.get_secret_value()
    else:
        bytes_min = JWT_SECRET_BYTES_MIN[settings.jwt_algorithm]
        secret = _kept_secret(settings.data_dir / "jwt-secret", bytes_min)
    if settings.is_replay:
        # User 1 there is somebody else here: a token of the one must be none of the other.
        secret = f"{secret} {settings.db_name}"
    return TokenKey(
        secret=secret,
        algorithm=settings.jwt_algorithm,
        lifetime=timedelta(minutes=settings.jwt_expires_minutes),
        refresh_lifetime=timedelta(days=settings.refresh_token_days),
    )


def _kept_secret(file: Path, bytes_min: int) -> str:
    """Read the secret, creating it first if needed; two processes at once agree on one.

    Raises SettingsError.
    """
    try:
        if not file.exists():
            _make_secret(file)
        secret = file.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"the JWT secret cannot be kept in {file}: {error.strerror}. Make the folder "
            "writable, set DATA_DIR to another, or set JWT_SECRET_KEY"
        ) from error
    if len(secret.encode()) < bytes_min:
        raise SettingsError(f"{file} is damaged: delete it (everybody has to log in again)")
    return secret


def _make_secret(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_urlsafe(64))
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(draft, file)  # atomic, and refuses to replace another process's secret
    except FileExistsError:
        pass
    finally:
        draft.unlink()
