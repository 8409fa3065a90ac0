"""The ledger on the wire."""

from pydantic import BaseModel, Field

from app.domain.ledger import Account, AccountKind, Cause, Entry
from app.schemas.common import Instant, LedgerMoney, Money
from app.services.audit import TrialBalance


class EntryOut(BaseModel):
    """One side of a transfer: what it changed on one account, and what caused it."""

    id: int = Field(examples=[42])
    transfer_id: int = Field(examples=[21])
    cause: Cause
    kind: AccountKind
    asset: str = Field(examples=["USD"])
    epoch: int = Field(examples=[1])
    version: int = Field(
        description="Counts the account's entries from 1, without a gap.", examples=[3]
    )
    amount: Money
    balance_before: LedgerMoney
    balance_after: LedgerMoney
    order_id: int | None = Field(None, examples=[1])
    reverses_transfer_id: int | None = Field(None, examples=[20])
    request_id: str | None = Field(None, examples=["3f2a9c1be07d4a55"])
    event_at: Instant = Field(description="When it happened.")
    created_at: Instant = Field(description="When it was written.")

    @classmethod
    def of(cls, entry: Entry) -> "EntryOut":
        """The wire form of an entry."""
        return cls(
            id=entry.id,
            transfer_id=entry.transfer_id,
            cause=entry.cause,
            kind=entry.kind,
            asset=entry.asset,
            epoch=entry.epoch,
            version=entry.version,
            amount=entry.amount,
            balance_before=entry.balance_before,
            balance_after=entry.balance_after,
            order_id=entry.order_id,
            reverses_transfer_id=entry.reverses_transfer_id,
            request_id=entry.request_id,
            event_at=entry.event_at,
            created_at=entry.created_at,
        )


class EntryList(BaseModel):
    """A page of entries, newest first."""

    entries: list[EntryOut]


class CursorMeta(BaseModel):
    """Where the next page begins; absent on the last one."""

    next_cursor: int | None = Field(None, examples=[41])


class AccountOut(BaseModel):
    """A ledger account; the accounts of one asset always sum to zero."""

    id: int = Field(examples=[3])
    kind: AccountKind
    asset: str = Field(examples=["USD"])
    epoch: int = Field(examples=[1])
    balance: LedgerMoney
    version: int = Field(description="How many entries it has.", examples=[3])

    @classmethod
    def of(cls, account: Account) -> "AccountOut":
        """The wire form of an account."""
        return cls(
            id=account.id,
            kind=account.key.kind,
            asset=account.key.asset,
            epoch=account.key.epoch,
            balance=account.balance,
            version=account.version,
        )


class AccountList(BaseModel):
    """The accounts of one epoch, by kind and asset."""

    accounts: list[AccountOut]


class AuditedAccount(AccountOut):
    """An account beside what its entries say."""

    recomputed: LedgerMoney = Field(description="The sum of the account's entries.")
    entries: int = Field(description="How many were added up.", examples=[3])


class AssetTotal(BaseModel):
    """All accounts of an asset, added up from their entries."""

    asset: str = Field(examples=["USD"])
    total: LedgerMoney = Field(
        description="0, or something is wrong.", examples=["0.00000000000000000000"]
    )


class AuditOut(BaseModel):
    """The trial balance of the caller's accounts, of every epoch."""

    agrees: bool = Field(examples=[True])
    accounts: list[AuditedAccount]
    totals: list[AssetTotal]
    discrepancies: list[str] = Field(
        description="What is wrong, in words; empty if all agrees.", examples=[[]]
    )

    @classmethod
    def of(cls, trial: TrialBalance) -> "AuditOut":
        """The wire form of a trial balance."""
        return cls(
            agrees=trial.agrees,
            accounts=[
                AuditedAccount(
                    **dict(AccountOut.of(account)),
                    recomputed=entries.balance,
                    entries=entries.entries,
                )
                for account, entries in trial.accounts
            ],
            totals=[
                AssetTotal(asset=asset, total=total)
                for asset, total in sorted(trial.totals.items())
            ],
            discrepancies=[discrepancy.text for discrepancy in trial.discrepancies],
        )
