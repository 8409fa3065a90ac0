"""The caller's API keys."""

from app.core.constants import API_KEY_DELETED
from app.db.dao import api_keys as stored
from app.db.errors import DatabaseBusy
from app.domain.access import SessionRequired
from app.domain.api_keys import ApiKeyNotFound, TooManyApiKeys
from app.http.dependencies import CurrentSession, CurrentUser, PathId, ResourcesOf, id_or_raise
from app.http.routing import Router
from app.schemas.access import ApiKeyCreate, ApiKeyList, ApiKeyOut, NewApiKey
from app.schemas.common import Empty, StandardResponse
from app.services import api_keys

router = Router(prefix="/auth/api-keys", tag="api-keys")


@router.endpoint(
    "POST",
    "",
    summary="Make a key",
    status_code=201,
    errors=(TooManyApiKeys, SessionRequired, DatabaseBusy),
)
async def create_api_key(
    body: ApiKeyCreate, caller: CurrentSession, resources: ResourcesOf
) -> StandardResponse[NewApiKey]:
    """A key for a bot, with no more scopes than the caller has. It is shown this once.

    Send it as `Authorization: Bearer gob_...` or as `X-API-Key`. A key cannot make or
    delete keys, change the password or end sessions: that needs a login.
    """
    made = await api_keys.make_api_key(
        resources.db, caller, name=body.name, scopes=body.scopes, expires_at=body.expires_at
    )
    return StandardResponse(data=NewApiKey.made(made))


@router.endpoint("GET", "", summary="My keys")
async def list_api_keys(user: CurrentUser, resources: ResourcesOf) -> StandardResponse[ApiKeyList]:
    """All keys, newest first, without their secrets."""
    async with resources.db.connection() as conn:
        found = await stored.get_api_keys(conn, user_id=user.id)
    return StandardResponse(data=ApiKeyList(api_keys=[ApiKeyOut.of(key) for key in found]))


@router.endpoint(
    "DELETE",
    "/{api_key_id}",
    summary="Delete a key",
    example={"message": API_KEY_DELETED},
    errors=(ApiKeyNotFound, SessionRequired),
)
async def delete_api_key(
    api_key_id: PathId, caller: CurrentSession, resources: ResourcesOf
) -> StandardResponse[Empty]:
    """From now on no process accepts the key."""
    key_id = id_or_raise(api_key_id, ApiKeyNotFound)
    await api_keys.delete_api_key(resources.db, caller, key_id=key_id)
    return StandardResponse(message=API_KEY_DELETED, data=Empty())
