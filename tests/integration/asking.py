"""What tests ask the replay exchange."""

from typing import Any

import httpx


async def ask(client: httpx.AsyncClient, path: str, **query: str | int) -> dict[str, Any]:
    response = await client.get(f"/v5/market/{path}", params=query)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    envelope: dict[str, Any] = response.json()
    assert list(envelope) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    return envelope


async def result(client: httpx.AsyncClient, path: str, **query: str | int) -> dict[str, Any]:
    envelope = await ask(client, path, **query)
    assert (envelope["retCode"], envelope["retMsg"]) == (0, "OK")
    found: dict[str, Any] = envelope["result"]
    return found


async def price(client: httpx.AsyncClient, symbol: str = "BTCUSDT") -> httpx.Response:
    return await client.get("/v5/market/tickers", params={"category": "spot", "symbol": symbol})
