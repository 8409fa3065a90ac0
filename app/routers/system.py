"""Is it up? GET / and the health routes."""

from app.core.constants import HEALTHY, WELCOME
from app.db.errors import DatabaseUnavailable
from app.domain.audit import LedgerStopped
from app.domain.errors import UpstreamUnavailable
from app.domain.health import DatabaseReadOnly, SchemaNotCurrent
from app.http.dependencies import ResourcesOf
from app.http.routing import Router
from app.schemas.common import StandardResponse
from app.schemas.system import Health, Liveness, PartState, Readiness

router = Router(tag="system")


@router.endpoint("GET", "/", summary="Welcome", example={"message": WELCOME})
async def welcome() -> StandardResponse[None]:
    """Say hello: the address is right and the process serves."""
    return StandardResponse(message=WELCOME, data=None)


@router.endpoint("GET", "/health", summary="Health", errors=(DatabaseUnavailable,))
async def get_health(resources: ResourcesOf) -> StandardResponse[Health]:
    """Whether the API and its database work, and how every part is."""
    parts = {
        name: PartState(state=part.state, age_seconds=round(part.age_seconds, 3))
        for name, part in (await resources.readiness.parts()).items()
    }
    for name, job in resources.jobs.states().items():
        parts[f"job {name}"] = PartState(
            state="running" if job.is_running else "restarting",
            age_seconds=round(job.age_seconds, 3),
        )
    return StandardResponse(data=Health(message=HEALTHY, parts=parts))


@router.endpoint("GET", "/health/live", summary="Liveness")
async def get_liveness() -> StandardResponse[Liveness]:
    """As long as the process serves, database or not."""
    return StandardResponse(data=Liveness())


@router.endpoint(
    "GET",
    "/health/ready",
    summary="Readiness",
    errors=(
        DatabaseUnavailable,
        DatabaseReadOnly,
        SchemaNotCurrent,
        LedgerStopped,
        UpstreamUnavailable,
    ),
)
async def get_readiness(resources: ResourcesOf) -> StandardResponse[Readiness]:
    """Whether an order could be placed now: if not, the error names the first obstacle."""
    parts = await resources.readiness.parts()
    for part in parts.values():
        if part.obstacle is not None:
            raise part.obstacle
    checks = {name: part.state for name, part in parts.items()}
    return StandardResponse(data=Readiness(checks=checks))
