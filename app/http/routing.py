"""The router that every goblin router is made of."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from app.db.errors import DatabaseBusy, DatabaseUnavailable
from app.domain.errors import GoblinError, Invalid, Unauthenticated
from app.http.errors import declare
from app.http.exact_json import ExactRequest
from app.services.booking import LedgerDisagrees
from app.services.once import KeyReused, RequestInProgress


class ExactRoute(APIRoute):
    """A route whose JSON body keeps every digit of its numbers."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """FastAPI's own handler, given a request that parses exactly."""
        handler = super().get_route_handler()

        async def exact_handler(request: Request) -> Response:
            response: Response = await handler(ExactRequest(request.scope, request.receive))
            return response

        return exact_handler


class Router(APIRouter):
    """Answers with and without a trailing slash, drops nulls, declares its errors."""

    def __init__(self, *, prefix: str = "", tag: str, needs_user: bool = True) -> None:
        super().__init__(prefix=prefix, tags=[tag], route_class=ExactRoute)
        self._common = (Unauthenticated,) if needs_user else ()

    def endpoint(
        self,
        method: str,
        path: str,
        *,
        summary: str,
        errors: tuple[type[GoblinError], ...] = (),
        success: Mapping[int, str] | None = None,
        has_input: bool = True,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function for `method` and `path`, whatever the trailing slash.

        `errors` are what the route can raise besides a missing token, an unavailable
        database and, where it `has_input`, input that does not validate; `success` names
        other successful statuses than the first.
        """
        common: tuple[type[GoblinError], ...] = (*self._common, DatabaseUnavailable)
        if has_input:
            common = (*common, Invalid)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            for spelling in (path, path.removesuffix("/") if path.endswith("/") else path + "/"):
                if self.prefix + spelling == "":
                    continue
                self.add_api_route(
                    spelling,
                    function,
                    methods=[method],
                    summary=summary,
                    responses={
                        **{code: {"description": text} for code, text in (success or {}).items()},
                        **declare(*errors, *common),
                    },
                    response_model_exclude_none=True,
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
