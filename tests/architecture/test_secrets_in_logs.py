"""The search of the whole suite's logs for secrets finds what it is there to find."""

import subprocess
import sys
from pathlib import Path

import pytest
from app.core.config import PROJECT
from tests.secrets_in_logs import LOOKS_SECRET, spelled_out

CONFTEST = """
from tests.secrets_in_logs import SecretsInLogs

def pytest_configure(config):
    config.pluginmanager.register(SecretsInLogs(config))
"""
SUITE = """
import logging

def test_that_configures_logging(capsys):
    logging.getLogger().setLevel("ERROR")
    logging.getLogger().handlers[:] = [logging.StreamHandler()]

def test_a_login(capsys):
    PASSWORD = "what nobody may read"
    body = {{"password": "a canary with a \\" and an é"}}
    logging.getLogger("somewhere.deep").debug({logged})
    assert not capsys.readouterr().err, "of the handler before, whose stream is closed"
"""


def run_suite(folder: Path, logged: str) -> subprocess.CompletedProcess[str]:
    """pytest on a suite of one test, which passes whatever it logs."""
    (folder / "pytest.ini").write_text("[pytest]\nlog_level = WARNING\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_suite.py").write_text(SUITE.format(logged=logged))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT), "TMPDIR": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


@pytest.mark.parametrize(
    ("logged", "place"),
    [
        ('"logged in with %s", PASSWORD', "PASSWORD of test_suite.py:9 in: "),
        ('"a request", extra={"body": body}', "password of test_suite.py:10 in: "),
        ('"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln"', "eyJhbGciOiJI... in: "),
    ],
)
def test_a_secret_in_the_log_of_a_passing_test_fails_the_run(
    tmp_path: Path, logged: str, place: str
) -> None:
    done = run_suite(tmp_path, logged)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "secrets in logs" in done.stdout
    assert place in done.stdout


def test_a_run_that_logs_no_secret_passes_and_leaves_no_logs(tmp_path: Path) -> None:
    done = run_suite(tmp_path, '"a login of %s", "ada@example.com"')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "secrets" not in done.stdout
    assert not list(tmp_path.glob("goblin-test-logs-*"))


@pytest.mark.parametrize(
    "text",
    ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln",
     "gob_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "gor_0123456789abcdefghijklmnopqrstuvwxyz",
     "$2b$12$abcdefghijklmnopqrstuu", "$bcrypt-sha256$v=2,t=2b,r=12$abc",
     "postgresql://goblin:pw@db.example/goblin"],
)  # fmt: skip
def test_what_looks_like_a_secret_is_one_wherever_it_stands(text: str) -> None:
    assert LOOKS_SECRET.search(f"before {text} after".encode())


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:8000/docs", "postgresql://db.example:5432/goblin", "goblin_events",
     "2025-06-01T00:00:00+00:00", "gob_short", "ada@example.com"],
)  # fmt: skip
def test_what_a_log_is_full_of_is_no_secret(text: str) -> None:
    assert not LOOKS_SECRET.search(f"before {text} after".encode())


def test_the_secrets_of_this_suite_are_known() -> None:
    known = spelled_out(PROJECT)
    assert "a secret of the tests, long enough for HS256" in known
    assert "correct horse battery 7c1" in known
    assert len(known) > 8
