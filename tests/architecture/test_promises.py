"""Security, faults and the venue's traps: every line of their lists names tests that exist."""

import ast
import re
from functools import cache

import pytest
from app.core.config import PROJECT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SAID_OTHERWISE = ("does not apply", "there is none")


@cache
def functions_of(file: str) -> set[str]:
    path = PROJECT / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def rows(page: str) -> dict[str, str]:
    """The lines of the list by their number, as S12, R3 or T7."""
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^\| ([SRT]\d+) \| (.*) \|$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("page", "letter", "count"),
    [("security.md", "S", 44), ("faults.md", "R", 23), ("streams.md", "T", 22)],
)
def test_every_line_of_the_list_is_proven_or_says_why_not(
    page: str, letter: str, count: int
) -> None:
    found = rows(page)
    assert list(found) == [f"{letter}{number}" for number in range(1, count + 1)]
    for number, row in found.items():
        assert NAMED.search(row) or any(words in row for words in SAID_OTHERWISE), number


@pytest.mark.parametrize("page", ["security.md", "faults.md", "streams.md"])
def test_every_test_that_is_named_exists(page: str) -> None:
    missing = [
        f"{number}: {file}::{name}"
        for number, row in rows(page).items()
        for file, name in NAMED.findall(row)
        if name not in functions_of(file)
    ]
    assert not missing, "\n".join(missing)


def test_no_statement_matches_patterns() -> None:
    """Whoever adds one has a pattern of a caller's to escape, and S21 to prove."""
    for source in (PROJECT / "app" / "db" / "dao").rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        assert not re.search(r"\bI?LIKE\b|\bSIMILAR TO\b| !?~\*? |regexp_", text), source
