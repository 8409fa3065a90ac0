"""GET /ledger/entries, /ledger/accounts and /ledger/audit."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from app.core.config import PROJECT
from app.replay import ReplayExchange, replay
from app.schemas.common import LedgerMoney
from pydantic import TypeAdapter
from tests.conftest import (
    CloneDatabase,
    Person,
    new_person,
    run_installation,
    settings_for,
)
from tests.integration.api.test_conventions import assert_is_error

DOCUMENT = PROJECT / "docs" / "ledger.md"
TOP = "9999999999.99999999999999999999"


async def read(person: Person, path: str, **query: str | int) -> Any:
    response = await person.client.get(f"/ledger/{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()["data"]


async def every_entry(person: Person, **query: str | int) -> list[dict[str, Any]]:
    return list((await read(person, "entries", limit=1000, **query))["entries"])


async def post(person: Person, path: str, **body: str) -> dict[str, Any]:
    response = await person.client.post(path, json=body)
    assert response.status_code < 300, response.text
    found: dict[str, Any] = response.json()["data"]
    return found


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 1001}, {"cursor": 0}, {"cursor": "x"}, {"cursor": 2**63},
     {"kind": "purse"}, {"order_id": 0}, {"order_id": 2**63}, {"epoch": 0}, {"epoch": 2**31},
     {"asset": "a\0"}, {"asset": "x" * 31}],
)  # fmt: skip
async def test_a_filter_that_nothing_could_match_is_422(
    bob: Person, query: dict[str, str | int]
) -> None:
    assert_is_error(await bob.client.get("/ledger/entries", params=query), 422)


async def test_pages_hold_every_entry_once_newest_first_while_new_ones_are_written(
    ada: Person,
) -> None:
    for _ in range(6):
        await post(ada, "/users/me/deposit", amount="1")
    before = [entry["id"] for entry in await every_entry(ada)]
    assert before == sorted(before, reverse=True)
    assert len(before) == 14, "the starting balance and six deposits, two entries each"
    read_ids: list[int] = []
    query: dict[str, int] = {"limit": 4}
    while True:
        body = (await ada.client.get("/ledger/entries", params=query)).json()
        page = [entry["id"] for entry in body["data"]["entries"]]
        read_ids += page
        await post(ada, "/users/me/deposit", amount="1")
        if "next_cursor" not in body["meta"]:
            break
        assert len(page) == 4
        query["cursor"] = body["meta"]["next_cursor"]
    assert read_ids == before
    exactly = (await ada.client.get("/ledger/entries", params={"limit": 22})).json()
    assert (len(exactly["data"]["entries"]), exactly["meta"]) == (22, {})


async def test_entries_are_filtered_by_kind_asset_order_and_epoch(ada: Person) -> None:
    first = await post(ada, "/order", symbol="BTCUSDT", quantity="1")
    second = await post(ada, "/order", symbol="ETHUSDT", quantity="2")
    await ada.client.delete("/order/ETHUSDT")
    assert {e["kind"] for e in await every_entry(ada, kind="venue")} == {"venue"}
    assert len(await every_entry(ada, asset=" ethusdt")) == 4
    of_first = await every_entry(ada, order_id=first["id"])
    assert [(e["kind"], e["asset"], e["cause"], e["order_id"]) for e in of_first] == [
        ("holding", "BTCUSDT", "order_opened", first["id"]),
        ("venue", "USD", "order_opened", first["id"]),
        ("venue", "BTCUSDT", "order_opened", first["id"]),
        ("cash", "USD", "order_opened", first["id"]),
    ]
    assert len(await every_entry(ada, order_id=second["id"])) == 8
    assert len(await every_entry(ada, order_id=second["id"], kind="cash", asset="USD")) == 2
    whole = await every_entry(ada)
    await post(ada, "/users/me/reset", balance="5")
    assert [e["amount"] for e in await every_entry(ada, kind="cash")] == ["5.00000000000000000000"]
    assert await every_entry(ada, epoch=1) == whole
    assert {a["epoch"] for a in (await read(ada, "accounts", epoch=1))["accounts"]} == {1}
    assert len((await read(ada, "accounts"))["accounts"]) == 2


async def test_an_entry_names_its_cause_and_the_request_behind_it(bob: Person) -> None:
    sent = await bob.client.post(
        "/users/me/deposit", json={"amount": "3"}, headers={"X-Request-ID": "salary-1"}
    )
    assert sent.status_code == 200
    for entry in await every_entry(bob):
        assert entry["request_id"] == "salary-1"
        assert entry["cause"] == "deposit"
        assert entry["event_at"] <= entry["created_at"]
        assert "order_id" not in entry
        assert "reverses_transfer_id" not in entry


async def test_nobody_reads_the_ledger_of_somebody_else(ada: Person, bob: Person) -> None:
    order = await post(ada, "/order", symbol="BTCUSDT", quantity="1")
    assert await every_entry(bob) == []
    assert await every_entry(bob, order_id=order["id"]) == []
    theirs = {account["id"] for account in (await read(ada, "accounts"))["accounts"]}
    mine = {account["id"] for account in (await read(bob, "accounts"))["accounts"]}
    assert not theirs & mine
    assert not theirs & {account["id"] for account in (await read(bob, "audit"))["accounts"]}


async def test_an_instant_before_the_account_is_422_and_one_in_the_future_too(bob: Person) -> None:
    early = await bob.client.get("/ledger/accounts", params={"as_of": "2020-01-01T00:00:00Z"})
    assert_is_error(early, 422, "as_of_too_early")
    (problem,) = early.json()["detail"]
    assert problem["loc"] == ["query", "as_of"]
    assert problem["msg"].endswith("Z"), "as every timestamp"
    late = await bob.client.get("/ledger/accounts", params={"as_of": "2920-01-01T00:00:00Z"})
    assert_is_error(late, 422, "validation_error")


async def test_the_trial_balance_is_recomputed_from_the_entries_and_agrees(ada: Person) -> None:
    await post(ada, "/order", symbol="BTCUSDT", quantity="0.12345678901234567891")
    await post(ada, "/order", symbol="ETHUSDT", quantity="3")
    await ada.client.delete("/order/ETHUSDT")
    await post(ada, "/users/me/withdraw", amount="0.00000000000000000001")
    await post(ada, "/users/me/reset", balance="7")
    audit = await read(ada, "audit")
    assert audit["agrees"] is True
    assert audit["discrepancies"] == []
    zero = "0.00000000000000000000"
    assert audit["totals"] == [
        {"asset": asset, "total": zero} for asset in ("BTCUSDT", "ETHUSDT", "USD")
    ]
    entries = await every_entry(ada, epoch=1) + await every_entry(ada)
    for account in audit["accounts"]:
        own = [
            Decimal(e["amount"])
            for e in entries
            if (e["kind"], e["asset"], e["epoch"])
            == (account["kind"], account["asset"], account["epoch"])
        ]
        assert account["balance"] == account["recomputed"]
        assert account["version"] == account["entries"] == len(own)
        assert Decimal(account["balance"]) == sum(own)
    assert {account["epoch"] for account in audit["accounts"]} == {1, 2}


async def test_balances_below_zero_and_beyond_ten_billion_keep_every_digit(bob: Person) -> None:
    await post(bob, "/users/me/deposit", amount=TOP)
    price = (await bob.client.get("/market/price?symbol=BTCUSDT")).json()["data"]["price"]
    await post(bob, "/order", symbol="BTCUSDT", quantity=str(9_500_000_000 // Decimal(price)))
    await post(bob, "/users/me/deposit", amount="8000000000")
    funding = next(
        account
        for account in (await read(bob, "accounts"))["accounts"]
        if account["kind"] == "funding"
    )
    assert funding["balance"] == "-17999999999.99999999999999999999"
    pattern = TypeAdapter(LedgerMoney).json_schema(mode="serialization")["pattern"]
    for account in (await read(bob, "audit"))["accounts"]:
        assert re.fullmatch(pattern, account["balance"])
    assert re.fullmatch(pattern, f"-{'9' * 27}.{'9' * 20}")


def table(heading: str) -> list[list[str]]:
    """The rows of the document's table that begins with this heading."""
    lines = DOCUMENT.read_text().splitlines()
    start = lines.index(heading)
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


