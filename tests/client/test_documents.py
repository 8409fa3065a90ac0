"""docs/client.md does what it says, block after block, and the package installs alone."""

import asyncio
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import goblin
import pytest
from app.core.config import PROJECT

PAGE = (PROJECT / "docs" / "client.md").read_text()


async def test_the_blocks_of_the_page_run_one_after_the_other(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, Any] = {}

    def read() -> None:
        for block in blocks:
            text = block.replace("http://127.0.0.1:8000", url)
            text = text.replace('"ledger.parquet"', repr(str(tmp_path / "ledger.parquet")))
            exec(compile(text, "client.md", "exec"), names)  # noqa: S102 - our own page

    await asyncio.to_thread(read)
    assert names["orders"]["symbol"].tolist() == ["BTCUSDT"]
    assert len(names["candles"]) == 100
    assert sum(names["ledger"]["amount"].to_pylist()) == 0
    assert len(names["frame"]) == 1, "the second order was refused"
    assert "order_closed" in capsys.readouterr().out


def test_the_page_lists_every_method() -> None:
    listed = set(re.findall(r"`(\w+)`", PAGE.partition("## Everything it can do")[2]))
    public = {
        name
        for name, _ in inspect.getmembers(goblin.Client, inspect.isfunction)
        if not name.startswith("_")
    }
    assert listed == public - {"close"}


def files_in(folder: Path) -> set[Path]:
    """Scripts and styles of the report too, without what Python compiled."""
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {file for file in files if "__pycache__" not in file.parts}


def test_installing_the_project_installs_the_client_and_nothing_else(tmp_path: Path) -> None:
    """By the packages that are here; a user's pip fetches httpx and setuptools by itself."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source)
    for name in ("goblin", "app"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
            "--no-build-isolation", "--disable-pip-version-check", "--target", target, source,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    installed = {path.name.partition("-")[0] for path in target.iterdir()}
    assert installed == {"goblin"}
    assert files_in(target / "goblin") == files_in(PROJECT / "goblin")
    shown = subprocess.run(
        [sys.executable, "-c", "import goblin; print(goblin.__file__, goblin.Client())"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith(str(target))


def test_the_package_asks_for_httpx_and_for_frames_only_as_an_extra() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert [need.partition(">")[0] for need in project["dependencies"]] == ["httpx"]
    blocked = "import sys; sys.modules.update(dict.fromkeys(('pandas', 'pyarrow', 'polars')))\n"
    script = blocked + (
        "import goblin, goblin.models as m\n"
        "rows = goblin.Rows.of(m.PartState, [])\n"
        "try: rows.df()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "pandas is required for DataFrames. Install it with: pip install pandas\n"
    )


def test_nobody_is_told_to_install_a_goblin_by_its_name_which_is_somebody_elses() -> None:
    folders = {".": "*.md", "docs": "**/*.md", "goblin": "**/*.py", "notebooks": "*.ipynb"}
    places = [file for folder, kind in folders.items() for file in (PROJECT / folder).glob(kind)]
    by_name = re.compile(r"pip3? install (-\S+ )*['\\\"]*goblin\b")
    assert len(places) > 40
    assert [str(place) for place in places if by_name.search(place.read_text())] == []
