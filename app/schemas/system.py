"""The state of the service on the wire."""

from typing import Literal

from pydantic import BaseModel, Field


class PartState(BaseModel):
    """One thing that goblin consists of."""

    state: str = Field(examples=["connected"])
    age_seconds: float = Field(
        ge=0, description="How long ago goblin found this out.", examples=[0.002]
    )


PARTS_EXAMPLE = {
    "database": {"state": "connected", "age_seconds": 0.002},
    "migrations": {"state": "current", "age_seconds": 0.002},
    "ledger": {"state": "agrees", "age_seconds": 0.002},
    "price_source": {"state": "closed", "age_seconds": 3600.0},
    "job reconciler": {"state": "running", "age_seconds": 3600.0},
}


class Health(BaseModel):
    """The API and its database work; anything else is a 503."""

    status: Literal["healthy"] = "healthy"
    database: Literal["connected"] = "connected"
    message: str = Field(examples=["API and database are operational"])
    parts: dict[str, PartState] = Field(
        description="Each part of goblin, healthy or not. `price_source` is the circuit to the "
        "venue: closed, open or probing. A job is running, or restarting after a failure.",
        examples=[PARTS_EXAMPLE],
    )


class Readiness(BaseModel):
    """An order could be placed now; anything else is a 503 that says why."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str] = Field(
        description="What an order needs, and how it is.",
        examples=[
            {
                "database": "connected",
                "migrations": "current",
                "ledger": "agrees",
                "price_source": "closed",
            }
        ],
    )


class Liveness(BaseModel):
    """The process serves."""

    status: Literal["alive"] = "alive"
