"""The state of the service on the wire."""

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Everything works; anything else is a 503."""

    status: Literal["healthy"] = "healthy"
    database: Literal["connected"] = "connected"
    message: str = Field(examples=["API and database are operational"])


class Readiness(BaseModel):
    """An order could be placed now; anything else is a 503 that says why."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str] = Field(
        description="What an order needs, and how it is.",
        examples=[{"database": "connected", "ledger": "agrees"}],
    )


class Liveness(BaseModel):
    """The process serves."""

    status: Literal["alive"] = "alive"
