"""A server whose clock is wrong, and jumps while it runs; the database's clock is right."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from app.db.address import DatabaseAddress
from tests.e2e.running import make_clone, serving
from tests.unproven import unproven

LIBRARIES: Final = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
LIFETIME: Final = timedelta(minutes=60)
LEEWAY: Final = timedelta(seconds=30)
SECOND: Final = timedelta(seconds=1)
PASSWORD: Final = "correct horse battery"


class Skewed:
    """The wrong clock: whoever reads this file is so far off."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(timedelta())

    def set(self, offset: timedelta) -> None:
        self.file.write_text(f"{offset.total_seconds():+.0f}s\n")

    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def log_in(client: httpx.Client, email: str) -> dict[str, str]:
    answer = client.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['data']['access_token']}"}


def issued_at(headers: dict[str, str]) -> datetime:
    payload = headers["Authorization"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return datetime.fromtimestamp(claims["iat"], UTC)


def test_a_wrong_clock_ends_tokens_by_itself_and_never_dates_a_booking(
    postgres: DatabaseAddress, tmp_path: Path
) -> None:
    if not LIBRARIES:
        unproven("no wrong clock (apt-get install libfaketime)")
    clock = Skewed(tmp_path / "clock")
    email = f"skewed{id(clock)}@example.com"
    database = {
        "DB_HOST": postgres.host,
        "DB_PORT": str(postgres.port),
        "DB_NAME": postgres.database,
        "DB_USER": postgres.user,
        "JWT_EXPIRES_MINUTES": str(LIFETIME // timedelta(minutes=1)),
        "STARTING_BALANCE": "1000000",
    }
    began_at = datetime.now(UTC)
    with (
        serving(
            make_clone(tmp_path / "skewed"), "--port", "0", "--replay",
            **database, **clock.environment(),
        ) as server,
        server.client() as client,
    ):  # fmt: skip
        body = {"email": email, "password": PASSWORD, "name": "Skewed"}
        assert client.post("/auth/register", json=body).status_code == 201
        token = log_in(client, email)
        assert abs(issued_at(token) - datetime.now(UTC)) < timedelta(minutes=1)

        clock.set(LIFETIME - timedelta(minutes=1))
        assert client.get("/users/me", headers=token).status_code == 200
        clock.set(LIFETIME + LEEWAY + SECOND)
        expired = client.get("/users/me", headers=token)
        assert (expired.status_code, expired.json()["meta"]["code"]) == (401, "token_expired")

        for offset in (timedelta(hours=1), timedelta(hours=-1), timedelta()):
            clock.set(offset)
            token = log_in(client, email)
            wrong_now = datetime.now(UTC) + offset
            assert abs(issued_at(token) - wrong_now) < timedelta(minutes=1), "the clock is wrong"
            for request in (
                ("POST", "/users/me/deposit", {"amount": "1"}),
                ("POST", "/order", {"symbol": "BTCUSDT", "quantity": "0.1"}),
                ("DELETE", "/order", {"symbol": "BTCUSDT"}),
            ):
                method, url, content = request
                answer = client.request(method, url, json=content, headers=token)
                assert answer.is_success, answer.text
                assert float(answer.headers["x-process-time"]) >= 0
        listed = client.get("/ledger/entries", headers=token).json()["data"]["entries"]
    ended_at = datetime.now(UTC)
    booked_at = [datetime.fromisoformat(entry["created_at"]) for entry in listed]
    assert len(booked_at) > 9
    assert began_at - SECOND < min(booked_at) <= max(booked_at) < ended_at + SECOND
    assert booked_at == sorted(booked_at, reverse=True), "the newest first, whatever time it was"
