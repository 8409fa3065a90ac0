"""The README's own commands, run as they stand."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests.e2e.running import PROJECT, Clone, Running, serving

README = (PROJECT / "README.md").read_text()
NOTEBOOK = """
import ast, asyncio, inspect, sys

code = compile(sys.stdin.read(), "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {}
running = eval(code, names)
if inspect.iscoroutine(running):
    asyncio.run(running)
print(names["orders"]["profit"].tolist())
"""

pytestmark = pytest.mark.timeout(120)


def block(title: str, language: str) -> str:
    text = README.partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None, f"no {language} block under {title}"
    return found[1]


@pytest.fixture
def server(clone: Clone) -> Iterator[Running]:
    with serving(clone, "--port", "0", "--replay") as running:
        yield running


def test_the_first_session_and_the_dataframe_do_what_the_readme_says(
    clone: Clone, server: Running
) -> None:
    session = block("A first session", "bash").splitlines()
    assert session[0] == "API=http://127.0.0.1:8000"
    bash, curl = shutil.which("bash"), shutil.which("curl")
    assert bash is not None
    assert curl is not None, "the first session needs curl: apt-get install curl"
    done = subprocess.run(
        [bash, "-euo", "pipefail"],
        input="\n".join([f"API={server.url}", *session[1:]]),
        env=clone.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == sum(line.startswith("goblin ") for line in session)
    assert [answer["status"] for answer in answers] == ["success"] * len(answers)
    closed, me = answers[-2]["data"], answers[-1]["data"]
    assert closed["status"] == 2
    assert Decimal(me["balance"]) == 10_000 + Decimal(closed["diffDollar"])

    counted = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        input=block("Researchers", "python"),
        cwd=clone.folder,
        env=clone.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert counted.returncode == 0, counted.stderr
    (profit,) = json.loads(counted.stdout)
    assert profit == pytest.approx(float(closed["diffDollar"]), abs=1e-9)
