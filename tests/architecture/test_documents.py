"""The documents agree with the code and with each other."""

import re
from pathlib import Path

from app.core.config import PROJECT, Settings
from app.main import ROUTERS, create_app
from dotenv import dotenv_values
from fastapi.routing import APIWebSocketRoute
from pydantic import SecretStr

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
README = (PROJECT / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_readme_lists_every_endpoint_and_none_that_does_not_exist() -> None:
    app = create_app(Settings(_env_file=None))
    served = {
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    served |= {
        ("WS", route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIWebSocketRoute)
    }
    rows = re.findall(r"^\| ([A-Z]+) (/\S*) \|", section("Endpoints"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == served


def test_the_example_settings_are_all_settings_at_their_defaults(tmp_path: Path) -> None:
    text = (PROJECT / ".env.example").read_text()
    uncommented = tmp_path / ".env"
    uncommented.write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    assert not dotenv_values(PROJECT / ".env.example"), "copied as it is, it changes nothing"
    named = dotenv_values(uncommented)
    assert {key.lower() for key in named} == set(Settings.model_fields)
    assert not named["JWT_SECRET_KEY"], "a secret that everybody can read is none"
    for key, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        if isinstance(default, Path):
            default = default.relative_to(PROJECT)
        assert named[key.upper()] == ("" if default is None else str(default)), key


def test_every_link_between_the_documents_leads_somewhere() -> None:
    assert PAGES
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_a_decision_that_the_code_refers_to_is_written_down() -> None:
    written = {page.name[:4] for page in (PROJECT / "docs" / "adr").glob("*.md")}
    sources = [*(PROJECT / "app").rglob("*.py"), *PROJECT.glob("requirements*.txt")]
    for source in sources:
        for number in re.findall(r"docs/adr/(\d{4})", source.read_text()):
            assert number in written, f"{source.name} refers to ADR {number}"


def test_the_newest_version_of_the_changelog_is_the_one_that_is_served() -> None:
    newest = re.search(r"^## ([0-9]\S*)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == create_app(Settings(_env_file=None)).version
