"""The router that every goblin router is made of."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.params import Form
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor

from app.db.errors import DatabaseBusy, DatabaseUnavailable, ValueNotStorable
from app.domain.answers import KeyReused, RequestInProgress
from app.domain.circuits import PriceUnavailable
from app.domain.errors import GoblinError, Invalid, UpstreamUnavailable
from app.http.body_types import FORM_TYPES, JSON_TYPES, refuse_other_types
from app.http.changes import get_change, get_money_change
from app.http.dependencies import AUTHENTICATING, UNAUTHENTICATED
from app.http.exact_json import ExactRequest
from app.http.openapi import (
    ROUTE_EXAMPLE,
    ROUTE_LINKS,
    ROUTE_NEEDS_CALLER,
    declare,
    declare_code,
)
from app.services.booking import LedgerDisagrees


class TextConvertor(PathConvertor):
    """The rest of a path, whatever it is; `{name:path}` stops at a line break."""

    regex = "(?s:.*)"


register_url_convertor("text", TextConvertor())


class ExactRoute(APIRoute):
    """A route whose JSON body keeps every digit of its numbers."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """FastAPI's own handler, given a request that parses exactly."""
        handler = super().get_route_handler()
        kinds: tuple[str, ...] = ()
        if self.body_field is not None:
            kinds = FORM_TYPES if isinstance(self.body_field.field_info, Form) else JSON_TYPES

        async def exact_handler(request: Request) -> Response:
            if kinds:
                refuse_other_types(request, kinds)
            response: Response = await handler(ExactRequest(request.scope, request.receive))
            return response

        return exact_handler


class Router(APIRouter):
    """Answers with and without a trailing slash, drops nulls, declares its errors."""

    def __init__(self, *, prefix: str = "", tag: str) -> None:
        super().__init__(prefix=prefix, tags=[tag], route_class=ExactRoute)
        self._tag = tag
        self._about = ""

    @property
    def described_tag(self) -> dict[str, str]:
        """The tag as /openapi.json lists it; the router's module says what it is about."""
        return {"name": self._tag, "description": self._about}

    def endpoint(
        self,
        method: str,
        path: str,
        *,
        summary: str,
        errors: tuple[type[GoblinError], ...] = (),
        success: Mapping[int, str] | None = None,
        example: Mapping[str, object] | None = None,
        links: Mapping[str, Mapping[str, str]] | None = None,
        openapi_extra: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function for `method` and `path`, whatever the trailing slash.

        `errors` are what the route can raise besides what its parameters bring with them: a
        missing token, an unavailable database, input that does not validate. `success` names
        other successful statuses than the first, `example` the members of the answer that
        its schema has no example for, `links` the operations that its answer leads to, each
        with what the answer tells it.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._about = inspect.getdoc(inspect.getmodule(function)) or ""
            dependant = get_dependant(path=self.prefix + path, call=function)
            responses: dict[int | str, dict[str, Any]] = {
                **{
                    status: {"description": text, "model": options["response_model"]}
                    for status, text in (success or {}).items()
                },
                **_failures(dependant, errors),
            }
            for spelling in (path, path.removesuffix("/") if path.endswith("/") else path + "/"):
                if self.prefix + spelling == "":
                    continue
                self.add_api_route(
                    spelling,
                    function,
                    methods=[method],
                    summary=summary,
                    operation_id=function.__name__,
                    responses=responses if spelling == path else None,  # they describe it
                    response_model_exclude_none=True,
                    openapi_extra={
                        **(openapi_extra or {}),
                        ROUTE_EXAMPLE: example or {},
                        ROUTE_LINKS: links or {},
                        ROUTE_NEEDS_CALLER: _needs_caller(dependant),
                    },
                    include_in_schema=spelling == path,
                    **options,
                )
            return function

        return register

    def change(
        self,
        method: str,
        path: str,
        *,
        summary: str,
        errors: tuple[type[GoblinError], ...] = (),
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a route that changes something of the caller's, once for each key."""
        keyed: tuple[type[GoblinError], ...] = (DatabaseBusy, RequestInProgress, KeyReused)
        return self.endpoint(
            method, path, summary=summary, errors=(*errors, *keyed, LedgerDisagrees), **options
        )


def _failures(
    dependant: Dependant, errors: tuple[type[GoblinError], ...]
) -> dict[int | str, dict[str, Any]]:
    """What a function can answer besides success, from what it can raise and what it asks for."""
    asked = list(_flat(dependant))
    needs_user = _needs_caller(dependant)
    has_body = any(part.body_params for part in asked)
    has_form = any(isinstance(f.field_info, Form) for part in asked for f in part.body_params)
    has_input = has_body or any(
        part.path_params or part.query_params or part.header_params for part in asked
    )
    found = [*errors]
    if UpstreamUnavailable in found:  # a venue that fails too often is no longer asked
        found += [PriceUnavailable]
    if needs_user:
        found += [*UNAUTHENTICATED, DatabaseUnavailable]
    if has_input:
        found += [Invalid]
        if DatabaseUnavailable in found:
            found += [ValueNotStorable]
    return {
        **declare(*found),
        **(declare_code("request_too_large") if has_body else {}),
        **(declare_code("unsupported_media_type") if has_body else {}),
        **(declare_code("bad_request") if has_form else {}),
    }


def _needs_caller(dependant: Dependant) -> bool:
    asking = AUTHENTICATING | {get_change, get_money_change}
    return any(part.call in asking for part in _flat(dependant))


def _flat(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for part in dependant.dependencies:
        yield from _flat(part)
