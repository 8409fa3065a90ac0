"""What the client offers, against a real server: every route, exact, typed."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import goblin
from app.core.config import PROJECT
from tests.client.conftest import AT_ONCE, token_of
from tests.conftest import Person

T = TypeVar("T")


def test_the_sync_client_is_the_async_one_without_await() -> None:
    """Renew it with `python scripts/sync_client.py`."""
    script = PROJECT / "scripts" / "sync_client.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def asked(call: Callable[[goblin.Client], T], url: str, person: Person) -> Any:
    """What a sync client gets, in a thread, since the server runs in this one's loop."""

    def run() -> T:
        with goblin.Client(url, api_key=token_of(person), retries=AT_ONCE) as client:
            return call(client)

    return asyncio.to_thread(run)


async def test_the_sync_client_trades_lists_and_follows(url: str, somebody: Person) -> None:
    def session(client: goblin.Client) -> None:
        bought = client.buy("BTCUSDT", Decimal("0.12345678901234567891"))
        assert bought.quantity == Decimal("0.12345678901234567891")
        closed = client.close_order("BTCUSDT")
        assert (closed.id, closed.is_active) == (bought.id, False)
        assert client.orders(active=True).all() == ()
        assert [order.id for order in client.orders()] == [bought.id]
        events = client.events()
        assert [next(events).type for _ in range(3)] == [
            "account_opened", "order_opened", "order_closed",
        ]  # fmt: skip
        events.close()

    await asked(session, url, somebody)
