"""Reading and checking the caller's ledger."""

from typing import Annotated

from fastapi import Query

from app.domain.ledger import AccountKind, BeforeTheLedger
from app.domain.orders import OrderId
from app.domain.users import EpochMissing
from app.http.dependencies import AsOf, CurrentUser, ResourcesOf
from app.http.routing import Router
from app.schemas.common import (
    Epoch,
    FilterSymbol,
    IdentifierIn,
    Limit,
    PagedResponse,
    StandardResponse,
)
from app.schemas.ledger import AccountList, AccountOut, AuditOut, CursorMeta, EntryList, EntryOut
from app.services import audit, history

router = Router(prefix="/ledger", tag="ledger")


@router.endpoint("GET", "/entries", summary="Entries", errors=(EpochMissing,))
async def list_entries(
    user: CurrentUser,
    resources: ResourcesOf,
    kind: AccountKind | None = None,
    asset: Annotated[FilterSymbol | None, Query(examples=["USD"])] = None,
    order_id: IdentifierIn | None = None,
    epoch: Epoch = None,
    cursor: Annotated[IdentifierIn | None, Query(description="meta.next_cursor of a page.")] = None,
    limit: Limit = 100,
) -> PagedResponse[EntryList, CursorMeta]:
    """Entries of one epoch, newest first. A page never shifts: newer entries come before it."""
    page = await history.list_entries(
        resources.db,
        user=user,
        epoch=epoch,
        kind=kind,
        asset=asset,
        order_id=None if order_id is None else OrderId(order_id),
        before_id=cursor,
        limit=limit,
    )
    return PagedResponse(
        meta=CursorMeta(next_cursor=page.next_before_id),
        data=EntryList(entries=[EntryOut.of(entry) for entry in page.entries]),
    )


@router.endpoint("GET", "/accounts", summary="Accounts", errors=(BeforeTheLedger, EpochMissing))
async def list_accounts(
    user: CurrentUser, resources: ResourcesOf, epoch: Epoch = None, as_of: AsOf = None
) -> StandardResponse[AccountList]:
    """The accounts of one epoch and their balances, now or as they were at an instant."""
    accounts = await history.list_accounts(resources.db, user=user, epoch=epoch, at=as_of)
    return StandardResponse(
        data=AccountList(accounts=[AccountOut.of(account) for account in accounts])
    )


@router.endpoint("GET", "/audit", summary="Audit my account")
async def audit_account(user: CurrentUser, resources: ResourcesOf) -> StandardResponse[AuditOut]:
    """The trial balance, recomputed from the entries in one snapshot, and whether it agrees."""
    trial = await audit.get_trial_balance(resources.db, user_id=user.id)
    return StandardResponse(data=AuditOut.of(trial))
