import os
from decimal import Decimal
from pathlib import Path

import pytest
from app.core.config import PROJECT, SettingsError, load_settings


def test_every_key_is_optional() -> None:
    settings = load_settings(env_file=None)
    assert settings.db_host is None
    assert settings.bybit_base_url == "https://api.bybit.com"


def test_the_env_file_is_read_and_unknown_keys_in_it_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("STARTING_BALANCE=100.5\nNOBODY_KNOWS=1\nDB_HOST=\n")
    settings = load_settings(env_file=file)
    assert settings.starting_balance == Decimal("100.5")
    assert settings.db_host is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [("data", PROJECT / "data"), ("./elsewhere", PROJECT / "elsewhere"),
     ("~/goblin", Path.home() / "goblin"), ("/srv/goblin", Path("/srv/goblin")),
     ("", PROJECT / "data")],
)  # fmt: skip
def test_a_relative_data_folder_is_the_same_from_wherever_goblin_is_used(
    written: str, meant: Path, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"DATA_DIR={written}\n")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert load_settings(env_file=tmp_path / ".env").data_dir == meant
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("key", "value"),
    [("DB_PORT", "abc"), ("STARTING_BALANCE", "1e3"), ("STARTING_BALANCE", "-1"),
     ("STARTING_BALANCE", "10000000000"), ("BYBIT_BASE_URL", "api.bybit.com"),
     ("PRICE_SOURCE", "kraken"), ("JWT_ALGORITHM", "none"), ("JWT_EXPIRES_MINUTES", "0"),
     ("PRICE_MAX_AGE_SECONDS", "nan"), ("ENVIRONMENT", "prod"),
     ("REGISTRATION", "maybe"), ("REFRESH_TOKEN_DAYS", "0"),
     ("DATA_DIR", "~nobody-has-this-name/x"), ("METRICS", "maybe"),
     ("METRICS_TOKEN", "short"), ("METRICS_TOKEN", "é" * 20)],
)  # fmt: skip
def test_a_wrong_value_stops_the_start_with_the_key_and_what_was_expected(
    key: str, value: str, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{key}={value}\n")
    with pytest.raises(SettingsError, match=f"{key}: "):
        load_settings(env_file=file)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"PORT=8001\n\n\nJWT_SECRET_KEY: wordy\n", r"line 4: expected KEY=value"),
     (b"DB_PASSWORD='wordy\nPORT=8001\n", r"line 1: expected KEY=value"),
     ("DB_PASSWORD=wordy".encode("utf-16"), r"is not UTF-8 text")],
)  # fmt: skip
def test_an_env_file_of_which_a_part_would_not_count_stops_the_start_without_being_printed(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=expected) as failure:
        load_settings(env_file=file)
    assert str(file) in str(failure.value)
    assert "wordy" not in str(failure.value)


def test_an_env_file_that_cannot_be_read_stops_the_start() -> None:
    unreadable = Path("/proc/self/mem")  # a file that not even root can read from its beginning
    with pytest.raises(SettingsError, match="cannot read /proc/self/mem: Input/output error"):
        load_settings(env_file=unreadable)


def test_what_was_expected_is_spelled_as_it_was_said() -> None:
    with pytest.raises(SettingsError, match="BYBIT_BASE_URL: URL scheme should be 'http' or"):
        load_settings(env_file=None, bybit_base_url="ftp://api.bybit.com")


@pytest.mark.parametrize("secret", [None, "short", "change_me", "a" * 64])
def test_production_refuses_a_weak_secret_without_printing_it(secret: str | None) -> None:
    overrides = {} if secret is None else {"jwt_secret_key": secret}
    with pytest.raises(SettingsError, match="JWT_SECRET_KEY") as failure:
        load_settings(env_file=None, environment="production", **overrides)
    assert secret is None or secret not in str(failure.value)


@pytest.mark.parametrize(("algorithm", "bytes_min"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_shorter_than_its_algorithm_stops_the_start_wherever_it_is(
    algorithm: str, bytes_min: int
) -> None:
    secret = "é" * (bytes_min // 2)
    load_settings(env_file=None, jwt_algorithm=algorithm, jwt_secret_key=secret)
    with pytest.raises(
        SettingsError, match=f"JWT_SECRET_KEY is too short: .*{bytes_min}"
    ) as failure:
        load_settings(env_file=None, jwt_algorithm=algorithm, jwt_secret_key=secret[1:])
    assert "éé" not in str(failure.value)


def test_production_accepts_a_long_random_secret() -> None:
    secret = "Zx8-qP2_vN5tLr9wKs3yHb7mFd1cGj4e"
    settings = load_settings(env_file=None, environment="production", jwt_secret_key=secret)
    assert settings.environment == "production"
    assert secret not in repr(settings)


def test_metrics_are_shown_in_production_only_when_asked_for_or_with_a_token() -> None:
    production = {
        "environment": "production",
        "jwt_secret_key": "Zx8-qP2_vN5tLr9wKs3yHb7mFd1cGj4e",
    }
    token = {"metrics_token": "sixteen-letters!"}
    for overrides, is_shown in (
        ({}, True),
        ({"metrics": "off", **token}, False),
        (production, False),
        ({**production, **token}, True),
        ({**production, "metrics": "on"}, True),
    ):
        assert load_settings(env_file=None, **overrides).metrics_shown is is_shown
