"""The main job, walked through over HTTP and printed: from registering to a closed order."""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

import httpx

SYMBOL: Final = "BTCUSDT"
SYMBOL_CHARACTERS_MAX: Final = 10
DEPOSIT: Final = "10000"
STAKE: Final = Decimal(5000)
MARKET_HOUR_MS: Final = 3_600_000
LIVE_WAIT_SECONDS: Final = 10


class DemoError(Exception):
    """A step was not answered as the walk expects; the text is the server's own."""


async def walk(url: str, *, replay_url: str | None, price_age_seconds: float) -> None:
    """Register, fund, quote, buy, let the price move, close, read the profit, list.

    With the replay exchange an hour of its market passes at once; a live market is given a
    few seconds. A price may be `price_age_seconds` old. Raises DemoError.
    """
    try:
        await _walk(url, replay_url, price_age_seconds)
    except httpx.HTTPError as error:
        raise DemoError(f"no answer ({error!r})") from None


async def _walk(url: str, replay_url: str | None, price_age_seconds: float) -> None:
    symbol = SYMBOL if replay_url is None else await _listed_symbol(replay_url)
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        account = {
            "email": f"demo-{secrets.token_hex(4)}@example.com",
            "password": secrets.token_urlsafe(12),
            "name": "Demo",
        }
        user = await _call(client, "POST", "/auth/register", json=account)
        _say("register", f"{user['email']} has account {user['id']}")
        session = await _call(client, "POST", "/auth/login", json=account)
        client.headers["Authorization"] = f"Bearer {session['access_token']}"

        funded = await _call(client, "POST", "/users/me/deposit", json={"amount": DEPOSIT})
        _say("fund", f"balance {_money(funded['balance'])}")

        quote = await _call(client, "GET", "/market/price", params={"symbol": symbol})
        _say("quote", f"{symbol} costs {quote['price']}")

        order = {"symbol": symbol, "quantity": _quantity(Decimal(quote["price"]))}
        bought = await _call(client, "POST", "/order", json=order)
        _say(
            "buy",
            f"{order['quantity']} {symbol} at {_money(bought['buy_price'])}"
            f" for {_money(bought['buyAggregate'])}",
        )

        await _let_the_market_move(replay_url, price_age_seconds)
        quote = await _call(client, "GET", "/market/price", params={"symbol": symbol})
        _say("price moves", f"{symbol} costs {quote['price']}")

        sold = await _call(client, "DELETE", f"/order/{symbol}")
        _say("close", f"at {_money(sold['sell_price'])} for {_money(sold['sellAggregate'])}")
        user = await _call(client, "GET", "/users/me")
        _say("profit", f"{_money(sold['diffDollar'])}, balance {_money(user['balance'])}")
        gained = Decimal(user["balance"]) - Decimal(funded["balance"])
        if gained != Decimal(sold["diffDollar"]):
            raise DemoError(f"the balance gained {gained}, the order says {sold['diffDollar']}")

        listed = await _call(client, "GET", "/order")
        for row in listed["orders"]:
            state = "closed" if row["status"] == 2 else "active"  # noqa: PLR2004 - the wire's code
            _say("list", f"order {row['id']}: {row['symbol']} {state}, {_money(row['diffDollar'])}")


async def _listed_symbol(replay_url: str) -> str:
    """BTCUSDT where the recording has it, else the first symbol that an order can name."""
    async with _exchange(replay_url) as exchange:
        answer = await exchange.get("/control")
        instruments = answer.raise_for_status().json()["instruments"]
    listed = {
        instrument["symbol"]
        for instrument in instruments
        if instrument["category"] == "spot" and instrument["listed"]
    }
    return _choice(
        {symbol for symbol in listed if len(symbol) <= SYMBOL_CHARACTERS_MAX},
        broken=[instrument["broken"] for instrument in instruments if instrument["broken"]],
    )


def _choice(symbols: Collection[str], *, broken: Sequence[str] = ()) -> str:
    if not symbols:
        if broken:
            raise DemoError(broken[0])
        raise DemoError(
            "the recording has no spot or linear symbol at this time; GET /control of the "
            "replay exchange shows what it has, --start chooses another time"
        )
    return SYMBOL if SYMBOL in symbols else min(symbols)


def _quantity(price: Decimal) -> str:
    """What about half of the deposit buys, in six decimals or, of what is dear, in more."""
    quantity = STAKE / price
    step = Decimal(1).scaleb(min(-6, quantity.adjusted() - 2))
    return format(quantity.quantize(step, rounding=ROUND_DOWN).normalize(), "f")


def _exchange(replay_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=replay_url, timeout=30, trust_env=False)


async def _let_the_market_move(replay_url: str | None, price_age_seconds: float) -> None:
    if replay_url is None:
        seconds = max(LIVE_WAIT_SECONDS, price_age_seconds)
        print(f"{'':>12}  waiting {seconds:g} seconds for the live market ...", flush=True)
        await asyncio.sleep(seconds)
        return
    async with _exchange(replay_url) as exchange:
        moved = await exchange.post("/control/clock", json={"advance_ms": MARKET_HOUR_MS})
        moved.raise_for_status()
    await asyncio.sleep(price_age_seconds + 0.1)  # the quote of before may be used until then


async def _call(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> Any:
    response = await client.request(method, path, **options)
    body = response.json()
    if response.is_error:
        text = f"{method} {path}: {response.status_code} {body['message']}"
        if response.status_code in (502, 503):
            text += " (without internet: --replay)"
        raise DemoError(text)
    return body["data"]


def _say(step: str, text: str) -> None:
    print(f"{step:>12}  {text}", flush=True)


def _money(text: str) -> str:
    """A wire amount for people: no trailing zeros beyond cents, thousands apart."""
    whole, _, decimals = text.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{abs(int(whole)):,}.{decimals.rstrip('0').ljust(2, '0')}"
