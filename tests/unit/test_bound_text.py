"""What goes to COPY in place of `$1`, and what only looks like it."""

import pytest
from app.db.copying import bound_text

LEFT_ALONE = (
    "SELECT 'costs $1'",
    "SELECT 'it''s $1'",
    r"SELECT E'it\'s $1'",
    "SELECT E'a'\n  '\\' $1'",
    'SELECT 1 AS "$1"',
    'SELECT 1 AS "a""$1"',
    "SELECT $$costs $1$$",
    "SELECT $of$costs $$ $1$of$",
    "SELECT foo$1 FROM bar$1",
    "SELECT été$1",
    "SELECT '; --' AS a",
)


@pytest.mark.parametrize("query", LEFT_ALONE)
def test_what_stands_in_a_string_or_a_name_is_no_parameter(query: str) -> None:
    assert bound_text(query, {1: "<one>"}) == query
    assert bound_text(query + ", $1", {1: "<one>"}) == query + ", <one>"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT $1, $2, $11", "SELECT <one>, <two>, <eleven>"),
        ("SELECT $1::int", "SELECT <one>::int"),
        ("SELECT a/* $1 /* $1 */ ' */-$1", "SELECT a -<one>"),
        ("SELECT $1 -- $1 '\n, $2", "SELECT <one>  \n, <two>"),
        ("SELECT 1;", "SELECT 1 "),
        ("SELECT $3", "SELECT $3"),
    ],
)
def test_parameters_are_found_and_comments_are_not_sent(query: str, expected: str) -> None:
    assert bound_text(query, {1: "<one>", 2: "<two>", 11: "<eleven>"}) == expected
