"""docs/settings.md and docs/errors.md, made from the code so that they cannot disagree with it."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.core.config import PROJECT, Settings
from app.domain.errors import GoblinError
from app.http.errors import CODES_OF_ANY_REQUEST, STATUS_OF, status_of
from app.http.openapi import Json, example_message

_MADE: Final = "<!-- Made by `python -m app docs`; do not edit. -->"


def settings_markdown() -> str:
    """Every key that the environment or .env may set: default, meaning, accepted values."""
    schema = Settings.model_json_schema()["properties"]
    lines = [
        "# Settings",
        "",
        _MADE,
        "",
        "Every key is optional. The environment wins over `.env` in the project's folder; an",
        "empty value is no value, and a key that goblin does not know is ignored. A wrong value",
        "stops the start and names the key and what was expected.",
        "",
        "| key | default | what | accepted |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        accepted = _accepted(schema[name])
        row = (f"`{name.upper()}`", _default(field), field.description or "", accepted)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        value = f"./{value.relative_to(PROJECT)}"
    return f"`{value}`"


def _accepted(schema: Json) -> str:
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice != {"type": "null"}]
    assert len(choices) == 1, "a setting has one kind of value"
    [kind] = choices
    match kind:
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"description": text} if kind is not schema:
            return str(text)
        case {"type": "integer" | "number" as number}:
            what = "whole number" if number == "integer" else "number"
            return f"{what} {_range(kind)}"
        case {"format": "path"}:
            return "path"
        case {"format": text}:
            return str(text)
        case _:
            return "`true`, `false`" if kind["type"] == "boolean" else "text"


def _range(schema: Json) -> str:
    lowest = (
        f"from {schema['minimum']}"
        if "minimum" in schema
        else "above " + str(schema["exclusiveMinimum"])
    )
    return f"{lowest} to {schema['maximum']}"


def errors_markdown(schema: Json) -> str:
    """Every code of the envelope: status, text, meaning, and the routes that declare it."""
    lines = [
        "# Errors",
        "",
        _MADE,
        "",
        'An error is `{"status":"error","message":M,"detail":M,"meta":{"code":C,"request_id":R}}`.',
        "Programs read `meta.code`, which is stable; the text is for people. With 422 `detail` is",
        "a list of what is wrong. With 429 and 503 `Retry-After` says when to ask again.",
        "",
        "| code | status | text | meaning | routes |",
        "|---|---|---|---|---|",
    ]
    routes = _routes_by_code(schema)
    groups = _groups(schema)
    for error in sorted(answerable(schema), key=lambda error: (error.code, status_of(error))):
        where = _shown(routes[error.code, int(status_of(error))], groups)
        text = example_message(error)
        lines.append(_row(error.code, int(status_of(error)), text, _meaning(error), where))
    for code, (status, meaning) in CODES_OF_ANY_REQUEST.items():
        known = routes.get((code, int(status)))
        where = "any request" if known is None else _shown(known, groups)
        lines.append(_row(code, int(status), "", meaning, where))
    lines.append(
        "| `http_error` | 4xx |  | Any other refusal of the framework's own. | any request |"
    )
    return "\n".join(lines) + "\n"


def answerable(schema: Json) -> Iterator[type[GoblinError]]:
    """The error classes that some route declares."""
    declared = _routes_by_code(schema)
    for error in error_classes():
        if (error.code, int(status_of(error))) in declared:
            yield error


def error_classes() -> Iterator[type[GoblinError]]:
    """Every class of error that stands for an answer: the leaves, and kinds raised as such."""
    waiting: list[type[GoblinError]] = list(STATUS_OF)
    while waiting:
        error = waiting.pop(0)
        waiting += error.__subclasses__()
        yield error


def _routes_by_code(schema: Json) -> dict[tuple[str, int], list[str]]:
    found: dict[tuple[str, int], list[str]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                content: dict[str, Any] = response["content"].get("application/json", {})
                for code in content.get("examples", ()):
                    route = f"{method.upper()} {path}"
                    found.setdefault((code, int(status)), []).append(route)
    return found


def _groups(schema: Json) -> dict[str, set[str]]:
    """Routes that have something in common, so that the table can name them together."""
    groups: dict[str, set[str]] = {
        "every route with a token": set(), "every change": set(), "every route with a body": set(),
    }  # fmt: skip
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parameters = {parameter.get("name") for parameter in operation["parameters"]}
            for name, belongs in (
                ("every route with a token", "security" in operation),
                ("every change", "Idempotency-Key" in parameters),
                ("every route with a body", "requestBody" in operation),
            ):
                if belongs:
                    groups[name].add(f"{method.upper()} {path}")
    return groups


def _shown(routes: list[str], groups: dict[str, set[str]]) -> str:
    names = []
    for name, members in groups.items():
        if members <= set(routes):
            names.append(name)
            routes = [route for route in routes if route not in members]
    return ", ".join([*names, *(f"`{route}`" for route in routes)])


def _meaning(error: type[GoblinError]) -> str:
    return " ".join((inspect.getdoc(error) or "").split())


def _row(code: str, status: int, text: str, meaning: str, routes: str) -> str:
    return f"| `{code}` | {status} | {text} | {meaning} | {routes} |"
