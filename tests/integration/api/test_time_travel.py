"""?as_of= answers as it was answered then."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from app.replay import ReplayExchange
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
QUERIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("/users/me", {}),
    ("/order", {}),
    ("/order", {"active": "true"}),
    ("/order", {"symbol": "BTCUSDT", "limit": "2", "offset": "1"}),
    ("/ledger/accounts", {}),
    ("/ledger/accounts", {"epoch": "1"}),
)


@dataclass(frozen=True)
class Answered:
    """What the API said about a person at an instant."""

    at: str
    bodies: list[Any]


async def ask(person: Person, **extra: str) -> list[Any]:
    bodies = []
    for path, query in QUERIES:
        response = await person.client.get(path, params={**query, **extra})
        assert response.status_code == 200, response.text
        bodies.append(response.json())
    return bodies


async def do_something(person: Person, rng: random.Random, exchange: ReplayExchange) -> int:
    symbol = rng.choice(SYMBOLS)
    quantity = f"{rng.uniform(0.001, 3):.20f}"
    move = rng.choice(("buy", "buy", "buy", "close", "close", "deposit", "withdraw", "reset"))
    exchange.clock.advance(rng.randrange(60_000))
    match move:
        case "buy":
            sent = await person.client.post("/order", json={"symbol": symbol, "quantity": quantity})
        case "close":
            sent = await person.client.delete(f"/order/{symbol}")
        case "reset":
            sent = await person.client.post("/users/me/reset", json={"balance": "700000"})
        case _:
            sent = await person.client.post(f"/users/me/{move}", json={"amount": quantity})
    return sent.status_code


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_answer_of_a_random_life_is_given_again_for_its_instant(
    ada: Person, exchange: ReplayExchange, seed: int
) -> None:
    rng = random.Random(seed)
    answered: list[Answered] = []
    statuses: set[int] = set()
    for _ in range(25):
        statuses.add(await do_something(ada, rng, exchange))
        bodies = await ask(ada)
        answered.append(Answered(datetime.now(UTC).isoformat(), bodies))
    assert {200, 201} <= statuses
    epochs = {entry["epoch"] for a in answered for entry in a.bodies[-2]["data"]["accounts"]}
    assert len(epochs) > 1, "the life went through a reset"
    for then in rng.sample(answered, k=len(answered)):
        assert await ask(ada, as_of=then.at) == then.bodies


@pytest.mark.parametrize(
    "as_of", ["0.5", "1700000000", "2025-01-01", "yesterday", "2999-01-01T00:00:00Z"]
)
async def test_an_instant_that_is_not_iso_8601_with_a_zone_or_lies_in_the_future_is_422(
    ada: Person, as_of: str
) -> None:
    for path in ("/users/me", "/order", "/ledger/accounts"):
        assert_is_error(await ada.client.get(path, params={"as_of": as_of}), 422)
