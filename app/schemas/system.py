"""The state of the service on the wire."""

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """Everything works; anything else is a 503."""

    status: Literal["healthy"] = "healthy"
    database: Literal["connected"] = "connected"
    message: str


class Liveness(BaseModel):
    """The process serves."""

    status: Literal["alive"] = "alive"
