"""Instants and numbers in queries, as strange as they come: the answer says what is right."""

import json
import re
from collections.abc import Iterator

import pytest
from tests.conftest import Installation, Person, make_administrator
from tests.contract.hostile import Operation, operations
from tests.integration.api.test_conventions import assert_is_error

NAMES = ("from", "to", "as_of")


def asked(running: Installation) -> Iterator[tuple[Operation, str]]:
    for operation in operations(running.app.openapi()):
        for parameter in operation.parameters("query"):
            if parameter["name"] in NAMES:
                yield operation, parameter["name"]


@pytest.mark.parametrize(
    ("spelled", "advice"),
    [
        ("0001-01-01T00:00:00%2B14:00", "from 1970 to 2099|from the year 1 to 9999"),
        ("9999-12-31T23:59:59-23:59", "from 1970 to 2099|from the year 1 to 9999"),
        ("1767225600", "expected (an instant as )?ISO 8601"),
        ("1767225600000", "expected (an instant as )?ISO 8601"),
        ("yesterday", "expected (an instant as )?ISO 8601"),
        ("2026-01-31T12:00:00+00:00", "write %2B before the zone, or Z"),
        ("2026-01-31 12:00:00.5+0530", "write %2B before the zone, or Z"),
    ],
)
async def test_an_instant_that_cannot_be_read_is_422_which_names_it_and_says_what_can(
    installation: Installation, ada: Person, spelled: str, advice: str
) -> None:
    queries = list(asked(installation))
    assert len(queries) >= 9, "they were found"
    for operation, name in queries:
        refused = await ada.client.get(f"{operation.url()}&{name}={spelled}".replace("?&", "?"))
        assert_is_error(refused, 422, "validation_error")
        (problem,) = refused.json()["detail"]
        assert problem["loc"] == ["query", name]
        assert re.search(advice, problem["msg"]), (operation.name, problem)


async def test_a_whole_number_in_a_query_has_plain_digits_on_every_route(
    installation: Installation, ada: Person
) -> None:
    await make_administrator(installation, ada)
    count = 0
    for operation in operations(installation.app.openapi()):
        for parameter in operation.parameters("query"):
            if '"integer"' not in json.dumps(parameter["schema"]):
                continue
            count += 1
            for text in ("1_0", "%205", "%2B5", "5.0", "%D9%A5"):
                url = f"{operation.url()}&{parameter['name']}={text}".replace("?&", "?")
                refused = await ada.client.get(url)
                assert_is_error(refused, 422, "validation_error")
                assert refused.json()["detail"][0]["msg"] == "expected a whole number in digits 0-9"
    assert count >= 20, "they were found"