async def test_every_number_of_the_worked_example_is_what_the_api_answers(
    clone: CloneDatabase, tmp_path: Path
) -> None:
    candles = tmp_path / "bybit_spot_BTCUSDT_1m.csv"
    candles.write_text(
        "ts,open,high,low,close,volume\n"
        "1735689600000,100,100,100,100,1\n"
        "1735689660000,120,120,120,120,1\n"
    )
    async with (
        replay(candles, start="1735689600000", speed=0) as market,
        run_installation(settings_for(await clone(), market.base_url)) as running,
    ):
        ada = await new_person(running)
        await walk_the_example(ada, market)
        entries = sorted(await every_entry(ada), key=lambda e: (e["transfer_id"], e["id"]))
        accounts = (await read(ada, "accounts"))["accounts"]
        await ada.client.aclose()
    transfers = sorted({entry["transfer_id"] for entry in entries})
    expected = table("| transfer | cause | account | version | amount | before | after |")
    assert len(expected) == 10
    assert expected == [
        [
            str(transfers.index(e["transfer_id"]) + 1), e["cause"], f"{e['kind']} {e['asset']}",
            str(e["version"]), plain(e["amount"]), plain(e["balance_before"]),
            plain(e["balance_after"]),
        ]
        for e in entries
    ]  # fmt: skip
    assert table("| account | balance |") == [
        [f"{a['kind']} {a['asset']}", plain(a["balance"])] for a in accounts
    ]


async def walk_the_example(ada: Person, market: ReplayExchange) -> None:
    assert await ada.balance() == 0
    await post(ada, "/users/me/deposit", amount="10000")
    await post(ada, "/order", symbol="BTCUSDT", quantity="0.5")
    market.clock.advance(60_000)
    closed = await ada.client.delete("/order/BTCUSDT")
    assert Decimal(closed.json()["data"]["diffDollar"]) == 10


def plain(amount: str) -> str:
    return amount.rstrip("0").rstrip(".")
