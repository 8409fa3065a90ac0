"""What an export can be narrowed down by: what the lists can, and nothing else."""

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.conftest import Installation, Person
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.api.test_export import exported, reading, serving, traded


@pytest_asyncio.fixture(scope="module")
async def url(installation: Installation) -> AsyncIterator[str]:
    async with serving(installation) as (address, _):
        yield address


async def test_a_filter_that_a_table_does_not_have_is_refused(ada: Person) -> None:
    for table, query in (
        ("events", "epoch=1"),
        ("strategies", "symbol=A"),
        ("log", "epoch=1"),
        ("fills", "active=true"),
        ("accounts", "kind=cash"),
        ("orders", "order_id=1"),
        ("watchlist", "include_deleted=true"),
        ("orders", "as_of=2026-01-01T00:00:00Z"),
        ("ledger", "symbol=USD"),
        ("events", "after=5"),
    ):
        refused = await ada.client.get(f"/export/{table}?{query}")
        assert_is_error(refused, 422, "filter_not_possible")
        assert refused.json()["detail"][0]["loc"][0] == "query"
        assert query.partition("=")[0] in refused.json()["message"]
    for end in ("2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"):
        nothing = await ada.client.get(f"/export/orders?from=2026-01-01T00:00:00Z&to={end}")
        assert_is_error(nothing, 422, "export_range_empty")


async def test_filters_narrow_an_export_down_as_they_do_the_lists(url: str, ada: Person) -> None:
    first, second = await traded(ada)
    await ada.client.post("/users/me/reset", json={"balance": "5"})
    async with reading(url, ada) as client:
        assert await exported(client, "orders") == []
        whole = await exported(client, "orders", epoch="1")
        assert [row["id"] for row in whole] == [str(first["id"]), str(second["id"])]
        assert len(await exported(client, "orders", epoch="1", symbol="ethusdt")) == 1
        later = {"epoch": "1", "from": second["created_at"]}
        assert [r["id"] for r in await exported(client, "orders", **later)] == [str(second["id"])]
        earlier = {"epoch": "1", "to": second["created_at"]}
        assert [r["id"] for r in await exported(client, "orders", **earlier)] == [str(first["id"])]
        assets = {row["asset"] for row in await exported(client, "ledger", epoch="1", asset="usd")}
        assert assets == {"USD"}


async def test_what_the_lists_can_leave_out_an_export_can_too(url: str, ada: Person) -> None:
    held, closed = await traded(ada)
    made = await ada.client.post("/strategy", json={"name": "Gone", "slug": "gone"})
    strategy_id = made.json()["data"]["id"]
    assigned = {"symbol": "BTCUSDT", "strategy_id": strategy_id, "timestamp": "1h"}
    assignment = await ada.client.post("/trade-strategy", json=assigned)
    await ada.client.delete(f"/trade-strategy/{assignment.json()['data']['id']}")
    await ada.client.delete(f"/strategy/{strategy_id}")
    async with reading(url, ada) as client:
        active = await exported(client, "orders", active="true")
        assert [row["id"] for row in active] == [str(held["id"])]
        assert len(await exported(client, "orders", active="false")) == 2
        for query in ({"kind": "cash"}, {"order_id": str(closed["id"])}):
            listed = (await ada.client.get("/ledger/entries", params=query)).json()["data"]
            rows = await exported(client, "ledger", **query)
            assert [row["id"] for row in rows] == [str(e["id"]) for e in listed["entries"][::-1]]
            assert len(rows) >= 3
        assert await exported(client, "ledger", kind="fees") == []
        for table in ("strategies", "trade-strategies"):
            assert len(await exported(client, table, include_deleted="true")) == 1
            assert await exported(client, table, include_deleted="false") == []
