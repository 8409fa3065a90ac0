"""No text, however long, keeps a regular expression busy."""

import importlib
import pkgutil
import re
import time
from typing import Any

import app
import pytest

LENGTH = 50_000
SECONDS_MAX = 2.0
"""One that goes back over its steps takes minutes for such a text; one that does not, a
thousandth of this."""


def expressions() -> dict[str, re.Pattern[Any]]:
    found = {}
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                found[f"{module.name}.{name}"] = value
    return found


FOUND = expressions()
PARTS = ["a", "A", "1", "0", " ", "-", ".", "1.", "a.", "a-", "_", "\n", "\t ", "é", "١", "/",
         "=", ":", ",", "{", '"', "\\", "'", "$", "$$", "--", "/*", "1e", "<script>",
         "a\x00"]  # fmt: skip


def test_the_expressions_were_found() -> None:
    assert len(FOUND) >= 10
    assert {name.rpartition(".")[2] for name in FOUND} >= {
        "PLAIN_DECIMAL", "PLAIN_INTEGER", "PLAIN_NUMBER", "REQUEST_ID", "TRADEABLE", "ORIGIN",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(FOUND))
def test_an_expression_is_done_with_fifty_thousand_characters_at_once(name: str) -> None:
    expression = FOUND[name]
    started = time.process_time()
    for part in PARTS:
        for end in ("", "!", "\n", " x"):
            text = (part * LENGTH)[:LENGTH] + end
            subject = text.encode() if isinstance(expression.pattern, bytes) else text
            expression.fullmatch(subject)
            expression.match(subject)
            assert time.process_time() - started < SECONDS_MAX, (part, end)
