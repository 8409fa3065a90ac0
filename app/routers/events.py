"""What happened to the caller, numbered without a gap: asked for, or as it happens."""

import asyncio
from contextlib import nullcontext
from functools import partial
from typing import Annotated, Final

from fastapi import Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from pydantic import BeforeValidator

from app.core.security import NotAuthenticated
from app.domain.access import Scope
from app.domain.errors import GoblinError
from app.domain.events import NumberedEvent
from app.http.dependencies import CurrentCaller, CurrentUser, ResourcesOf, authenticate, sent_secret
from app.http.event_stream import (
    CLOSE_BAD_MESSAGE,
    EventStream,
    Following,
    close_for,
    close_socket,
    send_events,
)
from app.http.exact_json import RawJson, exact_json, parse_exact_json
from app.http.routing import Router
from app.resources import Resources
from app.schemas.common import Limit, StandardResponse, format_instant, plain_number
from app.schemas.events import SSE_EXAMPLE, EventList, EventNumber, SocketOpening
from app.services.event_feed import EventReader, StreamsExhausted, TooManyStreams
from app.services.event_reader import read_page

WAIT_SECONDS_MAX: Final = 30
OPENING_EXPECTED: Final = 'the first message is JSON: {"token": "...", "after": 0}'

SSE_SCHEMA: Final = {"schema": {"type": "string"}, "example": SSE_EXAMPLE}

router = Router(tag="events")

After = Annotated[
    EventNumber, Query(description="The number of the last event that you have.", examples=[6])
]


@router.endpoint(
    "GET",
    "/events",
    summary="Read",
    errors=(TooManyStreams, StreamsExhausted),
    response_model=StandardResponse[EventList],
)
async def list_events(
    request: Request,
    user: CurrentUser,
    caller: CurrentCaller,
    resources: ResourcesOf,
    after: After = 0,
    limit: Limit = 100,
    wait_seconds: Annotated[
        float,
        Query(
            ge=0,
            le=WAIT_SECONDS_MAX,
            allow_inf_nan=False,
            description="If there is nothing yet, answer as soon as there is, at the latest then.",
            examples=[0],
        ),
        BeforeValidator(plain_number),
    ] = 0,
) -> Response:
    """The next events after a number, oldest first.

    Ask again with the last number you got, and you miss nothing and see nothing twice.
    GET /events/stream and the WebSocket /ws/events send them as they happen; the WebSocket
    wants `{"token": "...", "after": 6}` as its first message, with a token or an API key.
    """
    with (
        resources.events.reader(user.id, after=after, credential=caller.credential)
        if wait_seconds
        else nullcontext(EventReader(user.id, after=after))  # nobody waits, and no place is taken
    ) as reader:
        page = await read_page(
            resources.db,
            reader,
            limit=limit,
            wait_seconds=wait_seconds,
            has_left=request.is_disconnected,
            recheck=partial(authenticate, resources, sent_secret(request)),
        )
    shown = {
        "status": "success",
        "data": {
            "events": [_shown(event) for event in page.events],
            "last_number": page.last_number,
        },
    }
    return Response(exact_json(shown), media_type="application/json")


@router.endpoint(
    "GET",
    "/events/stream",
    summary="Stream",
    errors=(TooManyStreams, StreamsExhausted),
    response_class=Response,  # EventStream would make the errors text/event-stream as well
    openapi_extra={"responses": {"200": {"content": {EventStream.media_type: SSE_SCHEMA}}}},
)
async def stream_events(
    request: Request,
    user: CurrentUser,  # noqa: ARG001 - asks for the scope to read
    caller: CurrentCaller,
    resources: ResourcesOf,
    after: After = 0,
    last_event_id: Annotated[
        EventNumber | None,
        Header(
            alias="Last-Event-ID", description="The same as `after`, and stronger.", examples=[6]
        ),
    ] = None,
) -> EventStream:
    """Server-Sent Events without an end: `id` is the number, `data` the event as JSON.

    Use fetch and not EventSource, which cannot send the Authorization header. A comment
    line comes at least every 15 seconds. The stream ends when the server stops, when the
    token expires or is revoked, or when nothing is read for 10 seconds; go on with
    `Last-Event-ID`.
    """
    following = Following(
        resources=resources,
        caller=caller,
        after=after if last_event_id is None else last_event_id,
        secret=sent_secret(request),
    )
    return EventStream(following, _spelled)


@router.websocket("/ws/events")
async def stream_over_websocket(websocket: WebSocket) -> None:
    """Each event as one JSON text message, after one message that says who asks."""
    resources: Resources = websocket.app.state.resources
    opening = await _opening(websocket, seconds_max=resources.events.limits.opening_seconds)
    if opening is None:
        return
    try:
        caller = await authenticate(resources, opening.token)
        caller.require(Scope.READ)
        following = Following(
            resources=resources, caller=caller, after=opening.after, secret=opening.token
        )
        await send_events(websocket, following, _spelled)
    except GoblinError as error:
        await close_for(websocket, error)


async def _opening(websocket: WebSocket, *, seconds_max: float) -> SocketOpening | None:
    """The first message, or None when the connection was closed instead."""
    try:
        await websocket.accept()
        async with asyncio.timeout(seconds_max):
            text = await websocket.receive_text()
        return SocketOpening.model_validate(parse_exact_json(text.encode()))
    except WebSocketDisconnect:
        pass
    except TimeoutError:
        await close_for(websocket, NotAuthenticated())
    except (KeyError, ValueError):  # a binary message, or another text
        await close_socket(websocket, CLOSE_BAD_MESSAGE, OPENING_EXPECTED)
    return None


def _shown(event: NumberedEvent) -> dict[str, object]:
    assert event.event_at is not None, "it was read from the database"
    return {
        "number": event.number,
        "type": event.type,
        "epoch": event.epoch,
        "data": RawJson(event.data_json),
        "request_id": event.request_id,
        "event_at": format_instant(event.event_at),
    }


def _spelled(event: NumberedEvent) -> str:
    return exact_json(_shown(event))
