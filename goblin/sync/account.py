# Made by scripts/sync_client.py of goblin/aio/account.py; do not edit.
"""The account: who asks, its money, its books, and what happened to it."""

from collections.abc import Sequence
from typing import Any

from goblin.calls import Amount, Instant, Pages, amount, change, credential_change, get
from goblin.models import (
    ApiKey,
    Audit,
    Event,
    LedgerAccount,
    LedgerEntry,
    NewApiKey,
    Statistics,
    User,
)
from goblin.sync.exports import Exports
from goblin.sync.listing import Listing


class Account(Exports):
    """What an account is and has."""

    def register(self, email: str, password: str, name: str) -> User:
        """Open an account; log in afterwards."""
        call = credential_change(
            "POST", "/auth/register", "unless lost", email=email, password=password, name=name
        )
        user: User = self._get(User, call)
        return user

    def logout(self) -> None:
        """End the session, at once and everywhere."""
        self._do(credential_change("POST", "/auth/logout", "unless lost"))
        self._forget()

    def change_password(self, old_password: str, new_password: str) -> None:
        """Every session and API key is revoked, this one too: log in again."""
        call = credential_change(
            "POST",
            "/auth/password",
            "unless lost",
            old_password=old_password,
            new_password=new_password,
        )
        self._do(call)
        self._forget()

    def api_keys(self) -> Listing[ApiKey]:
        """The account's keys, newest first."""
        return self._list(Pages(first=get("/auth/api-keys"), model=ApiKey, member="api_keys"))

    def create_api_key(
        self,
        name: str,
        *,
        scopes: Sequence[str] = ("read", "trade"),
        expires_at: Instant | None = None,
    ) -> NewApiKey:
        """A key for a program; `key` of the answer is shown once. Needs a login, not a key."""
        call = credential_change(
            "POST",
            "/auth/api-keys",
            "unless lost",
            name=name,
            scopes=list(scopes),
            expires_at=expires_at,
        )
        made: NewApiKey = self._get(NewApiKey, call)
        return made

    def delete_api_key(self, api_key_id: int) -> None:
        """Revoke a key. Needs a login, not a key."""
        path = f"/auth/api-keys/{api_key_id}"
        self._do(credential_change("DELETE", path, "unless lost"))

    def me(self, *, as_of: Instant | None = None) -> User:
        """The account and its balance, now or at an instant."""
        user: User = self._get(User, get("/users/me", as_of=as_of))
        return user

    def deposit(self, value: Amount, *, idempotency_key: str | None = None) -> User:
        """Add paper cash."""
        return self._move("deposit", "amount", value, idempotency_key)

    def withdraw(self, value: Amount, *, idempotency_key: str | None = None) -> User:
        """Take paper cash out."""
        return self._move("withdraw", "amount", value, idempotency_key)

    def reset(self, balance: Amount, *, idempotency_key: str | None = None) -> User:
        """Begin a new epoch with this balance; the old one stays readable."""
        return self._move("reset", "balance", balance, idempotency_key)

    def _move(self, what: str, name: str, value: Amount, key: str | None) -> User:
        body: dict[str, Any] = {name: amount(value, name)}
        call = change("POST", f"/users/me/{what}", idempotency_key=key, **body)
        user: User = self._get(User, call)
        return user

    def statistics(
        self,
        *,
        symbol: str | None = None,
        epoch: int | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        interval: str | None = None,
    ) -> Statistics:
        """Equity, returns, risk and trades in [begin, end), and what holding would have brought.

        Open orders are marked at the end of every candle of the interval, by default each day.
        """
        call = get(
            "/account/statistics",
            symbol=symbol,
            epoch=epoch,
            begin=begin,
            end=end,
            interval=interval,
        )
        found: Statistics = self._get(Statistics, call)
        return found

    def ledger_accounts(
        self, *, epoch: int | None = None, as_of: Instant | None = None
    ) -> Listing[LedgerAccount]:
        """The accounts of one epoch and their balances, now or at an instant."""
        call = get("/ledger/accounts", epoch=epoch, as_of=as_of)
        return self._list(Pages(first=call, model=LedgerAccount, member="accounts"))

    def ledger_entries(
        self,
        *,
        kind: str | None = None,
        asset: str | None = None,
        order_id: int | None = None,
        epoch: int | None = None,
        limit: int | None = None,
    ) -> Listing[LedgerEntry]:
        """Every movement of money and assets, newest first."""
        call = get("/ledger/entries", kind=kind, asset=asset, order_id=order_id, epoch=epoch)
        return self._list(
            Pages(first=call, model=LedgerEntry, member="entries", by="cursor", limit=limit)
        )

    def audit(self) -> Audit:
        """The trial balance, recomputed from the entries, and whether it agrees."""
        found: Audit = self._get(Audit, get("/ledger/audit"))
        return found

    def event_history(self, *, after: int = 0, limit: int | None = None) -> Listing[Event]:
        """The events after this number that have happened by now, oldest first."""
        call = get("/events", after=after)
        return self._list(Pages(first=call, model=Event, member="events", by="number", limit=limit))
