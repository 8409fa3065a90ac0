"""What every file promises by standing where it stands."""

import ast

from app.core.config import PROJECT

SOURCES = sorted((PROJECT / "app").rglob("*.py"))
OURS = [
    path for name in ("app", "goblin", "tests", "bench") for path in (PROJECT / name).rglob("*.py")
]
LINES_MAX = 400


def test_every_file_is_small_enough_to_read_in_one_sitting() -> None:
    lines = {str(path): len(path.read_text().splitlines()) for path in OURS}
    assert len(lines) > 500, "they were found"
    assert not {path: count for path, count in lines.items() if count > LINES_MAX}, (
        "split by subject"
    )


def test_no_file_is_called_for_what_it_is_not() -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common_utils", "manager", "managers"}
    assert not [source for source in OURS if source.stem in vague]


def test_the_domain_neither_waits_nor_looks_at_a_clock() -> None:
    for source in (PROJECT / "app" / "domain").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), source
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"now", "utcnow", "today", "time_ns"}, source
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"open", "print", "input", "float"}, source


def test_nothing_in_the_project_can_sign_a_request_to_a_venue() -> None:
    """No code path may ever reach a real trading account: no key, no signature, no order route."""
    forbidden = ("x-bapi-sign", "x-bapi-api-key", "x-mbx-apikey", "/v5/order", "/v5/position",
                 "/api/v3/order", "/fapi/v1/order", "hmac")  # fmt: skip
    for source in SOURCES:
        text = source.read_text().lower()
        for word in forbidden:
            assert word not in text, f"{source.name} contains {word}"


def test_settings_are_read_at_the_edge() -> None:
    edge = {"config.py", "main.py", "__main__.py", "dataframes.py"}
    for source in SOURCES:
        if source.name not in edge:
            assert "load_settings(" not in source.read_text(), source
            assert "os.environ" not in source.read_text(), source
