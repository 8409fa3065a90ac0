"""Every request that changes something of its caller's, and what has to be there before."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
from tests.conftest import Person

SETTLING = "WITH unchanged"

Request = dict[str, Any]
"""Keyword arguments of httpx's `request`."""


@dataclass(frozen=True)
class Case:
    """`request` is given the ids of what the requests `before` it made, in their order."""

    name: str
    route: tuple[str, str]
    request: Callable[[Sequence[int]], Request]
    status: int
    before: tuple[Request, ...] = ()
    is_settled: bool = False
    """By the desk: one statement that writes is a transaction by itself."""

    @property
    def commits_with(self) -> str:
        """What the statement that makes it durable begins with."""
        return SETTLING if self.is_settled else "COMMIT;"

    async def prepare(self, person: Person) -> Request:
        ids: list[int] = []
        for earlier in self.before:
            made = await person.client.request(**fill(earlier, ids))
            assert made.is_success, made.text
            ids.append(made.json()["data"].get("id", 0))
        return self.request(ids)


def fill(request: Request, ids: Sequence[int]) -> Request:
    """An id that was made before stands in for -1, -2, ... (the last, the last but one)."""
    body = request.get("json", {})
    known = {
        name: ids[value] if isinstance(value, int) and value < 0 else value
        for name, value in body.items()
    }
    return {**request, "json": known}


def post(url: str, **body: object) -> Request:
    return {"method": "POST", "url": url, "json": body}


BUY = post("/order", symbol="BTCUSDT", quantity="0.5", client_order_id="first")
STRATEGY = post("/strategy", name="Mean reversion")
ASSIGNMENT = post("/trade-strategy", symbol="BTCUSDT", strategy_id=-1)

CASES = (
    Case("deposit", ("POST", "/users/me/deposit"),
         lambda _: post("/users/me/deposit", amount="12.5"), 200, is_settled=True),
    Case("withdraw", ("POST", "/users/me/withdraw"),
         lambda _: post("/users/me/withdraw", amount="12.5"), 200, is_settled=True),
    Case("withdraw too much", ("POST", "/users/me/withdraw"),
         lambda _: post("/users/me/withdraw", amount="9000000000"), 400, is_settled=True),
    Case("reset", ("POST", "/users/me/reset"),
         lambda _: post("/users/me/reset", balance="77"), 200, (BUY,)),
    Case("buy", ("POST", "/order"),
         lambda _: post("/order", symbol="ETHUSDT", quantity="1", client_order_id="mine"),
         201, (BUY,), is_settled=True),
    Case("sell by body", ("DELETE", "/order"),
         lambda _: {"method": "DELETE", "url": "/order", "json": {"symbol": "BTCUSDT"}},
         200, (BUY,), is_settled=True),
    Case("sell by path", ("DELETE", "/order/{id_or_symbol:text}"),
         lambda _: {"method": "DELETE", "url": "/order/BTCUSDT"}, 200, (BUY,), is_settled=True),
    Case("sell nothing", ("DELETE", "/order"),
         lambda _: {"method": "DELETE", "url": "/order?symbol=BTCUSDT"}, 400),
    Case("watch", ("POST", "/watchlist"),
         lambda _: post("/watchlist", symbol="BTCUSDT"), 201),
    Case("unwatch", ("DELETE", "/watchlist/{symbol:text}"),
         lambda _: {"method": "DELETE", "url": "/watchlist/BTCUSDT"},
         200, (post("/watchlist", symbol="BTCUSDT"),)),
    Case("log", ("POST", "/log"),
         lambda _: post("/log", symbol="BTCUSDT", action="hold", data={"rsi": 71.4, "n": None}),
         201),
    Case("create strategy", ("POST", "/strategy"), lambda _: STRATEGY, 201),
    Case("change strategy", ("PUT", "/strategy/{strategy_id}"),
         lambda ids: {"method": "PUT", "url": f"/strategy/{ids[0]}", "json": {"name": "New"}},
         200, (STRATEGY,)),
    Case("delete strategy", ("DELETE", "/strategy/{strategy_id}"),
         lambda ids: {"method": "DELETE", "url": f"/strategy/{ids[0]}"}, 200, (STRATEGY,)),
    Case("assign", ("POST", "/trade-strategy"),
         lambda ids: post("/trade-strategy", symbol="ETHUSDT", strategy_id=ids[0]),
         201, (STRATEGY,)),
    Case("assign otherwise", ("PUT", "/trade-strategy/{trade_strategy_id}"),
         lambda ids: {"method": "PUT", "url": f"/trade-strategy/{ids[1]}",
                      "json": {"timestamp": "1h"}}, 200, (STRATEGY, ASSIGNMENT)),
    Case("unassign", ("DELETE", "/trade-strategy/{trade_strategy_id}"),
         lambda ids: {"method": "DELETE", "url": f"/trade-strategy/{ids[1]}"},
         200, (STRATEGY, ASSIGNMENT)),
)  # fmt: skip

