"""The main job, walked through over HTTP and printed: from registering to a closed order."""

import asyncio
import secrets
from decimal import Decimal
from typing import Any, Final

import httpx

SYMBOL: Final = "BTCUSDT"
QUANTITY: Final = "0.05"
DEPOSIT: Final = "10000"
MARKET_HOUR_MS: Final = 3_600_000
LIVE_WAIT_SECONDS: Final = 10


class DemoError(Exception):
    """A step was not answered as the walk expects; the text is the server's own."""


async def walk(url: str, *, replay_url: str | None) -> None:
    """Register, fund, quote, buy, let the price move, close, read the profit, list.

    With the replay exchange an hour of its market passes at once; a live market is given a
    few seconds. Raises DemoError.
    """
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        account = {
            "email": f"demo-{secrets.token_hex(4)}@example.com",
            "password": secrets.token_urlsafe(12),
            "name": "Demo",
        }
        user = await _call(client, "POST", "/auth/register", json=account)
        _say("register", f"{user['email']} has account {user['id']}")
        session = await _call(client, "POST", "/auth/login", json=account)
        client.headers["Authorization"] = f"Bearer {session['access_token']}"

        user = await _call(client, "POST", "/users/me/deposit", json={"amount": DEPOSIT})
        _say("fund", f"balance {_money(user['balance'])}")

        quote = await _call(client, "GET", "/market/price", params={"symbol": SYMBOL})
        _say("quote", f"{SYMBOL} costs {quote['price']}")

        order = {"symbol": SYMBOL, "quantity": QUANTITY}
        bought = await _call(client, "POST", "/order", json=order)
        _say(
            "buy",
            f"{QUANTITY} {SYMBOL} at {_money(bought['buy_price'])}"
            f" for {_money(bought['buyAggregate'])}",
        )

        await _let_the_market_move(replay_url)
        quote = await _call(client, "GET", "/market/price", params={"symbol": SYMBOL})
        _say("price moves", f"{SYMBOL} costs {quote['price']}")

        sold = await _call(client, "DELETE", f"/order/{SYMBOL}")
        _say("close", f"at {_money(sold['sell_price'])} for {_money(sold['sellAggregate'])}")
        user = await _call(client, "GET", "/users/me")
        _say("profit", f"{_money(sold['diffDollar'])}, balance {_money(user['balance'])}")
        gained = Decimal(user["balance"]) - Decimal(DEPOSIT)
        if gained != Decimal(sold["diffDollar"]):
            raise DemoError(f"the balance gained {gained}, the order says {sold['diffDollar']}")

        listed = await _call(client, "GET", "/order")
        for row in listed["orders"]:
            state = "closed" if row["status"] == 2 else "active"  # noqa: PLR2004 - the wire's code
            _say("list", f"order {row['id']}: {row['symbol']} {state}, {_money(row['diffDollar'])}")


async def _let_the_market_move(replay_url: str | None) -> None:
    if replay_url is None:
        print(f"{'':>12}  waiting {LIVE_WAIT_SECONDS} seconds for the live market ...", flush=True)
        await asyncio.sleep(LIVE_WAIT_SECONDS)
        return
    async with httpx.AsyncClient(base_url=replay_url, timeout=30) as exchange:
        response = await exchange.post("/control/clock", json={"advance_ms": MARKET_HOUR_MS})
        response.raise_for_status()
    await asyncio.sleep(1.1)  # PRICE_MAX_AGE_SECONDS: the quote of before may be used until then


async def _call(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> Any:
    response = await client.request(method, path, **options)
    body = response.json()
    if response.is_error:
        raise DemoError(f"{method} {path}: {response.status_code} {body['message']}")
    return body["data"]


def _say(step: str, text: str) -> None:
    print(f"{step:>12}  {text}", flush=True)


def _money(text: str) -> str:
    """A wire amount for people: no trailing zeros beyond cents, thousands apart."""
    whole, _, decimals = text.partition(".")
    return f"{int(whole):,}.{decimals.rstrip('0').ljust(2, '0')}"
