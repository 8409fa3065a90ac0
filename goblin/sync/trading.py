# Made by scripts/sync_client.py of goblin/aio/trading.py; do not edit.
"""Orders, and what is written down about trading: watchlist, log, strategies."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from goblin.calls import Amount, Instant, Pages, amount, change, credential_change, get, path_part
from goblin.models import (
    LogEntry,
    Order,
    OrderDetail,
    OrderPreview,
    Strategy,
    TradeStrategy,
    WatchlistEntry,
)
from goblin.sync.account import Account
from goblin.sync.listing import Listing


class Trading(Account):
    """What an account does."""

    def buy(
        self,
        symbol: str,
        quantity: Amount,
        *,
        client_order_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Order:
        """Buy at the venue's price of now.

        A `client_order_id` is an idempotency key that you know beforehand: sent again with
        it, also by another process, the same order gets the first answer.
        """
        call = change(
            "POST",
            "/order",
            idempotency_key=idempotency_key,
            symbol=symbol,
            quantity=amount(quantity, "quantity"),
            client_order_id=client_order_id,
        )
        if client_order_id is not None and idempotency_key is None:
            call = replace(call, idempotency_key=None)  # a random one would hide the order's own
        order: Order = self._get(Order, call)
        return order

    def close_order(self, symbol: str, *, idempotency_key: str | None = None) -> Order:
        """Sell what is held of the symbol at the venue's price of now."""
        query = {"symbol": symbol}
        call = change("DELETE", "/order", idempotency_key=idempotency_key, query=query)
        order: Order = self._get(Order, call)
        return order

    def preview(self, symbol: str, quantity: Amount) -> OrderPreview:
        """What buying would do now; books nothing."""
        call = credential_change(
            "POST", "/order/preview", "always", symbol=symbol, quantity=amount(quantity, "quantity")
        )
        outcome: OrderPreview = self._get(OrderPreview, call)
        return outcome

    def order(self, order_id: int) -> OrderDetail:
        """One order, and why it filled at its prices."""
        found: OrderDetail = self._get(OrderDetail, get(f"/order/{order_id}"))
        return found

    def order_by_client_id(self, client_order_id: str) -> OrderDetail:
        """The same, by the id that was given to it."""
        call = get(f"/order/by-client-id/{path_part(client_order_id)}")
        found: OrderDetail = self._get(OrderDetail, call)
        return found

    def orders(
        self,
        *,
        active: bool | None = None,
        symbol: str | None = None,
        epoch: int | None = None,
        as_of: Instant | None = None,
        limit: int | None = None,
    ) -> Listing[Order]:
        """Active orders first, then newest first, all pages of 1,000.

        Orders that are made or closed between two pages may be missed; `export("orders")`
        and `as_of` are of one instant.
        """
        call = get("/order", active=active, symbol=symbol, epoch=epoch, as_of=as_of)
        return self._list(Pages(first=call, model=Order, member="orders", by="offset", limit=limit))

    def watchlist(self) -> Listing[WatchlistEntry]:
        """The watched symbols, newest first."""
        return self._list(Pages(first=get("/watchlist"), model=WatchlistEntry, member="watchlists"))

    def watch(self, symbol: str, *, idempotency_key: str | None = None) -> WatchlistEntry:
        """Watch a symbol; one that is watched already stays as it is."""
        call = change("POST", "/watchlist", idempotency_key=idempotency_key, symbol=symbol)
        entry: WatchlistEntry = self._get(WatchlistEntry, call)
        return entry

    def unwatch(self, symbol: str, *, idempotency_key: str | None = None) -> None:
        """Stop watching a symbol."""
        path = f"/watchlist/{path_part(symbol)}"
        self._do(change("DELETE", path, idempotency_key=idempotency_key))

    def logs(self, *, symbol: str | None = None, limit: int | None = None) -> Listing[LogEntry]:
        """The trading log, newest first; `symbol` is a part of one."""
        call = get("/log", symbol=symbol)
        return self._list(
            Pages(first=call, model=LogEntry, member="logs", by="offset", limit=limit)
        )

    def log(
        self,
        symbol: str,
        action: str,
        data: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> LogEntry:
        """Write an entry; `data` is any JSON object, and keeps every digit of a Decimal."""
        call = change(
            "POST",
            "/log",
            idempotency_key=idempotency_key,
            symbol=symbol,
            action=action,
            data=dict(data),
        )
        entry: LogEntry = self._get(LogEntry, call)
        return entry

    def log_symbols(self) -> tuple[str, ...]:
        """The symbols in the log, sorted."""
        symbols: tuple[str, ...] = self._get(tuple[str, ...], get("/log/symbols"))
        return symbols

    def strategies(self, *, include_deleted: bool | None = None) -> Listing[Strategy]:
        """The strategies, newest first; deleted ones too unless `include_deleted=False`."""
        call = get("/strategy", include_deleted=include_deleted)
        return self._list(Pages(first=call, model=Strategy, member="strategies"))

    def create_strategy(
        self, name: str, *, slug: str | None = None, idempotency_key: str | None = None
    ) -> Strategy:
        """A new strategy; its slug is made from the name unless there is one."""
        call = change("POST", "/strategy", idempotency_key=idempotency_key, name=name, slug=slug)
        strategy: Strategy = self._get(Strategy, call)
        return strategy

    def update_strategy(
        self,
        strategy_id: int,
        *,
        name: str | None = None,
        slug: str | None = None,
        idempotency_key: str | None = None,
    ) -> Strategy:
        """Change what is not None."""
        path = f"/strategy/{strategy_id}"
        call = change("PUT", path, idempotency_key=idempotency_key, name=name, slug=slug)
        strategy: Strategy = self._get(Strategy, call)
        return strategy

    def delete_strategy(self, strategy_id: int, *, idempotency_key: str | None = None) -> None:
        """Delete it softly."""
        self._do(change("DELETE", f"/strategy/{strategy_id}", idempotency_key=idempotency_key))

    def trade_strategies(self, *, include_deleted: bool | None = None) -> Listing[TradeStrategy]:
        """Which strategy trades what; deleted ones too unless `include_deleted=False`."""
        call = get("/trade-strategy", include_deleted=include_deleted)
        return self._list(Pages(first=call, model=TradeStrategy, member="trade_strategies"))

    def create_trade_strategy(
        self,
        symbol: str,
        strategy_id: int,
        *,
        interval: str | None = None,
        idempotency_key: str | None = None,
    ) -> TradeStrategy:
        """Assign a strategy to a symbol at an interval (5m)."""
        call = change(
            "POST",
            "/trade-strategy",
            idempotency_key=idempotency_key,
            symbol=symbol,
            strategy_id=strategy_id,
            timestamp=interval,
        )
        made: TradeStrategy = self._get(TradeStrategy, call)
        return made

    def update_trade_strategy(
        self,
        trade_strategy_id: int,
        *,
        symbol: str | None = None,
        strategy_id: int | None = None,
        interval: str | None = None,
        idempotency_key: str | None = None,
    ) -> TradeStrategy:
        """Change what is not None."""
        call = change(
            "PUT",
            f"/trade-strategy/{trade_strategy_id}",
            idempotency_key=idempotency_key,
            symbol=symbol,
            strategy_id=strategy_id,
            timestamp=interval,
        )
        changed: TradeStrategy = self._get(TradeStrategy, call)
        return changed

    def delete_trade_strategy(
        self, trade_strategy_id: int, *, idempotency_key: str | None = None
    ) -> None:
        """Delete it softly."""
        path = f"/trade-strategy/{trade_strategy_id}"
        self._do(change("DELETE", path, idempotency_key=idempotency_key))
