"""Events on the wire."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from app.domain.events import EventType
from app.domain.ids import ID_MAX
from app.schemas.common import Instant, Request, storable, whole_number

EVENT_EXAMPLE: Final[dict[str, Any]] = {
    "number": 7,
    "type": "order_opened",
    "epoch": 1,
    "data": {
        "order_id": 12,
        "client_order_id": None,
        "symbol": "BTCUSDT",
        "quantity": "0.05000000000000000000",
        "price": "95000.10000000000000000000",
        "cost": "4750.00500000000000000000",
    },
    "request_id": "5f2c1b7a90d34e68",
    "event_at": "2026-01-02T03:04:05.678901Z",
}
SSE_EXAMPLE: Final = """retry: 1000

id: 7
event: deposited
data: {"number":7,"type":"deposited","epoch":1,"data":{"amount":"50.00000000000000000000"},\
"request_id":"5f2c1b7a90d34e68","event_at":"2026-01-02T03:04:05.678901Z"}

: keep-alive

"""

EventNumber = Annotated[int, Field(ge=0, le=ID_MAX), BeforeValidator(whole_number)]
"""The number of an event, or 0 for before the first."""


class EventOut(BaseModel):
    """One event; `number` counts without a gap from 1 for each user."""

    number: int
    type: EventType
    epoch: int = Field(description="Which life of the account it belongs to.")
    data: dict[str, Any] = Field(description="What happened; amounts and prices are strings.")
    request_id: str = Field(description="The X-Request-ID of the request that caused it.")
    event_at: Instant

    model_config = {"json_schema_extra": {"examples": [EVENT_EXAMPLE]}}


class EventList(BaseModel):
    """The next events after a number, in order; there are more if the last is not last_number."""

    events: list[EventOut]
    last_number: int = Field(
        description="The number of the caller's last event, 0 before any.", examples=[7]
    )


class SocketOpening(Request):
    """The first and only message that a client sends to /ws/events."""

    token: Annotated[str, AfterValidator(storable)]
    after: Annotated[EventNumber, Field(strict=True)] = 0
