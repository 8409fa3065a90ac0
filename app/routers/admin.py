"""For administrators: the users of the installation, and its books."""

from typing import Annotated

from fastapi import Query

from app.db.errors import DatabaseBusy
from app.domain.registration import LastAdministrator, UserNotFound
from app.http.dependencies import Administrator, PathId, ResourcesOf, id_or_raise
from app.http.routing import Router
from app.schemas.admin import AdminUser, AdminUserList, InstallationAuditOut
from app.schemas.common import IdentifierIn, Limit, PagedResponse, StandardResponse
from app.schemas.ledger import CursorMeta
from app.services import administration, audit

router = Router(prefix="/admin", tag="admin")


@router.endpoint("GET", "/users", summary="List users")
async def list_users(
    _administrator: Administrator,
    resources: ResourcesOf,
    cursor: Annotated[IdentifierIn | None, Query(description="meta.next_cursor of a page.")] = None,
    limit: Limit = 100,
) -> PagedResponse[AdminUserList, CursorMeta]:
    """Everybody with an account, newest first."""
    page = await administration.list_users(resources.db, before_id=cursor, limit=limit)
    return PagedResponse(
        meta=CursorMeta(next_cursor=page.next_before_id),
        data=AdminUserList(users=[AdminUser.of(user) for user in page.users]),
    )


@router.endpoint(
    "POST",
    "/users/{user_id}/disable",
    summary="Disable a user",
    errors=(UserNotFound, LastAdministrator, DatabaseBusy),
)
async def disable_user(
    user_id: PathId, _administrator: Administrator, resources: ResourcesOf
) -> StandardResponse[AdminUser]:
    """Shut a user out at once: sessions end for good, API keys sleep. Repeating it is fine."""
    user = await administration.disable_user(
        resources.db, user_id=id_or_raise(user_id, UserNotFound)
    )
    return StandardResponse(data=AdminUser.of(user))


@router.endpoint(
    "POST",
    "/users/{user_id}/enable",
    summary="Enable a user",
    errors=(UserNotFound, DatabaseBusy),
)
async def enable_user(
    user_id: PathId, _administrator: Administrator, resources: ResourcesOf
) -> StandardResponse[AdminUser]:
    """Let a user in again: they log in anew, and their API keys work again."""
    user = await administration.enable_user(
        resources.db, user_id=id_or_raise(user_id, UserNotFound)
    )
    return StandardResponse(data=AdminUser.of(user))


@router.endpoint("GET", "/audit", summary="Audit the installation")
async def audit_installation(
    _administrator: Administrator, resources: ResourcesOf
) -> StandardResponse[InstallationAuditOut]:
    """Recompute everybody's books from their entries, and whether they agree."""
    found = await audit.audit_installation(resources.db)
    return StandardResponse(data=InstallationAuditOut.of(found))