NAMES = [case.name for case in CASES]


Rows = dict[str, list[dict[str, Any]]]

EVERYTHING = """
    SELECT 'users' AS name, to_jsonb(t) AS row FROM users AS t WHERE id = $1
    UNION ALL SELECT 'transact', to_jsonb(t) FROM transact AS t WHERE user_id = $1
    UNION ALL SELECT 'fills', to_jsonb(t) FROM fills AS t
        WHERE order_id IN (SELECT id FROM transact WHERE user_id = $1)
    UNION ALL SELECT 'watchlists', to_jsonb(t) FROM watchlists AS t WHERE user_id = $1
    UNION ALL SELECT 'log', to_jsonb(t) FROM log AS t WHERE user_id = $1
    UNION ALL SELECT 'strategies', to_jsonb(t) FROM strategies AS t WHERE user_id = $1
    UNION ALL SELECT 'trade_strategies', to_jsonb(t) FROM trade_strategies AS t
        WHERE user_id = $1
    UNION ALL SELECT 'ledger_accounts', to_jsonb(t) FROM ledger_accounts AS t WHERE user_id = $1
    UNION ALL SELECT 'ledger_transfers', to_jsonb(t) FROM ledger_transfers AS t
        WHERE user_id = $1
    UNION ALL SELECT 'ledger_entries', to_jsonb(t) FROM ledger_entries AS t WHERE user_id = $1
    UNION ALL SELECT 'events', to_jsonb(t) FROM events AS t WHERE user_id = $1
    UNION ALL SELECT 'idempotency_keys', to_jsonb(t) FROM idempotency_keys AS t
        WHERE user_id = $1
"""


async def rows_of(conn: asyncpg.Connection, user_id: int) -> Rows:
    """Everything that is stored about a user."""
    found: Rows = {}
    for row in await conn.fetch(EVERYTHING, user_id):
        found.setdefault(row["name"], []).append(json.loads(row["row"], parse_float=Decimal))
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def shape(rows: Rows) -> Rows:
    """The same without what differs between two people to whom the same happened."""
    return {
        name: sorted((_shape_of_row(row) for row in table), key=repr)
        for name, table in rows.items()
    }


_OWN = frozenset({"email", "fingerprint", "body", "key", "price_age_ms"})


def _shape_of_row(row: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in row.items():
        if name in _OWN:
            continue
        if name == "id" or name.endswith(("_id", "_at")):
            shown[name] = value is not None
        else:
            shown[name] = _shape_of_row(value) if isinstance(value, dict) else value
    return shown


async def ask(person: Person, request: Request, *, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await person.client.request(**request, headers=headers)


async def answer(
    client: httpx.AsyncClient, method: str, url: str, **request: Any
) -> httpx.Response:
    """What is said as soon as the database can be asked."""
    async with asyncio.timeout(30):
        while (response := await client.request(method, url, **request)).status_code == 503:  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.02)
    return response.raise_for_status()
