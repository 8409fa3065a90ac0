"""scripts/environment.sh, by itself: with locks that ask for nothing, and no internet."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
FILES = ("requirements.lock", "requirements-research.lock", "requirements-dev.lock")
SECONDS_MAX = 200
SCRIPT = """
set -euo pipefail
. scripts/environment.sh requirements.txt
"$python" -c 'import sys; print(sys.prefix)'
"""

pytestmark = pytest.mark.timeout(4 * SECONDS_MAX)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "a new folder"
    (made / "scripts").mkdir(parents=True)
    shutil.copy(PROJECT / "scripts" / "environment.sh", made / "scripts")
    for name in FILES:
        (made / name).write_text("# nothing\n")
    return made


@contextmanager
def setting_up(folder: Path, *, path: str | None = None) -> Iterator[subprocess.Popen[str]]:
    environment = {"PATH": path or os.environ["PATH"], "HOME": "/nonexistent", "PIP_NO_INDEX": "1"}
    with subprocess.Popen(
        ["/bin/bash", "-c", SCRIPT],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def set_up(folder: Path, *, path: str | None = None) -> tuple[int, str, str]:
    with setting_up(folder, path=path) as process:
        output, errors = process.communicate(timeout=SECONDS_MAX)
    return process.returncode, output, errors


def test_two_at_once_make_one_whole_environment_out_of_a_half_made_one(folder: Path) -> None:
    prefix = f"{folder / '.venv'}\n"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".unfinished").touch()  # as a killed pip leaves it

    with setting_up(folder) as one, setting_up(folder) as other:
        answers = [process.communicate(timeout=SECONDS_MAX) for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], answers
    assert [output for output, _ in answers] == [prefix, prefix]
    said = "".join(errors for _, errors in answers)
    assert said.count("setting up .venv") == 1
    assert said.count("installing") == 1

    assert set_up(folder) == (0, prefix, ""), "a second start has nothing to do or say"

    (folder / "requirements.lock").write_text("./no-such-wheel.whl\n")
    code, output, errors = set_up(folder)
    assert (code, output) == (1, "")
    assert "goblin: pip could not install requirements.txt; the lines above say why." in errors
    assert "Remedy: " in errors

    (folder / "requirements.lock").write_text("# nothing any more\n")
    code, output, errors = set_up(folder)
    assert (code, output) == (0, prefix)
    assert "setting up" not in errors, "what works is kept"


def test_an_old_python_is_told_what_is_needed_and_what_was_found(folder: Path) -> None:
    commands = folder / "bin"
    commands.mkdir()
    for tool in ("cat", "cksum"):
        (commands / tool).symlink_to(shutil.which(tool) or "")
    code, _, errors = set_up(folder, path=str(commands))
    assert code == 1
    assert "goblin: Python 3.11 or newer is needed; on PATH: no Python at all" in errors

    old = commands / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    code, _, errors = set_up(folder, path=str(commands))
    assert code == 1
    assert "goblin: Python 3.11 or newer is needed; on PATH: python3 is 3.9;" in errors
    assert "Remedy: " in errors
    assert not (folder / ".venv").exists()
