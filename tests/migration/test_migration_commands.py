"""The command line and the script that migrate, and what they say when they cannot."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from app.db.address import DatabaseAddress
from app.db.migrate import State, info, validate
from tests.environment import database_variables
from tests.migration.scratch import MIGRATIONS, PROJECT

WAIT_SECONDS_MAX = 150.0


def environment(address: DatabaseAddress, **changes: str) -> dict[str, str]:
    """The DB_* settings of this database, and none of the machine's own."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("FLYWAY_")},
        **database_variables(address),
        **changes,
    }


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS_MAX,
    )


def command_line(address: DatabaseAddress, command: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "app", command, **environment(address))


async def test_the_command_line_migrates_informs_and_validates(database: DatabaseAddress) -> None:
    invalid = command_line(database, "validate")
    assert invalid.returncode == 1
    assert invalid.stderr.startswith("goblin: V1__initial_schema.sql: not applied to this database")
    assert invalid.stdout == ""

    migrated = command_line(database, "migrate")
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert migrated.stdout.startswith("applied 1 initial schema\napplied 2 owners and invariants\n")
    again = command_line(database, "migrate")
    assert (again.returncode, again.stdout) == (0, "the schema is up to date\n")
    valid = command_line(database, "validate")
    assert (valid.returncode, valid.stdout) == (0, "the applied migrations and the files agree\n")

    listed = command_line(database, "info")
    assert (listed.returncode, listed.stderr) == (0, "")
    header, _, first, *_ = listed.stdout.splitlines()
    assert header.split("  ")[0] == "Category"
    at = {word: header.index(word) for word in ("Version", "Description", "Installed On", "State")}
    assert first[at["Version"] :].startswith("1 ")
    assert first[at["Description"] :].startswith("initial schema ")
    assert first[at["Installed On"] :].startswith("20")
    assert first[at["State"] :] == "Success"


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("migrate", {"DB_PORT": "1"}),
        ("info", {"DB_PASSWORD": "wr0ng-one"}),
        ("validate", {"DB_NAME": "no_such"}),
    ],
)
async def test_a_database_out_of_reach_is_named_with_the_remedy_and_without_the_password(
    server: DatabaseAddress, command: str, wrong: dict[str, str]
) -> None:
    done = run(sys.executable, "-m", "app", command, **environment(server, **wrong))
    assert done.returncode == 1
    assert done.stdout == ""
    what, remedy = done.stderr.splitlines()
    assert what.startswith("goblin: PostgreSQL at 127.0.0.1 port ")
    assert remedy.startswith("Remedy: ")
    assert next(iter(wrong)) in remedy
    assert "wr0ng-one" not in done.stderr


def script_in(project: Path) -> Path:
    """The script in a project folder of its own, so that nobody's .env or .venv counts."""
    for folder in ("app", "db"):
        (project / folder).symlink_to(PROJECT / folder)
    shutil.copy(PROJECT / "flyway.conf", project)
    (project / "scripts").mkdir()
    script = project / "scripts" / "run_migrations.sh"
    shutil.copy(PROJECT / "scripts" / "run_migrations.sh", script)
    (project / ".venv" / "bin").mkdir(parents=True)
    python = project / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return script


def without_flyway() -> str:
    folders = os.environ["PATH"].split(":")
    return ":".join(folder for folder in folders if not (Path(folder) / "flyway").exists())


async def test_the_script_uses_the_built_in_migrator_where_no_flyway_is_installed(
    database: DatabaseAddress, tmp_path: Path
) -> None:
    script = script_in(tmp_path)
    settings = environment(database, PATH=without_flyway())
    migrated = run(script, **settings)
    assert migrated.returncode == 0, migrated.stderr
    assert migrated.stdout.startswith("applied 1 initial schema\n")
    assert {row.state for row in await info(database, MIGRATIONS)} == {State.SUCCESS}
    validated = run(script, "validate", **settings)
    assert (validated.returncode, validated.stdout) == (
        0, "the applied migrations and the files agree\n",
    )  # fmt: skip
    assert run(script, "clean", **settings).returncode == 2
    await validate(database, MIGRATIONS)


def test_the_script_hands_the_settings_to_an_installed_flyway(tmp_path: Path) -> None:
    script = script_in(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "flyway").write_text(
        '#!/bin/sh\necho "$PWD $*"\necho "$FLYWAY_URL"\necho "$FLYWAY_USER"\n'
        'echo "$FLYWAY_PASSWORD"\nexit 7\n'
    )
    (programs / "flyway").chmod(0o755)
    (tmp_path / ".env").write_bytes(
        b"# DB_HOST=commented.out\r\nDB_HOST=from.file\r\n export DB_PORT = 5433 # a port\r\n"
        b"DB_USER='some one'\r\nDB_PASSWORD=\"a b#$(touch hacked)'c\"\r\nDB_NAME=overruled"
    )
    path = f"{programs}:{without_flyway()}"
    done = run(script, "info", PATH=path, DB_NAME="my db/ü")
    assert done.stdout.splitlines() == [
        f"{tmp_path} -configFiles=flyway.conf info",
        "jdbc:postgresql://from.file:5433/my%20db%2F%C3%BC",
        "some one",
        "a b#$(touch hacked)'c",
    ]
    assert done.returncode == 7
    assert not (tmp_path / "hacked").exists()
    assert "//[::1]:5433/overruled" in run(script, PATH=path, DB_HOST="::1").stdout


async def test_the_script_does_not_send_flyway_where_it_cannot_go(
    server: DatabaseAddress, tmp_path: Path
) -> None:
    script = script_in(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "flyway").write_text("#!/bin/sh\nexit 7\n")
    (programs / "flyway").chmod(0o755)
    settings = environment(server, DB_HOST=str(tmp_path), PATH=f"{programs}:{without_flyway()}")
    done = run(script, **settings)
    assert done.returncode == 1
    assert done.stderr.startswith(f"goblin: PostgreSQL at {tmp_path} ")
