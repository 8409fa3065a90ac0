"""What schemathesis cannot know about goblin; loaded by schemathesis.toml."""

import itertools
from collections.abc import Iterator
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

# Rules that JSON Schema has no words for, by place and type of the complaint.
BEYOND_THE_SCHEMA = {
    ("body.password", "value_error"): "bytes of UTF-8",
    ("body.email", "value_error"): "a domain that can receive mail",
    ("body.data", "not_storable"): "how deep JSON may go, and no NUL anywhere in it",
    ("body.symbol", "one_symbol"): "the body and the query name the same symbol",
    ("body.new_password", "value_error"): "bytes of UTF-8",
    ("body.expires_at", "value_error"): "in the future",
    ("query.as_of", "value_error"): "not in the future",
    ("query.from", "value_error"): "an instant from 1970 to 2099",
    ("query.to", "value_error"): "an instant from 1970 to 2099",
    ("query.cursor", "value_error"): "an instant from 1970 to 2099",
}
_COMPLAINTS_ABOUT_FORM = ("validation_error", "value_not_storable", "bad_request")

_used: set[str] = set()
_numbers = itertools.count(1)


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Give every request a key of its own, and let no poll wait for an event.

    schemathesis sends one key with many bodies; all but the first would be refused for the
    key alone, and their values would never be looked at.
    """
    if case.query and case.query.get("venue") in ("binance", "aster"):
        case.query["venue"] = "bybit"  # the only venue that the replay exchange speaks for
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.path in ("/market/candles", "/market/indicators") and case.query is not None:
        case.query["limit"] = min(int(case.query.get("limit") or 10), 10)  # each is fetched
    if case.query and "wait_seconds" in case.query:
        case.query["wait_seconds"] = 0
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = _fresh(case.headers["Idempotency-Key"])
    if case.operation.path.endswith("/disable") and _asks(case.path_parameters["user_id"]):
        case.path_parameters["user_id"] = 3
    if isinstance(case.body, dict):
        client_order_id = case.body.get("client_order_id")
        if isinstance(client_order_id, str):
            case.body["client_order_id"] = _fresh(client_order_id)


def _asks(user_id: object) -> bool:
    """Whether everything else is asked as this user, who must therefore not be disabled."""
    return str(user_id) in {"1", "2"}


def _fresh(key: str) -> str:
    fresh = f"fresh-{next(_numbers)}" if key in _used else key
    _used.add(fresh)
    return fresh


@schemathesis.check
def what_the_schema_allows_is_refused_by_a_rule_only(
    _ctx: CheckContext, response: Response, case: Case[Any]
) -> None:
    """An answer of 400 or 422 to a request that fits the schema names a rule of the sandbox."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code not in (400, 422):
        return
    error = response.json()
    if error["meta"]["code"] not in _COMPLAINTS_ABOUT_FORM:
        return
    unexplained = [
        problem
        for problem in error["detail"]
        if (".".join(map(str, problem["loc"])), problem["type"]) not in BEYOND_THE_SCHEMA
    ]
    assert not unexplained, f"the schema allows what the route does not understand: {unexplained}"


@schemathesis.check
def nothing_is_null_and_nothing_is_undeclared(
    _ctx: CheckContext, response: Response, case: Case[Any]
) -> None:
    """An answer has the members that its schema names, and no others."""
    schema = case.operation.schema.raw_schema
    declared = case.operation.definition.raw["responses"].get(str(response.status_code))
    if declared is None:  # status_code_conformance has its say about that
        return
    if "application/json" not in declared["content"]:  # a file
        return
    models = schema["components"]["schemas"]
    strange = list(
        _strange(response.json(), declared["content"]["application/json"]["schema"], models)
    )
    assert not strange, strange


def _strange(value: object, schema: dict[str, Any], models: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        schema = models[schema["$ref"].rpartition("/")[2]]
    if value is None:
        yield "null"
    elif isinstance(value, list):
        for item in value:
            yield from _strange(item, schema.get("items", {}), models)
    elif isinstance(value, dict) and not schema.get("additionalProperties"):
        members = schema["properties"]
        for name, member in value.items():
            if name in members:
                yield from _strange(member, members[name], models)
            else:
                yield name
