from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from app.core.config import Settings, SettingsError
from app.core.security import (
    InvalidToken,
    InvalidTokenPayload,
    TokenClaims,
    TokenExpired,
    TokenKey,
    check_password_hashing,
    create_access_token,
    hash_password,
    read_access_token,
    token_key,
    verify_password,
)
from app.domain.access import SessionId
from app.domain.users import User, UserId
from passlib.hash import bcrypt

NOW = datetime.now(UTC)
KEY = TokenKey(secret="k" * 32, algorithm="HS256", lifetime=timedelta(minutes=60))
ADA = User(id=UserId(7), email="ada@example.com", name="Ada", balance=Decimal(0), created_at=NOW)


def signed(key: str = KEY.secret, algorithm: str = "HS256", **claims: Any) -> str:
    base = {
        "sub": ADA.email, "uid": 7, "sid": 3, "jti": "j", "typ": "access",
        "iat": NOW, "exp": NOW + timedelta(hours=5),
    }  # fmt: skip
    kept = {name: value for name, value in {**base, **claims}.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm)


def test_a_token_speaks_for_the_user_it_was_made_for_until_it_expires() -> None:
    token = create_access_token(ADA, session_id=SessionId(3), key=KEY, now=NOW)
    claims = read_access_token(token, key=KEY)
    raw = jwt.decode(token, options={"verify_signature": False})
    assert claims == TokenClaims(
        email=ADA.email, user_id=ADA.id, session_id=SessionId(3), expires_at=raw["exp"]
    )
    assert raw["exp"] - raw["iat"] == 3600
    old = create_access_token(
        ADA, session_id=SessionId(3), key=KEY, now=NOW - timedelta(minutes=61)
    )
    for token in (old, signed(exp=datetime.now(UTC)), signed(exp=1)):
        with pytest.raises(TokenExpired, match="Token expired"):
            read_access_token(token, key=KEY)


def test_a_token_of_a_process_whose_clock_is_a_little_ahead_is_good() -> None:
    ahead = datetime.now(UTC) + timedelta(seconds=20)
    assert read_access_token(signed(iat=ahead), key=KEY).user_id == ADA.id
    with pytest.raises(InvalidToken):
        read_access_token(signed(iat=ahead + timedelta(seconds=30)), key=KEY)


@pytest.mark.parametrize(
    "token",
    [
        "x", "a.b.c", "", "é", "x" * 5000,
        signed(key="another key that is long enough!"),
        signed(exp=None), signed(iat=None), signed(jti=None), signed(sid=None), signed(typ=None),
        signed(typ="refresh"), signed(aud="others"), signed(jti=5),
        signed(iat=NOW + timedelta(hours=1)), signed(nbf=NOW + timedelta(hours=1)),
        signed(key="k" * 64, algorithm="HS512"),
        jwt.encode({"sub": ADA.email, "uid": 7}, None, algorithm="none"),
    ],
    ids=lambda token: f"{len(token)} characters",  # the tokens themselves change with the time
)  # fmt: skip
def test_what_we_did_not_sign_for_now_is_an_invalid_token(token: str) -> None:
    with pytest.raises(InvalidToken, match="Invalid token"):
        read_access_token(token, key=KEY)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"uid": None},
        {"uid": "7"},
        {"uid": True},
        {"sid": "3"},
        {"sid": 0},
        {"sid": -1},
        {"sid": 2**63},
        {"sid": True},
    ],
)
def test_a_token_without_a_usable_subject_names_nobody(claims: dict[str, Any]) -> None:
    if claims.get("sub") == 7:
        token = jwt.api_jws.encode(
            b'{"sub":7,"uid":7,"sid":3,"jti":"j","typ":"access","iat":1,"exp":99999999999}',
            KEY.secret,
            algorithm="HS256",
        )
    else:
        token = signed(**claims)
    with pytest.raises(InvalidTokenPayload, match="Invalid token payload"):
        read_access_token(token, key=KEY)


def test_hashing_libraries_that_fit_together_pass_the_self_test() -> None:
    check_password_hashing()


def test_every_byte_of_a_password_counts() -> None:
    hashed = hash_password("é" * 36)
    assert verify_password("é" * 36, hashed) == (True, None)
    assert verify_password("é" * 35 + "e", hashed) == (False, None)


def test_a_plain_bcrypt_hash_of_an_older_installation_verifies_and_is_renewed() -> None:
    old = bcrypt.using(rounds=4).hash("correct horse")
    is_right, renewed = verify_password("correct horse", old)
    assert is_right
    assert renewed is not None
    assert renewed.startswith("$bcrypt-sha256$")
    assert verify_password("wrong horse", old)[0] is False


def test_a_hash_of_fewer_rounds_than_are_wanted_verifies_and_is_renewed_and_more_are_kept() -> None:
    old = hash_password("correct horse", rounds=4)
    is_right, renewed = verify_password("correct horse", old, rounds=5)
    assert is_right
    assert renewed is not None
    assert ",r=5$" in renewed
    assert verify_password("correct horse", renewed, rounds=5) == (True, None)
    assert verify_password("correct horse", renewed, rounds=4) == (True, None)


def test_a_hash_has_twelve_rounds_unless_told_otherwise() -> None:
    assert ",r=12$" in hash_password("correct horse")


def test_an_unreadable_hash_is_a_wrong_password_not_an_error() -> None:
    assert verify_password("anything", "!") == (False, None)


def test_a_key_never_shows_its_secret() -> None:
    assert "kkk" not in repr(KEY)


def test_a_generated_secret_is_kept_private_and_the_same_for_every_process(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", jwt_secret_key=None)
    first, second = token_key(settings), token_key(settings)
    assert first == second
    assert len(first.secret) >= 64
    assert (tmp_path / "data" / "jwt-secret").stat().st_mode & 0o077 == 0
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["jwt-secret"]


def test_a_damaged_secret_file_stops_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "jwt-secret").write_text("short")
    with pytest.raises(SettingsError, match="delete it"):
        token_key(Settings(_env_file=None, data_dir=tmp_path, jwt_secret_key=None))
