"""What goblin is made of: locked, listed, and free to use."""

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import pytest
from app.core.config import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAMES = ("requirements", "requirements-research", "requirements-dev")
"""Each includes those before it."""
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "PSF-2.0",
    "Unlicense", "Zlib",
}  # fmt: skip
WORDS_FOR = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
FILE_BY_FILE = {"certifi", "hypothesis", "pathspec"}
"""MPL-2.0 obliges whoever changes a file of theirs to show that file; we change none."""


def direct(name: str) -> list[Requirement]:
    """What a requirements file asks for, with the files that it includes."""
    asked = []
    for line in (PROJECT / f"{name}.txt").read_text().splitlines():
        text = line.partition(" #")[0].strip()
        if text.startswith("-r "):
            asked += direct(text.removeprefix("-r ").removesuffix(".txt"))
        elif text and not text.startswith("#"):
            asked.append(Requirement(text))
    return asked


def locked(name: str) -> list[Requirement]:
    """What a lock names, each with its hashes; anything else in it is an error."""
    text = re.sub(r"^#.*\n", "", (PROJECT / f"{name}.lock").read_text(), flags=re.MULTILINE)
    entries = []
    for entry in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = entry.split(" --hash=")
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", part.strip()) for part in hashes)
        entries.append(Requirement(requirement))
    return entries


def versions(requirements: list[Requirement]) -> dict[str, str]:
    """The exact versions of those that apply to this platform, by normal name."""
    found: dict[str, str] = {}
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate():
            [pin] = requirement.specifier
            assert pin.operator == "==", requirement
            assert canonicalize_name(requirement.name) not in found, requirement
            found[canonicalize_name(requirement.name)] = pin.version
    return found


def reached(requirements: list[Requirement]) -> set[str]:
    """The normal names of these packages and of all that they need here."""
    found: set[str] = set()
    todo = [(r, "") for r in requirements]
    seen = set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        found.add(canonicalize_name(requirement.name))
        for wanted in ("", *requirement.extras):
            if (requirement.name, wanted) not in seen:
                seen.add((requirement.name, wanted))
                needs = importlib.metadata.requires(requirement.name) or []
                todo += [(Requirement(need), wanted) for need in needs]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_holds_what_the_requirements_name_and_need_and_nothing_else(name: str) -> None:
    """Renew it with `scripts/dependencies lock`."""
    lock = versions(locked(name))
    for asked, version in versions(direct(name)).items():
        assert lock.get(asked) == version, f"{name}.txt asks for {asked}=={version}"
    assert set(lock) == reached(direct(name))


def test_the_locks_agree_with_each_other_and_with_what_is_tested_now() -> None:
    runtime, research, everything = (versions(locked(name)) for name in NAMES)
    assert runtime.items() <= research.items() <= everything.items()
    for name, version in everything.items():
        assert importlib.metadata.version(name) == version


@pytest.mark.parametrize("lock", sorted(PROJECT.glob("*.lock")), ids=lambda path: path.name)
def test_a_lock_names_no_index_so_that_any_mirror_serves(lock: Path) -> None:
    assert "://" not in lock.read_text()
    assert len(locked(lock.stem)) > 20


def test_the_scripts_install_nothing_that_the_lock_has_no_hash_for() -> None:
    sources = [path for path in (PROJECT / "scripts").iterdir() if path.is_file()]
    sources.append(PROJECT / ".ci" / "run")
    installs = [
        command
        for path in sources
        for command in path.read_text().replace("\\\n", " ").splitlines()
        if re.search(r"\bpip install\b", command)
    ]
    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes" in command
        assert ".lock" in command


def components(name: str) -> list[dict[str, Any]]:
    bill = json.loads((PROJECT / "sbom" / f"{name}.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "goblin"
    found: list[dict[str, Any]] = bill["components"]
    return found


@pytest.mark.parametrize(
    ("name", "lock"), [("goblin", "requirements"), ("goblin-dev", "requirements-dev")]
)
def test_the_bill_of_materials_lists_every_locked_package(name: str, lock: str) -> None:
    """Renew it with `scripts/dependencies sbom`."""
    listed = {canonicalize_name(part["name"]): part["version"] for part in components(name)}
    assert listed == versions(locked(lock))


SAID_IN_A_FILE_ONLY = {"TA-Lib", "asttokens"}
"""BSD-2-Clause and Apache-2.0, say their LICENSE files; their metadata say nothing."""


@pytest.mark.parametrize("name", ["goblin", "goblin-dev"])
def test_every_licence_is_permissive(name: str) -> None:
    for part in components(name):
        if part["name"] in SAID_IN_A_FILE_ONLY:
            assert "licenses" not in part, "it is in the metadata now"
            continue
        assert part["licenses"], part["name"]
        for licence in part["licenses"]:
            named = licence.get("expression") or licence["license"].get("id")
            if named is None:
                words = licence["license"]["name"].removeprefix("License :: OSI Approved :: ")
                if words == "License :: DFSG approved":
                    continue
                named = WORDS_FOR[words]
            parts = set(re.split(r" (?:AND|OR) ", named))
            allowed = PERMISSIVE | ({"MPL-2.0"} if part["name"] in FILE_BY_FILE else set())
            assert parts <= allowed, (part["name"], named)
