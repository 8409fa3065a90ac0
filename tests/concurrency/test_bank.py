"""The bank test: money is moved by many while somebody counts all of it, again and again."""

import asyncio
import random
from decimal import Decimal

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from bench.books import discrepancies
from tests.concurrency.conftest import Pair
from tests.conftest import Person

ACCOUNTS = 50
WORKERS = 32
CHANGES_OF_EACH = 40
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")

TOTALS = """
    SELECT asset, sum(balance) AS of_accounts, (
        SELECT sum(amount) FROM ledger_entries AS entry
        JOIN ledger_accounts AS its ON its.id = entry.account_id
        WHERE its.asset = account.asset
    ) AS of_entries
    FROM ledger_accounts AS account GROUP BY asset
"""


@pytest.mark.serial
async def test_no_snapshot_ever_shows_money_that_came_from_nowhere_or_went_there(
    pair: Pair, address: DatabaseAddress, books: asyncpg.Connection
) -> None:
    people = [await pair.person(balance="100000") for _ in range(ACCOUNTS)]
    is_over = asyncio.Event()
    counting = [asyncio.create_task(count_again_and_again(address, is_over)) for _ in range(2)]
    answers = await asyncio.gather(
        *(change_at_random(people, random.Random(number)) for number in range(WORKERS))
    )
    is_over.set()
    seen = [status for statuses in answers for status in statuses]
    assert len(seen) == WORKERS * CHANGES_OF_EACH
    assert set(seen) <= {200, 201, 400}, "no deadlock, no lost lock, no 5xx"
    assert seen.count(200) + seen.count(201) > len(seen) / 2
    snapshots = [await task for task in counting]
    assert all(count >= 3 for count in snapshots), snapshots
    for here, there in people:
        stored = await books.fetchval("SELECT balance FROM users WHERE id = $1", here.user.id)
        assert await here.balance() == await there.balance() == stored
    print(f"\nbank: {len(seen)} changes, {sum(snapshots)} snapshots")  # noqa: T201 - shown where it fails


async def count_again_and_again(address: DatabaseAddress, is_over: asyncio.Event) -> int:
    conn = await asyncpg.connect(**address.connect_arguments())
    count = 0
    try:
        while not is_over.is_set():
            for row in await conn.fetch(TOTALS):
                assert row["of_accounts"] == row["of_entries"] == 0, dict(row)
            assert await discrepancies(conn) == []
            count += 1
            await asyncio.sleep(0.05)
    finally:
        await conn.close()
    return count


async def change_at_random(people: list[tuple[Person, Person]], dice: random.Random) -> list[int]:
    statuses = []
    for _ in range(CHANGES_OF_EACH):
        person = dice.choice(dice.choice(people))
        symbol, amount = dice.choice(SYMBOLS), Decimal(dice.randrange(1, 10**6)).scaleb(-3)
        method, url, body = dice.choices(
            [
                ("POST", "/order", {"symbol": symbol, "quantity": f"0.{dice.randrange(1, 9)}"}),
                ("DELETE", "/order", {"symbol": symbol}),
                ("POST", "/users/me/deposit", {"amount": str(amount)}),
                ("POST", "/users/me/withdraw", {"amount": str(amount)}),
                ("POST", "/users/me/reset", {"balance": str(amount * 100)}),
            ],
            weights=[30, 25, 20, 15, 5],
        )[0]
        answer = await person.client.request(method, url, json=body)
        statuses.append(answer.status_code)
    return statuses
