from typing import Any

import httpx
from tests.conftest import Installation


def example_of(parameter: dict[str, Any]) -> str:
    named = parameter.get("examples")
    example = next(iter(named.values()))["value"] if named else parameter["example"]
    return str(example)


async def test_a_padlock_stands_on_exactly_the_routes_that_refuse_a_stranger(
    installation: Installation, anonymous: httpx.AsyncClient
) -> None:
    refused: dict[str, bool] = {}
    locked: dict[str, bool] = {}
    for path, methods in installation.app.openapi()["paths"].items():
        for method, operation in methods.items():
            required = [part for part in operation["parameters"] if part.get("required")]
            url = path
            for part in required:
                url = url.replace(f"{{{part['name']}}}", example_of(part))
            query = {part["name"]: example_of(part) for part in required if part["in"] == "query"}
            [body] = operation.get("requestBody", {}).get("content", {"": {}}).values()
            response = await anonymous.request(method, url, params=query, json=body.get("example"))
            meta = response.json().get("meta", {})
            name = f"{method} {path}"
            refused[name] = meta.get("code") == "not_authenticated"
            locked[name] = operation.get("security") == [
                {"OAuth2PasswordBearer": []},
                {"HTTPBearer": []},
                {"APIKeyHeader": []},
            ]
            assert ("401" in operation["responses"]) >= locked[name]
    assert refused == locked
    assert sum(locked.values()) > 20
