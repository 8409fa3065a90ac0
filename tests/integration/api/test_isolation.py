"""What belongs to one user does not exist for any other, on no route, by no id."""

import json
import re
from typing import Any

import httpx
from app.domain.exports import ExportTable
from tests.conftest import Installation, Person, new_person

MARK = "a mark of ada's alone"
Json = dict[str, Any]


async def made_by(owner: Person) -> dict[str, str]:
    """One of everything that a user can have; where its id stands in a path."""

    async def made(path: str, body: Json) -> Json:
        answer = await owner.client.post(path, json=body)
        assert answer.status_code in {200, 201}, answer.text
        data: Json = answer.json()["data"]
        return data

    order = await made(
        "/order", {"symbol": "ETHUSDT", "quantity": "0.1", "client_order_id": "adas-order"}
    )
    await made("/watchlist", {"symbol": "SOLUSDT"})
    await made("/log", {"symbol": "SOLUSDT", "action": MARK, "data": {}})
    strategy = await made("/strategy", {"name": MARK, "slug": "adas-strategy"})
    assignment = await made(
        "/trade-strategy",
        {"symbol": "SOLUSDT", "strategy_id": strategy["id"], "timestamp": "1h"},
    )
    key = await made("/auth/api-keys", {"name": MARK, "scopes": ["read"]})
    return {
        "GET {id_or_symbol}": str(order["id"]),
        "DELETE {id_or_symbol}": "ETHUSDT",
        "{client_order_id}": "adas-order",
        "{symbol}": "SOLUSDT",
        "{strategy_id}": str(strategy["id"]),
        "{trade_strategy_id}": str(assignment["id"]),
        "{api_key_id}": str(key["id"]),
        "{user_id}": str(owner.user.id),
    }


EXPORT = "/export/{table}"
OF_NOBODY = {
    "GET {id_or_symbol}": "987654321",
    "DELETE {id_or_symbol}": "XRPUSDT",
    "{client_order_id}": "nobodys-order",
    "{symbol}": "XRPUSDT",
    "{strategy_id}": "987654321",
    "{trade_strategy_id}": "987654321",
    "{api_key_id}": "987654321",
    "{user_id}": "987654321",
}
"""What stands in the same places and exists for nobody."""


def filled(method: str, path: str, ids: dict[str, str]) -> str:
    for name in re.findall(r"{\w+}", path):
        path = path.replace(name, ids.get(f"{method} {name}") or ids[name])
    return path


def shape(answer: httpx.Response, ids: dict[str, str]) -> tuple[int, str]:
    """Status and body, the id that was asked for and the request's own left out."""
    body = answer.json()
    body.get("meta", {}).pop("request_id", None)
    text = json.dumps(body)
    for value in sorted(set(ids.values()), key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(value)}\b", "(id)", text)
    return answer.status_code, text


async def everything_of(person: Person, running: Installation) -> dict[str, Json]:
    """What every route says that needs no id."""
    found = {}
    for path, operations in running.app.openapi()["paths"].items():
        if "get" in operations and "{" not in path and "stream" not in path:
            answer = await person.client.get(path)
            found[path] = answer.json().get("data")
    return found


async def test_what_belongs_to_somebody_does_not_exist_for_anybody_else_on_any_route(
    installation: Installation, ada: Person
) -> None:
    stranger = await new_person(installation, balance="1000000")
    ids = await made_by(ada)
    before = await everything_of(ada, installation)
    tried = 0
    async with stranger.client as client:
        for path, operations in installation.app.openapi()["paths"].items():
            for method, operation in operations.items():
                if "{" not in path or path == EXPORT:  # which names a table, and no row
                    continue
                [body] = operation.get("requestBody", {}).get("content", {"": {}}).values()
                answers = []
                for asked in (ids, OF_NOBODY):
                    url = filled(method.upper(), path, asked)
                    answer = await client.request(method, url, json=body.get("example"))
                    answers.append(shape(answer, asked))
                assert answers[0] == answers[1], f"{method} {path} tells what exists"
                assert answers[0][0] in {400, 403, 404}, (method, path, answers)
                tried += 1
        assert tried >= 10

        answers = []
        for asked in (ids, OF_NOBODY):  # an id in a body is an id too
            assignment = {
                "symbol": "SOLUSDT",
                "timestamp": "1h",
                "strategy_id": int(asked["{strategy_id}"]),
            }
            answer = await client.post("/trade-strategy", json=assignment)
            answers.append(shape(answer, asked))
        assert answers[0] == answers[1]
        assert answers[0][0] == 400

        sees = json.dumps(await everything_of(stranger, installation))
        assert MARK not in sees
        assert ada.user.email not in sees
        assert "adas-" not in sees
        for table in ExportTable:
            exported = await client.get(EXPORT.format(table=table), headers={"Accept": "text/csv"})
            assert exported.status_code == 200
            assert MARK not in exported.text
            assert "adas-" not in exported.text
    after = await everything_of(ada, installation)
    moving = {
        "/health", "/health/ready", "/market/price", "/auth/api-keys", "/account/statistics",
    }  # fmt: skip
    assert {path: data for path, data in after.items() if path not in moving} == {
        path: data for path, data in before.items() if path not in moving
    }
    assert MARK in json.dumps(after["/auth/api-keys"])
