"""What /openapi.json says beyond what the framework finds out: errors, headers, examples."""

import inspect
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from app.domain.access import Scope
from app.domain.errors import GoblinError, Invalid
from app.domain.ids import ID_MAX
from app.domain.instruments import Category
from app.http.dependencies import SECURITY_SCHEMES
from app.http.errors import (
    CODES_OF_ANY_REQUEST,
    ErrorResponse,
    ValidationErrorResponse,
    goblin_error_body,
    plain_error_body,
    status_of,
)

Json = dict[str, Any]

EXAMPLE_REQUEST_ID: Final = "3f2a9c1be07d4a55"
ROUTE_EXAMPLE: Final = "x-example"
"""Where a route leaves members of its answer until the example is made."""

ROUTE_LINKS: Final = "x-links"
ROUTE_NEEDS_CALLER: Final = "x-needs-caller"

_REF: Final = "#/components/"

_PARAMETERS: Final[Mapping[str, Json]] = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "required": False,
        "description": "An id of the caller's choice for this request: 1 to 64 of A-Z a-z 0-9 "
        ". _ -. Anything else is replaced.",
        "schema": {"type": "string"},
    },
}
_HEADERS: Final[Mapping[str, Json]] = {
    "RequestId": {
        "description": "The id of this request, sent or made; an error repeats it in `meta`.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "example": EXAMPLE_REQUEST_ID,
    },
    "ProcessTime": {
        "description": "Seconds that the request took inside goblin.",
        "required": True,
        "schema": {"type": "number", "minimum": 0},
        "example": 0.004321,
    },
    "Replayed": {
        "description": "`true` where this is the first answer of the key, not a new one.",
        "schema": {"type": "string", "const": "true"},
    },
    "Challenge": {
        "description": "How to prove who you are.",
        "required": True,
        "schema": {"type": "string", "const": "Bearer"},
    },
    "RetryAfter": {
        "description": "Seconds to wait before asking again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "example": "1",
    },
}
_KEY_HEADER: Final = "Idempotency-Key"


class DescribedApp(FastAPI):
    """An application whose /openapi.json tells the whole contract."""

    _described: Json | None = None

    def build_middleware_stack(self) -> ASGIApp:
        """Ours around FastAPI's innermost two.

        What it has besides (tracebacks for browsers, tracing, a limit for bodies) has nothing
        to do here and would cost every request.
        """
        app: ASGIApp = AsyncExitStackMiddleware(self.router)
        app = ExceptionMiddleware(app, handlers=self.exception_handlers)
        for part in reversed(self.user_middleware):
            app = part.cls(app, *part.args, **part.kwargs)
        return app

    def openapi(self) -> Json:
        """The description, completed once for each set of routes."""
        schema = super().openapi()
        if schema is not self._described:
            _complete(schema)
            self._described = schema
        return schema


def declare(*errors: type[GoblinError]) -> dict[int | str, Json]:
    """`responses=` of a route: what it can answer besides success, by status, with examples."""
    by_status: dict[int, dict[str, Json]] = {}
    for error in errors:
        by_status.setdefault(status_of(error), {})[error.code] = _example_of(error)
    return {status: _declared(status, examples) for status, examples in sorted(by_status.items())}


def declare_code(code: str) -> dict[int | str, Json]:
    """The same for an error of the framework's."""
    status, meaning = CODES_OF_ANY_REQUEST[code]
    body = plain_error_body(code=code, message=meaning, request_id=EXAMPLE_REQUEST_ID)
    return {int(status): _declared(status, {code: json.loads(body)})}


def _declared(status: int, examples: Mapping[str, Json]) -> Json:
    is_validation = status == HTTPStatus.UNPROCESSABLE_ENTITY
    names = ", ".join(f"`{code}`" for code in examples)
    return {
        "model": ValidationErrorResponse if is_validation else ErrorResponse,
        "description": f"{HTTPStatus(status).phrase}: {names}",
        "content": {
            "application/json": {
                "examples": {
                    code: {"summary": value["message"], "value": value}
                    for code, value in examples.items()
                }
            }
        },
    }


_SAMPLES: Final[Mapping[str, object]] = {
    "message": "body.quantity: expected more than 0",
    "venue": "Binance",
    "symbol": "BTCUSDT",
    "category": Category.OPTION,
    "scope": Scope.TRADE,
    "first_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "balance": Decimal(1),
    "needed": Decimal(2),
    "added": Decimal(2),
    "retry_after_seconds": 30,
    "offered": (Category.SPOT,),
    "rule": "BTCUSDT: the quantity has to be a multiple of the lot step 0.000001",
    "nearest": Decimal("0.000012"),
    "problem": "from has to lie before to",
    "topic_name": "spot/BTCUSDT/moon",
    "expected": "one of ticker, trades, candles, top, book after the symbol",
    "whose": "a connection",
    "key": "monday-1",
}
"""Made-up data for the examples of errors that carry some, by the name of the argument."""


def example_message(error: type[GoblinError]) -> str:
    """The text that an error of this class gives its caller, about made-up data."""
    return _sample(error).message


def _sample(error: type[GoblinError]) -> GoblinError:
    arguments = inspect.signature(error).bind_partial()
    for name in arguments.signature.parameters:
        arguments.arguments[name] = _SAMPLES.get(name, 9)
    return error(*arguments.args, **arguments.kwargs)


