import re
from pathlib import Path

from app.replay.control import ACTIONS
from app.replay.faults import KINDS, STREAM_KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "replay.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_page_names_every_misbehaviour_and_none_that_does_not_exist() -> None:
    rows = re.findall(r"^\| ([a-z0-9_, ]+) \|", section("Misbehaviour"), re.MULTILINE)
    named = [kind for row in rows if row != "kind" for kind in row.split(", ")]
    assert sorted(named) == sorted([*KINDS, *STREAM_KINDS])


def test_the_page_names_every_control_call_and_none_that_does_not_exist() -> None:
    rows = re.findall(r"^\| ([A-Z, ]+) (/\S+) \|", section("Control calls"), re.MULTILINE)
    named = {(method, path) for methods, path in rows for method in methods.split(", ")}
    assert named == set(ACTIONS)
