import functools
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from app.__main__ import documents
from app.core.config import PROJECT, Settings
from app.domain.errors import GoblinError, Unavailable
from app.domain.exports import ExportFormat
from app.domain.ledger import TransferMissing, TransferNotReversible, TransferReversed
from app.http.errors import STATUS_OF, status_of
from app.http.openapi import example_message
from app.http.reference import answerable, error_classes
from app.main import ROUTERS, create_app
from app.routers.candles import FORMATS
from fastapi.routing import APIRoute

ROUTES = [
    route
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.include_in_schema
]

pytestmark = pytest.mark.xdist_group("documents")  # they are made once a process


@functools.cache
def described() -> dict[str, Any]:
    return create_app(Settings(_env_file=None)).openapi()


@functools.cache
def made() -> dict[str, str]:
    return documents()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references(item)


def members(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from members(item)


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    whole = {**schema, "components": described()["components"]}
    return jsonschema_rs.validator_for(whole, validate_formats=True)


def test_every_document_made_from_the_code_is_the_one_that_is_committed() -> None:
    for name, text in made().items():
        file = PROJECT / name
        assert file.is_file(), f"{name} is missing: run python -m app docs"
        assert file.read_text(encoding="utf-8") == text, f"{name}: run python -m app docs"


def test_every_route_is_described_and_named_by_its_function() -> None:
    by_name = dict(operations())
    assert len(by_name) == len(ROUTES) > 30
    for route in ROUTES:
        method = min(route.methods or {"none"})
        operation = by_name[f"{method} {route.path_format}"]
        assert operation["operationId"] == route.endpoint.__name__
        assert operation["summary"]
        assert operation["description"] == inspect.getdoc(route.endpoint)
        assert operation["tags"][0] in {tag["name"] for tag in described()["tags"]}
    names = [operation["operationId"] for operation in by_name.values()]
    assert len(set(names)) == len(names)
    assert all(tag["description"] for tag in described()["tags"])


def test_every_schema_has_a_name_of_its_own_that_a_generated_client_can_bear() -> None:
    # Of two models with one name FastAPI makes app__schemas__..., which generators merge again.
    schemas = described()["components"]["schemas"]
    assert [name for name in schemas if not re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)*_?", name)] == []
    titles = [re.sub(r"[^A-Za-z0-9]", "", schema["title"]) for schema in schemas.values()]
    assert sorted(titles) == sorted(set(titles))


def test_every_example_fits_the_schema_that_it_stands_beside() -> None:
    count = 0
    for name, operation in operations():
        contents = [
            content
            for part in (operation.get("requestBody", {}), *operation["responses"].values())
            for content in part.get("content", {}).values()
        ]
        for content in contents:
            examples = [
                described()["components"]["examples"][shown["$ref"].rpartition("/")[2]]["value"]
                for shown in content.get("examples", {}).values()
            ] or [content["example"]]
            for example in examples:
                problems = list(validator(content["schema"]).iter_errors(example))
                assert not problems, (name, example, problems)
                count += 1
        for parameter in operation["parameters"]:
            for example in parameter.get("schema", {}).get("examples", ()):
                validator(parameter["schema"]).validate(example)
    assert count > 200


def test_every_answer_is_in_the_envelope_and_knows_no_null() -> None:
    seen: set[str] = set()
    for name, operation in operations():
        for status, response in operation["responses"].items():
            if name.startswith("GET /export/") and status == "200":
                assert list(response["content"]) == list(ExportFormat)
                continue
            [(kind, content), *others] = response["content"].items()
            if (name, status) == ("GET /market/candles", "200"):
                assert {other for other, _ in others} == {*FORMATS} - {kind}
                others = []
            assert not others
            if name.endswith("/stream") and status == "200":
                assert kind == "text/event-stream"
                continue
            assert kind == "application/json"
            model = content["schema"]["$ref"].rpartition("/")[2]
            if name != "POST /auth/token" or status != "200":
                members = described()["components"]["schemas"][model]
                assert "status" in members["required"], (name, status)
                expected = "success" if status < "300" else "error"
                assert members["properties"]["status"]["const"] == expected
            seen.add(model)
    waiting = list(seen)
    while waiting:
        model = described()["components"]["schemas"][waiting.pop()]
        assert '"null"' not in str(model).replace("'", '"'), model
        found = {reference.rpartition("/")[2] for reference in references(model)} - seen
        seen |= found
        waiting += found
    assert "OrderOut" in seen


def test_the_limits_of_a_parameter_stand_there_in_the_words_of_json_schema() -> None:
    # Where a validator stands before the limit, pydantic writes ge and le, which say nothing.
    own = {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "allow_inf_nan"}
    places = {name: operation["parameters"] for name, operation in operations()}
    places |= described()["components"]["schemas"]
    assert [name for name, place in places.items() if own & set(members(place))] == []


def test_the_frameworks_own_words_are_nowhere() -> None:
    assert "HTTPValidationError" not in made()["swagger.yaml"]
    assert "Body_" not in made()["swagger.yaml"]


OF_THE_OWNER: set[type[GoblinError]] = {TransferMissing, TransferNotReversible, TransferReversed}
"""Only `python -m app reverse` raises these."""


def test_every_error_that_goblin_can_raise_is_declared_by_a_route() -> None:
    undeclared = set(error_classes()) - set(answerable(described())) - set(STATUS_OF) - OF_THE_OWNER
    assert not undeclared, "declare it in errors=, or delete it"


def test_a_code_means_one_thing_and_every_code_is_explained() -> None:
    texts: dict[str, set[str]] = defaultdict(set)
    classes: dict[tuple[str, int], list[type[GoblinError]]] = defaultdict(list)
    for error in answerable(described()):
        texts[error.code].add(example_message(error))
        if "code" in vars(error):  # else it is a kind of its parent, with the same meaning
            classes[error.code, status_of(error)].append(error)
        assert inspect.getdoc(error), error
    assert all(len(said) == 1 for said in texts.values()), texts
    assert all(len(same) == 1 for same in classes.values()), classes

    written = set(re.findall(r"^\| `([a-z_0-9]+)` \|", made()["docs/errors.md"], re.MULTILINE))
    kinds = {kind.code for kind in STATUS_OF} - texts.keys() | {e.code for e in OF_THE_OWNER}
    kinds -= {Unavailable.code}  # raised as such: goblin stops
    for file in (PROJECT / "app").rglob("*.py"):
        if "replay" in file.parts:
            continue
        for code in re.findall(r"\bcode ?= ?\"([a-z_0-9]+)\"", file.read_text()):
            assert code in written | kinds, f"{file}: {code} is not explained"
