import pytest
from app.domain.candles import Interval
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.api.test_strategy import create as create_strategy


async def create(person: Person, **body: object) -> dict[str, object]:
    response = await person.client.post("/trade-strategy", json=body)
    assert response.status_code == 201, response.text
    data: dict[str, object] = response.json()["data"]
    return data


@pytest.mark.parametrize(
    "changes",
    [{"symbol": ""}, {"symbol": "SIXTEENCHARACTER"}, {"strategy_id": 2**63}, {"strategy_id": 0},
     {"timestamp": "7m"}, {"timestamp": "1D"}, {"timestamp": ""}, {"unknown": 1}],
)  # fmt: skip
async def test_an_assignment_that_breaks_a_rule_is_422(
    ada: Person, changes: dict[str, object]
) -> None:
    strategy = await create_strategy(ada, name="s")
    body = {"symbol": "BTCUSDT", "strategy_id": strategy["id"], **changes}
    assert_is_error(await ada.client.post("/trade-strategy", json=body), 422)


async def test_a_strategy_is_assigned_at_every_venue_interval(ada: Person) -> None:
    strategy = await create_strategy(ada, name="s")
    for interval in Interval:
        made = await create(
            ada, symbol=" fifteencharacte ", strategy_id=strategy["id"], timestamp=interval
        )
        assert made["symbol"] == "FIFTEENCHARACTE"
        assert made["timestamp"] == interval
    assert (await create(ada, symbol="A", strategy_id=strategy["id"]))["timestamp"] == "5m"


async def test_a_strategy_that_is_missing_deleted_or_another_users_does_not_exist(
    ada: Person, bob: Person
) -> None:
    deleted = await create_strategy(ada, name="deleted")
    await ada.client.delete(f"/strategy/{deleted['id']}")
    others = await create_strategy(bob, name="others")
    mine = await create_strategy(ada, name="mine")
    assigned = await create(ada, symbol="A", strategy_id=mine["id"])
    for id_ in (2**62, deleted["id"], others["id"]):
        for method, path in (
            ("POST", "/trade-strategy"),
            ("PUT", f"/trade-strategy/{assigned['id']}"),
        ):
            response = await ada.client.request(
                method, path, json={"symbol": "A", "strategy_id": id_}
            )
            assert_is_error(response, 400, "strategy_does_not_exist")
            assert response.json()["message"] == f"Strategy with id {id_} does not exist"


async def test_changing_some_keeps_the_rest(ada: Person) -> None:
    strategy = await create_strategy(ada, name="s")
    made = await create(ada, symbol="A", strategy_id=strategy["id"], timestamp="1h")
    path = f"/trade-strategy/{made['id']}"
    for unchanged in ({}, {"symbol": None, "strategy_id": None, "timestamp": None}):
        assert (await ada.client.put(path, json=unchanged)).json()["data"] == made
    changed = (await ada.client.put(path, json={"timestamp": "1M"})).json()["data"]
    assert {**changed, "timestamp": "1h", "updated_at": made["updated_at"]} == made
    other = await create_strategy(ada, name="other")
    changed = (await ada.client.put(path, json={"symbol": "b", "strategy_id": other["id"]})).json()[
        "data"
    ]
    assert (changed["symbol"], changed["strategy_id"]) == ("B", other["id"])


async def test_deleting_is_soft(ada: Person) -> None:
    strategy = await create_strategy(ada, name="s")
    made = await create(ada, symbol="BTCUSDT", strategy_id=strategy["id"])
    for _ in range(2):
        assert (await ada.client.delete(f"/trade-strategy/{made['id']}")).json() == {
            "status": "success",
            "message": "Trade strategy 'BTCUSDT' soft deleted successfully",
            "data": {},
        }
    listed = (await ada.client.get("/trade-strategy")).json()["data"]["trade_strategies"]
    assert "deleted_at" in listed[0]
    hidden = await ada.client.get("/trade-strategy", params={"include_deleted": "false"})
    assert hidden.json()["data"]["trade_strategies"] == []


async def test_what_is_not_mine_is_404(ada: Person, bob: Person) -> None:
    strategy = await create_strategy(ada, name="s")
    made = await create(ada, symbol="BTCUSDT", strategy_id=strategy["id"])
    for id_ in (made["id"], 0, 2**63):
        for method in ("PUT", "DELETE"):
            response = await bob.client.request(method, f"/trade-strategy/{id_}", json={})
            assert_is_error(response, 404, "trade_strategy_not_found")
            assert response.json()["message"] == f"Trade strategy with id {id_} not found"
