"""The real command in a fresh copy of the project, as a newcomer runs it."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tests.secrets_in_logs import SERVER_LOGGER

PROJECT = Path(__file__).parents[2]
START_SECONDS_MAX = 150
STOP_SECONDS_MAX = 100
ANSWER_SECONDS_MAX = 60
"""Bounds against hanging: a slow machine is no failure."""


@dataclass(frozen=True)
class Clone:
    """A copy of what runs, with no .env and no data; its path has spaces."""

    folder: Path
    output: list[str] = field(default_factory=list)
    """Everything that its servers have written, standard error included."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def environment(self, **variables: str) -> dict[str, str]:
        """A newcomer's: nothing of goblin's is set, and the home folder cannot be used."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C",
            **variables,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "app", *arguments]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS_MAX,
        )

    def database_processes(self) -> list[int]:
        """The processes that work in the cluster; a server's do so from their first moment on."""
        cluster = (self.data / "postgres").resolve()
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and (process / "cwd").resolve() == cluster:
                    found.append(int(process.name))
            except OSError:  # it has ended meanwhile
                continue
        return found

    def postmaster(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])


def make_clone(folder: Path) -> Clone:
    folder.mkdir(parents=True)
    for part in ("app", "db"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return Clone(folder)


@dataclass
class Running:
    """A server that has said that it is up."""

    process: subprocess.Popen[str]
    url: str
    replay_url: str | None

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=ANSWER_SECONDS_MAX, trust_env=False
        )

    def set_clock(self, instant_ms: int) -> None:
        assert self.replay_url is not None
        moved = httpx.post(
            f"{self.replay_url}/control/clock",
            json={"set": instant_ms},
            timeout=ANSWER_SECONDS_MAX,
            trust_env=False,
        )
        assert moved.json()["now_ms"] == instant_ms, moved.text

    def press_ctrl_c(self) -> int:
        """Interrupt the whole foreground process group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_SECONDS_MAX)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(STOP_SECONDS_MAX)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS_MAX)


@contextmanager
def serving(clone: Clone, *arguments: str, **variables: str) -> Iterator[Running]:
    """`python -m app serve` until the block ends, in whatever way the block ends it."""
    log = clone.folder.with_name(f"{clone.folder.name} {len(clone.output)}.log")
    with log.open("w+") as stream:
        process = subprocess.Popen(
            clone.command("serve", *arguments),
            cwd=clone.folder,
            env=clone.environment(**variables),
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            url, replay_url = _addresses(process, log)
            yield Running(process, url, replay_url)
        finally:
            process.kill()
            process.wait(STOP_SECONDS_MAX)
            clone.output.append(log.read_text())
            logging.getLogger(SERVER_LOGGER).debug(clone.output[-1])


def _addresses(process: subprocess.Popen[str], log: Path) -> tuple[str, str | None]:
    deadline = time.monotonic() + START_SECONDS_MAX
    while "stop    Ctrl-C" not in (text := log.read_text()):
        assert process.poll() is None, f"it ended with {process.returncode}:\n{text}"
        assert time.monotonic() < deadline, f"it is not up:\n{text}"
        time.sleep(0.02)
    docs = re.search(r"^  docs    (\S+)/docs$", text, re.MULTILINE)
    assert docs is not None, text
    replay = re.search(r"replay exchange at (http://\S+),", text)
    return docs[1], replay and replay[1]
