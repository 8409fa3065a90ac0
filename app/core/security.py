"""Passwords and tokens: plain functions, no state, no I/O but for the secret's own file."""

import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import jwt
from passlib.context import CryptContext

from app.core.config import JWT_SECRET_BYTES_MIN, Settings, SettingsError
from app.domain.errors import Unauthenticated
from app.domain.users import User, UserId

PASSWORD_BYTES_MIN: Final = 8
PASSWORD_BYTES_MAX: Final = 72
TOKEN_CHARACTERS_MAX: Final = 4096

# bcrypt_sha256 uses every byte of a password; plain bcrypt hashes of older installations
# verify and are replaced at the next login.
_CONTEXT: Final = CryptContext(schemes=["bcrypt_sha256", "bcrypt"], deprecated="auto")


def hash_password(password: str) -> str:
    """A salted bcrypt hash. Takes about 0.2 s of one core: never call it on the event loop."""
    hashed: str = _CONTEXT.hash(password)
    return hashed


def verify_password(password: str, hashed: str) -> tuple[bool, str | None]:
    """Whether the password is right, and a new hash if the old one's scheme is outdated.

    An unreadable hash is a wrong password, not an error.
    """
    try:
        is_right, renewed = _CONTEXT.verify_and_update(password, hashed)
    except ValueError:
        return False, None
    return bool(is_right), renewed


def check_password_hashing() -> None:
    """Fail at the start, not at the first login, if the hashing libraries do not fit together."""
    for scheme in ("bcrypt_sha256", "bcrypt"):
        cheap = _CONTEXT.handler(scheme).using(rounds=4)
        if not _CONTEXT.verify("goblin self-test", cheap.hash("goblin self-test")):
            raise RuntimeError("password hashing is broken: reinstall requirements.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """What tokens are signed with and how long they live."""

    secret: str
    algorithm: str
    lifetime: timedelta

    def __repr__(self) -> str:
        return f"TokenKey(algorithm={self.algorithm!r}, lifetime={self.lifetime!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """Who a valid token speaks for."""

    email: str
    user_id: UserId


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


def create_access_token(user: User, *, key: TokenKey, now: datetime) -> str:
    """A signed JWT for the user with sub (the e-mail), uid, iat, exp and a unique jti."""
    claims = {
        "sub": user.email,
        "uid": user.id,
        "iat": int(now.timestamp()),
        "exp": int((now + key.lifetime).timestamp()),
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, key.secret, algorithm=key.algorithm)


def read_access_token(token: str, *, key: TokenKey) -> TokenClaims:
    """The claims of a token that we signed and that has not expired.

    Raises TokenExpired, InvalidTokenPayload (no usable subject) or InvalidToken.
    """
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise InvalidToken
    try:
        claims = jwt.decode(
            token,
            key.secret,
            algorithms=[key.algorithm],
            options={"require": ["exp", "iat"], "verify_sub": False},
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired from None
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidToken from None
    email, user_id = claims.get("sub"), claims.get("uid")
    if not isinstance(email, str) or not email or type(user_id) is not int:
        raise InvalidTokenPayload
    return TokenClaims(email=email, user_id=UserId(user_id))


def token_key(settings: Settings) -> TokenKey:
    """The configured secret, or in development one that is generated once and kept."""
    if settings.jwt_secret_key is not None:
        secret = settings.jwt_secret_key.get_secret_value()
    else:
        secret = _kept_secret(
            settings.data_dir / "jwt-secret", JWT_SECRET_BYTES_MIN[settings.jwt_algorithm]
        )
    return TokenKey(
        secret=secret,
        algorithm=settings.jwt_algorithm,
        lifetime=timedelta(minutes=settings.jwt_expires_minutes),
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
