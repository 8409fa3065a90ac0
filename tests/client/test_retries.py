"""Whatever breaks, nothing is done twice and nothing is missed."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal

import goblin
import pytest
import pytest_asyncio
from tests.client.conftest import AT_ONCE, token_of
from tests.client.proxy import Proxy, proxy_to
from tests.conftest import Person


@pytest_asyncio.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    async with proxy_to(url) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def shaky(proxy: Proxy, somebody: Person) -> AsyncIterator[goblin.AsyncClient]:
    """Somebody's client, whose way to goblin breaks when the proxy is told to."""
    key = token_of(somebody)
    async with goblin.AsyncClient(proxy.url, api_key=key, retries=AT_ONCE) as client:
        yield client


@pytest.mark.parametrize("bytes_passed", [0, 9, 300])
async def test_an_order_whose_answer_was_cut_off_after_the_commit_is_bought_once(
    proxy: Proxy, shaky: goblin.AsyncClient, bytes_passed: int
) -> None:
    proxy.cut_after = lambda n: bytes_passed if n < 2 else None
    order = await shaky.buy("BTCUSDT", "0.5")
    assert proxy.connections == 3, "it was answered twice, and both answers were lost"
    assert await shaky.orders().all() == (order,)
    assert (await shaky.me()).balance == Decimal(1_000_000) - order.cost
    closed = await shaky.close_order("BTCUSDT")
    assert closed.id == order.id


async def test_a_deposit_that_was_given_up_can_be_repeated_with_its_key_and_counts_once(
    proxy: Proxy, shaky: goblin.AsyncClient
) -> None:
    proxy.cut_after = lambda _: 0
    with pytest.raises(goblin.ConnectionLost, match="idempotency_key=") as lost:
        await shaky.deposit("5")
    assert proxy.connections == 1 + AT_ONCE.count
    proxy.cut_after = lambda _: None
    user = await shaky.deposit("5", idempotency_key=lost.value.idempotency_key)
    assert user.balance == (await shaky.me()).balance == 1_000_005


async def test_a_bot_that_was_killed_buys_again_by_its_own_order_id_and_has_bought_once(
    proxy: Proxy, shaky: goblin.AsyncClient, url: str, somebody: Person
) -> None:
    proxy.cut_after = lambda _: 0
    with pytest.raises(goblin.ConnectionLost, match=r"broke during POST /order .*: ask again"):
        await shaky.buy("BTCUSDT", "0.5", client_order_id="monday-1")
    async with goblin.AsyncClient(url, api_key=token_of(somebody)) as restarted:
        order = await restarted.buy("BTCUSDT", "0.5", client_order_id="monday-1")
        assert await restarted.orders().all() == (order,)
        await restarted.close_order("BTCUSDT")
        assert await restarted.buy("BTCUSDT", "0.50", client_order_id="monday-1") == order
        with pytest.raises(goblin.Invalid) as refused:
            await restarted.buy("BTCUSDT", "0.6", client_order_id="monday-1")
        assert refused.value.code == "idempotency_key_reused"
        assert len(await restarted.orders().all()) == 1


async def test_an_event_stream_that_breaks_anywhere_misses_nothing_and_repeats_nothing(
    proxy: Proxy, shaky: goblin.AsyncClient, url: str, somebody: Person
) -> None:
    """Each connection is cut some bytes later: first in the headers, then in the events."""
    async with goblin.AsyncClient(url, api_key=token_of(somebody)) as sure:
        await sure.create_strategy("line\u2028separator")  # which ends no line of the stream
        for _ in range(12):
            await sure.watch("BTCUSDT")
            await sure.unwatch("BTCUSDT")
        proxy.cut_after = lambda n: 157 * n if n < 20 else None
        seen: list[goblin.models.Event] = []
        async with aclosing(shaky.events()) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == 20:
                    await sure.deposit("1")  # while it is followed
                if event.type == "deposited":
                    break
        assert proxy.connections > 5, "it was cut often"
        assert [event.number for event in seen] == list(range(1, len(seen) + 1))
        assert seen == list(await sure.event_history().all())


async def test_events_go_on_after_the_number_that_was_remembered(
    client: goblin.AsyncClient,
) -> None:
    for amount in ("1", "2", "3"):
        await client.deposit(amount)
    numbers = [event.number async for event in client.event_history()]
    async with aclosing(client.events(after=numbers[-2])) as events:
        event = await anext(events)
    assert (event.number, event.data["amount"]) == (numbers[-1], "3.00000000000000000000")
