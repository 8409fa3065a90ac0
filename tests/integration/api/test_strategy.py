import pytest
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error


async def create(person: Person, **body: object) -> dict[str, object]:
    response = await person.client.post("/strategy", json=body)
    assert response.status_code == 201, response.text
    data: dict[str, object] = response.json()["data"]
    return data


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "???"}, {"name": "策略"}, {"name": "x", "unknown": 1},
     {"name": "x", "slug": "???"}, {"name": "x", "user_id": 1}],
)  # fmt: skip
async def test_a_strategy_that_breaks_a_rule_is_422(ada: Person, body: dict[str, object]) -> None:
    assert_is_error(await ada.client.post("/strategy", json=body), 422)


async def test_a_slug_is_made_from_the_name_unless_one_is_given(ada: Person) -> None:
    made = await create(ada, name="R.S.I. Strategy (14-period)")
    assert made["slug"] == "rsi-strategy-14-period"
    assert set(made) == {"id", "name", "slug", "created_at", "updated_at"}
    assert (await create(ada, name="策略", slug="chinese"))["slug"] == "chinese"
    assert (await create(ada, name="x", slug=None))["slug"] == "x"


async def test_a_new_name_renews_the_slug_and_nothing_changes_nothing(ada: Person) -> None:
    made = await create(ada, name="Old name")
    path = f"/strategy/{made['id']}"
    for unchanged in ({}, {"name": None, "slug": None}):
        assert (await ada.client.put(path, json=unchanged)).json()["data"] == made
    renamed = (await ada.client.put(path, json={"name": "New name"})).json()["data"]
    assert (renamed["name"], renamed["slug"]) == ("New name", "new-name")
    slugged = (await ada.client.put(path, json={"slug": "mine"})).json()["data"]
    assert (slugged["name"], slugged["slug"]) == ("New name", "mine")
    both = (await ada.client.put(path, json={"name": "Third", "slug": "kept"})).json()["data"]
    assert (both["name"], both["slug"]) == ("Third", "kept")
    assert_is_error(await ada.client.put(path, json={"name": "???"}), 422, "slug_impossible")
    assert_is_error(await ada.client.put(path, json={"other": 1}), 422)


async def test_deleting_is_soft_and_keeps_its_first_time(ada: Person) -> None:
    made = await create(ada, name="Doomed")
    path = f"/strategy/{made['id']}"
    for _ in range(2):
        assert (await ada.client.delete(path)).json() == {
            "status": "success",
            "message": "Strategy 'Doomed' soft deleted successfully",
            "data": {},
        }
        listed = (await ada.client.get("/strategy")).json()["data"]["strategies"]
        if "deleted_at" in made:
            assert listed == [made]
        made = listed[0]
    assert "deleted_at" in made
    hidden = await ada.client.get("/strategy", params={"include_deleted": False})
    assert hidden.json()["data"]["strategies"] == []


@pytest.mark.parametrize("id_", ["9", "0", "-1", str(2**31), str(2**63), "9" * 30])
async def test_an_id_that_is_none_of_mine_is_404(ada: Person, id_: str) -> None:
    for method in ("PUT", "DELETE"):
        response = await ada.client.request(method, f"/strategy/{id_}", json={})
        assert_is_error(response, 404, "strategy_not_found")
        assert response.json()["message"] == f"Strategy with id {id_} not found"


async def test_another_user_neither_sees_nor_changes_it(ada: Person, bob: Person) -> None:
    made = await create(ada, name="Private")
    assert (await bob.client.get("/strategy")).json()["data"]["strategies"] == []
    for method in ("PUT", "DELETE"):
        response = await bob.client.request(method, f"/strategy/{made['id']}", json={"name": "x"})
        assert_is_error(response, 404)
    assert (await ada.client.get("/strategy")).json()["data"]["strategies"] == [made]


async def test_the_list_is_newest_first(ada: Person) -> None:
    for name in ("one", "two", "three"):
        await create(ada, name=name)
    listed = (await ada.client.get("/strategy")).json()["data"]["strategies"]
    assert [strategy["name"] for strategy in listed] == ["three", "two", "one"]