_EXAMPLES: Final[dict[type[GoblinError], Json]] = {}
"""Made once for all routes: most errors are those of many."""


def _example_of(error: type[GoblinError]) -> Json:
    if error not in _EXAMPLES:
        example: Json = json.loads(goblin_error_body(_sample(error), EXAMPLE_REQUEST_ID))
        if error is Invalid:
            example["detail"] = [
                {"loc": ["body", "quantity"], "msg": "expected more than 0", "type": "value_error"}
            ]
        _EXAMPLES[error] = example
    return _EXAMPLES[error]


def _complete(schema: Json) -> None:
    components = schema["components"]
    components["parameters"] = {name: dict(value) for name, value in _PARAMETERS.items()}
    components["securitySchemes"] = {name: dict(value) for name, value in SECURITY_SCHEMES.items()}
    components["headers"] = {name: dict(value) for name, value in _HEADERS.items()}
    models = components["schemas"]
    for name in _answered(schema, models):
        _never_null(models[name])
    for model in models.values():
        _tidy(model.get("properties", {}))
    for operation in _operations(schema):
        _tidy(operation.get("parameters", []))
        _complete_operation(operation, models, components.setdefault("examples", {}))


def _tidy(node: object) -> None:
    """Exact integers, which the framework passes through floats, and no made-up titles."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    for key, value in node.items():
        if key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            node[key] = ID_MAX if value == float(ID_MAX) else _whole(value)
        elif key not in ("examples", "default"):
            _tidy(value)


def _whole(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def _operations(schema: Json) -> Iterator[Json]:
    for path in schema["paths"].values():
        yield from path.values()


def _complete_operation(operation: Json, models: Json, examples: Json) -> None:
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        parameter["schema"] = _without_null(parameter["schema"])
        if parameter["required"] and "examples" not in parameter:
            # /docs fills it in; what is optional is better left empty.
            parameter["example"] = example_value(parameter["schema"], models)
    if operation.pop(ROUTE_NEEDS_CALLER, False):
        operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
    is_change = any(parameter["name"] == _KEY_HEADER for parameter in parameters)
    parameters.append({"$ref": f"{_REF}parameters/RequestId"})
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["schema"] = _without_null(content["schema"])
        content["example"] = example_value(content["schema"], models)
    own_members = operation.pop(ROUTE_EXAMPLE, {})
    links = {
        name: {"operationId": name, "parameters": known}
        for name, known in operation.pop(ROUTE_LINKS, {}).items()
    }
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for status, response in operation["responses"].items():
        response["headers"] = _headers(status, is_change=is_change)
        content = response["content"].get("application/json")
        if content is None:  # a stream has written its example itself
            continue
        if "examples" in content:
            examples |= content["examples"]
            content["examples"] = {
                code: {"$ref": f"{_REF}examples/{code}"} for code in content["examples"]
            }
            continue
        made = example_value(content["schema"], models, only_required=True)
        if own_members:
            made = {"status": made["status"], **own_members, **made, **own_members}
        content["example"] = made
        if links:
            response["links"] = links


def _headers(status: str, *, is_change: bool) -> Json:
    names = {"X-Request-ID": "RequestId", "X-Process-Time": "ProcessTime"}
    if is_change:
        names["Idempotent-Replayed"] = "Replayed"
    if status == "401":
        names["WWW-Authenticate"] = "Challenge"
    if status in ("429", "503"):
        names["Retry-After"] = "RetryAfter"
    return {name: {"$ref": f"{_REF}headers/{component}"} for name, component in names.items()}


def _answered(schema: Json, models: Json) -> set[str]:
    """The models that any operation answers with, however deep."""
    found: set[str] = set()
    waiting = [name for o in _operations(schema) for name in _references(o["responses"])]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(models[name])
    return found


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _references(item)


def _never_null(model: Json) -> None:
    """Say of an answer's model that a member is absent, never null, and else always there."""
    members = model.get("properties", {})
    required = []
    for name, member in list(members.items()):
        if member.get("type") == "null":
            del members[name]
            continue
        members[name] = _without_null(member)
        if members[name] is member:
            required.append(name)
    if required:
        model["required"] = required


def _without_null(schema: Json) -> Json:
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == len(schema.get("anyOf", ())):
        return schema
    others = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**choices[0], **others} if len(choices) == 1 else {"anyOf": choices, **others}


def example_value(schema: Json, models: Json, *, only_required: bool = False) -> Any:
    """An example of a schema: its own, or one made of the examples of its parts."""
    made_of = partial(example_value, models=models, only_required=only_required)
    match schema:
        case {"examples": [first, *_]} | {"example": first} | {"const": first}:
            return first
        case {"$ref": reference}:
            return made_of(models[reference.rpartition("/")[2]])
        case {"anyOf": [first, *_]} | {"allOf": [first, *_]}:
            return made_of(first)
        case {"enum": [first, *_]} | {"default": first}:
            return first
        case {"type": "array", "items": items}:
            return [made_of(items)]
        case {"type": "object"}:
            shown = schema.get("required", ()) if only_required else schema.get("properties", ())
            return {name: made_of(schema["properties"][name]) for name in shown}
        case _:
            raise ValueError(f"give this schema an example: {json.dumps(schema)}")
