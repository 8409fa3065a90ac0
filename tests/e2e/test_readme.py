"""The documents' own commands, run as they stand."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests.e2e.running import PROJECT, START_SECONDS_MAX, Clone, Running, serving

README = (PROJECT / "README.md").read_text()
AUTHENTICATION = (PROJECT / "docs" / "authentication.md").read_text()
NOTEBOOK = """
import ast, asyncio, inspect, sys

code = compile(sys.stdin.read(), "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {}
running = eval(code, names)
if inspect.iscoroutine(running):
    asyncio.run(running)
print(names["orders"]["profit"].tolist())
"""


def block(title: str, language: str, *, page: str = README) -> str:
    text = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None, f"no {language} block under {title}"
    return found[1]


@pytest.fixture
def server(clone: Clone) -> Iterator[Running]:
    with serving(clone, "--port", "0", "--replay") as running:
        yield running


def shell(clone: Clone, server: Running, commands: list[str], *more: str) -> list[str]:
    """What the commands of a page print, line by line, when they ask this server."""
    assert commands[0] == "API=http://127.0.0.1:8000"
    bash, curl = shutil.which("bash"), shutil.which("curl")
    assert bash is not None
    assert curl is not None, "the commands need curl: apt-get install curl"
    done = subprocess.run(
        [bash, "-euo", "pipefail"],
        input="\n".join([f"API={server.url}", *commands[1:], *more]),
        env=clone.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS_MAX,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_first_session_and_the_dataframe_do_what_the_readme_says(
    clone: Clone, server: Running
) -> None:
    session = block("A first session", "bash").splitlines()
    answers = [json.loads(line) for line in shell(clone, server, session)]
    assert len(answers) == sum(line.startswith("goblin ") for line in session)
    assert [answer["status"] for answer in answers] == ["success"] * len(answers)
    closed, me = answers[-2]["data"], answers[-1]["data"]
    assert closed["status"] == 2
    assert Decimal(me["balance"]) == 10_000 + Decimal(closed["diffDollar"])

    assert "with `DB_NAME=goblin_replay` in the environment" in README
    counted = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        input=block("Researchers", "python"),
        cwd=clone.folder,
        env=clone.environment(DB_NAME="goblin_replay"),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS_MAX,
    )
    assert counted.returncode == 0, counted.stderr
    (profit,) = json.loads(counted.stdout)
    assert profit == pytest.approx(float(closed["diffDollar"]), abs=1e-9)


def test_the_authentication_page_works_as_it_stands_and_no_secret_of_it_is_logged(
    clone: Clone,
) -> None:
    """After a demo, whose account must not have taken the place of the administrator."""
    demo = clone.run("serve", "--port", "0", "--replay", "--demo")
    assert demo.returncode == 0, demo.stderr
    commands = block("With the server running", "bash", page=AUTHENTICATION).splitlines()
    shown = 'printf "%s\\n" "$TOKEN" "$REFRESH" "$(echo "$SESSION" | member refresh_token)" "$KEY"'
    with serving(clone, "--port", "0", "--replay", LOG_LEVEL="DEBUG") as server:
        lines = shell(clone, server, commands, shown)
        answers, secrets = [json.loads(line) for line in lines[:-4]], lines[-4:]
        assert [answer["status"] for answer in answers] == ["success"] * 4
        (listed,) = answers[2]["data"]["api_keys"]
        assert secrets[-1].startswith(listed["prefix"])
        with server.client(secrets[0]) as client:
            assert client.get("/users/me").json()["meta"]["code"] == "token_revoked"
            credentials = {"email": "grace@example.com", "password": "correct horse"}
            session = client.post("/auth/login", json=credentials).json()["data"]
        with server.client(session["access_token"]) as client:
            users = client.get("/admin/users").json()["data"]["users"]
            assert [user["role"] for user in users] == ["administrator", "user"]
        assert server.terminate() == 0
    written = "".join(clone.output) + (clone.data / "postgres.log").read_text()
    assert '"level": "debug"' in written, "DEBUG was not on"
    secrets += [session["access_token"], session["refresh_token"], "correct horse"]
    assert all(len(secret) > 12 for secret in secrets)
    assert not [secret for secret in secrets if secret in written]
