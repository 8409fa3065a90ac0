"""Is it up? GET / and the health routes."""

from app.core.constants import HEALTHY, WELCOME
from app.db.dao import health
from app.db.errors import DatabaseUnavailable
from app.domain.audit import LedgerStopped
from app.http.dependencies import ResourcesOf
from app.http.routing import Router
from app.schemas.common import StandardResponse
from app.schemas.system import Health, Liveness, Readiness
from app.services import readiness

router = Router(tag="system")


@router.endpoint("GET", "/", summary="Welcome", example={"message": WELCOME})
async def welcome() -> StandardResponse[None]:
    """Say hello: the address is right and the process serves."""
    return StandardResponse(message=WELCOME, data=None)


@router.endpoint("GET", "/health", summary="Health", errors=(DatabaseUnavailable,))
async def get_health(resources: ResourcesOf) -> StandardResponse[Health]:
    """Whether the API and its database work."""
    async with resources.db.connection() as conn:
        await health.is_answering(conn)
    return StandardResponse(data=Health(message=HEALTHY))


@router.endpoint("GET", "/health/live", summary="Liveness")
async def get_liveness() -> StandardResponse[Liveness]:
    """As long as the process serves, database or not."""
    return StandardResponse(data=Liveness())


@router.endpoint("GET", "/health/ready", summary="Readiness", errors=(LedgerStopped,))
async def get_readiness(resources: ResourcesOf) -> StandardResponse[Readiness]:
    """Whether an order could be placed now: the database answers and the ledger agrees."""
    return StandardResponse(data=Readiness(checks=await readiness.get_checks(resources.db)))
