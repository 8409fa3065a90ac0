"""The short way from a request to its function.

FastAPI looks through all routes for every request and works out anew what the function needs,
which takes as long as everything that an order has to do. Here that is worked out once for each
route. Whatever is out of the ordinary (a body of another type or that does not validate, a
parameter that is wrong) goes FastAPI's way from the beginning, so that there is one way to
complain; and so does a route that asks for more than these lines know.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi._compat import ModelField
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.params import Form
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.body_types import JSON_TYPES, refuse_other_types
from app.http.changes import claim_money_change, error_for_the_caller, get_money_change
from app.http.dependencies import SAFE_METHODS
from app.http.errors import EXPECTED_ERRORS, answer_error
from app.http.exact_json import ExactRequest

_NOT_SENT: Final = object()

HERE_INSTEAD: Final[Mapping[object, Callable[[Request], Awaitable[object]]]] = {
    get_money_change: claim_money_change
}
"""What is asked for otherwise here: input is read before the function is called, so who asks may
be found out together with what they ask for. What cannot be read goes FastAPI's way, where
they are found out first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortWay:
    """What one route needs; built by `short_way`."""

    route: APIRoute
    asked: tuple[tuple[str, Callable[[Request], Awaitable[object]]], ...]
    """The names of parameters, and where their values come from."""
    request_name: str | None
    body: ModelField | None

    async def answer(self, request: ExactRequest) -> Response | None:
        """The answer, or None where FastAPI has something to complain about.

        Raises what the function raises and what the parameters come from, and ClientDisconnect.
        """
        sent: object = _NOT_SENT
        if self.body is not None:
            refuse_other_types(request, JSON_TYPES)
            try:
                if await request.body():
                    sent = await request.json()
            except JSONDecodeError:
                return None
        elif request.method not in SAFE_METHODS:
            await request.body()  # a request that is refused for its end must change nothing
        values: dict[str, Any] = {}
        for name, ask in self.asked:
            values[name] = await ask(request)
        if not (self._read_parameters(request, values) and self._read_body(sent, values)):
            return None
        if self.request_name is not None:
            values[self.request_name] = request
        made = await self.route.endpoint(**values)
        return made if isinstance(made, Response) else self._spelled(made)

    def _read_parameters(self, request: Request, values: dict[str, Any]) -> bool:
        wanted = self.route.dependant
        fields: list[ModelField]
        received: Mapping[str, Any]
        for fields, received in (
            (wanted.path_params, request.path_params),
            (wanted.query_params, request.query_params if wanted.query_params else {}),
            (wanted.header_params, request.headers),
        ):
            if fields:
                read, problems = request_params_to_args(fields, received)
                if problems:
                    return False
                values.update(read)
        return True

    def _read_body(self, sent: object, values: dict[str, Any]) -> bool:
        field = self.body
        if field is None:
            return True
        if sent is _NOT_SENT:
            values[field.name] = field.default
            return not field.field_info.is_required()
        values[field.name], problems = field.validate(sent)
        return not problems

    def _spelled(self, made: object) -> Response:
        field = self.route.response_field
        assert field is not None, "a short way answers with a model"
        valid, problems = field.validate(made)
        assert not problems, "the function returns what it says it returns"
        return Response(
            field.serialize_json(valid, exclude_none=True),
            status_code=self.route.status_code or 200,
            media_type="application/json",
        )


def short_way(route: APIRoute) -> ShortWay | None:
    """The short way to a route's function; None where FastAPI has to do it.

    That is so for answers that are no JSON (they may fail after they have begun), for forms,
    and for what is asked for by anything else than a function of the request.
    """
    wanted = route.dependant
    bodies = wanted.body_params
    asked = []
    for part in wanted.dependencies:
        if part.name is None or part.call is None or not _is_of_the_request_alone(part):
            return None
        asked.append((part.name, HERE_INSTEAD.get(part.call, part.call)))
    is_plain = (
        isinstance(route.response_class, DefaultPlaceholder)
        and route.response_field is not None
        and len(bodies) <= 1
        and not any(isinstance(field.field_info, Form) for field in bodies)
        and not _asks_for_something_rare(wanted)
    )
    if not is_plain:
        return None
    return ShortWay(
        route=route,
        asked=tuple(asked),
        request_name=wanted.request_param_name,
        body=bodies[0] if bodies else None,
    )


def _is_of_the_request_alone(part: Dependant) -> bool:
    """Its own header parameters are there for /openapi.json; see `get_change`."""
    others = (part.dependencies, part.path_params, part.query_params, part.body_params)
    return part.request_param_name == "request" and not (
        any(others) or _asks_for_something_rare(part)
    )


def _asks_for_something_rare(part: Dependant) -> bool:
    names = (
        part.websocket_param_name,
        part.http_connection_param_name,
        part.response_param_name,
        part.background_tasks_param_name,
        part.security_scopes_param_name,
    )
    return bool(part.cookie_params) or any(name is not None for name in names)


class ShortWays:
    """Takes the short way where there is one: an application around FastAPI's routing."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._routes: dict[tuple[str, str], list[tuple[APIRoute, ShortWay | None]]] = {}
        """By method and the first part of the path, in the order in which they are tried."""
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute):
                    place = (route, short_way(route))
                    for method in route.methods or ():
                        self._routes.setdefault((method, _first(route.path)), []).append(place)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        way = None if scope["type"] != "http" or scope.get("root_path") else self._find(scope)
        if way is None:
            await self._app(scope, receive, send)
            return
        request = ExactRequest(scope, receive)
        try:
            response = await way.answer(request)
        except EXPECTED_ERRORS as error:
            response = await answer_error(request, await error_for_the_caller(request, error))
        except ClientDisconnect:  # in the middle of the body: there is nobody to answer
            return
        if response is not None:
            await response(scope, receive, send)
            return
        await self._app(scope, request.received_again(), send)

    def _find(self, scope: Scope) -> ShortWay | None:
        path: str = scope["path"]
        for route, way in self._routes.get((scope["method"], _first(path)), ()):
            found = route.path_regex.match(path)
            if found is not None:
                if way is not None:
                    scope["route"] = route
                    scope["path_params"] = {
                        name: route.param_convertors[name].convert(text)
                        for name, text in found.groupdict().items()
                    }
                return way
        return None


def _first(path: str) -> str:
    return path[1:].partition("/")[0]
