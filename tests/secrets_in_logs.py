"""No secret of any test may stand in what was logged, however much is logged.

For as long as pytest runs, its process logs at DEBUG into a file, with the libraries held
back as goblin itself holds them back, and so does what the tests' own servers print. At the end the
file is searched for whatever looks like a token, a password hash or a password in an address,
and for every secret that is spelled out in a test. One hit fails the run.
"""

import ast
import gc
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

import pytest
from app.core.logging import JsonFormatter, hold_back_libraries

LOOKS_SECRET: Final = re.compile(
    rb"eyJ[A-Za-z0-9_-]{16,}"  # a JWT, or its beginning
    rb"|\bgo[a-z]{1,3}_[A-Za-z0-9_-]{32,}"  # an API key or a refresh token
    rb"|\$2[aby]\$\d\d\$|\$bcrypt-sha256\$"  # a password's hash
    rb"|\b[a-z]+://[^/\s:@\"']*:[^/\s:@\"']+@"  # a password in an address
)
NAMED_SECRET: Final = re.compile(
    r"(?!.*_(id|type)\W*$).*(password|secret|token|api_?key|credential)", re.IGNORECASE
)
CHARACTERS_MIN: Final = 9
"""A shorter one would be found in words and numbers that have nothing to do with it."""

SERVER_LOGGER: Final = "tests.server"
"""Where tests log what a server of theirs printed."""


class _Recorder(logging.StreamHandler[TextIO]):
    def __init__(self, file: Path) -> None:
        super().__init__(file.open("w", encoding="utf-8", errors="backslashreplace"))
        self.setFormatter(JsonFormatter())

    def flush(self) -> None:
        """Leave it to the file's buffer: hundreds of thousands of lines are written."""

    def close(self) -> None:
        self.stream.close()
        super().close()


class SecretsInLogs:
    """A plugin; under xdist each worker records, and the controller searches."""

    def __init__(self, config: pytest.Config) -> None:
        given = getattr(config, "workerinput", {}).get("log_folder")
        self.is_worker = given is not None
        self.folder = Path(given or tempfile.mkdtemp(prefix="goblin-test-logs-"))
        self._recorder = _Recorder(self.folder / f"{os.getpid()}.log")
        self._sources = config.rootpath
        self.hits: list[str] = []
        self._listen()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["log_folder"] = str(self.folder)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Leave nothing of what a test configures; what it prints to is closed with it."""
        root = logging.getLogger()
        handlers = root.handlers[:]
        try:
            return (yield)
        finally:
            root.handlers[:] = handlers

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._listen()  # a test before may have configured logging

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        self._listen()  # pytest puts back the level that was before the setup

    def _listen(self) -> None:
        root = logging.getLogger()
        if self._recorder not in root.handlers:
            root.addHandler(self._recorder)
        root.setLevel(logging.DEBUG)
        hold_back_libraries(logging.DEBUG)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        logging.getLogger().removeHandler(self._recorder)
        self._recorder.close()
        if not self.is_worker:
            # A finaliser that prints a traceback while Python 3.11 parses ends the parsing with
            # a SystemError: https://github.com/python/cpython/issues/106905
            gc.collect()
            gc.disable()
            self.hits = search(self.folder, spelled_out(self._sources))
            gc.enable()
            if self.hits:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            else:
                shutil.rmtree(self.folder)
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.hits:
            terminalreporter.section("secrets in logs", red=True, bold=True)
            terminalreporter.write_line(f"{len(self.hits)} found in {self.folder}:")
            for hit in self.hits[:20]:
                terminalreporter.write_line(f"  {hit}")


def spelled_out(folder: Path) -> dict[str, str]:
    """Every literal of the tests in `folder` that is named for a secret, and where it stands."""
    tests = folder / "tests"
    found = {}
    for source in sorted([*folder.glob("*.py"), *tests.rglob("*.py")]):
        for node, name, value in _named(ast.parse(source.read_text(encoding="utf-8"))):
            if len(value) >= CHARACTERS_MIN and NAMED_SECRET.search(name):
                found[value] = f"{name} of {source.relative_to(folder)}:{node.lineno}"
    return found


def _named(tree: ast.Module) -> Iterator[tuple[ast.Constant, str, str]]:
    """Texts with a name: members of a dict, keyword arguments, variables."""
    for node in ast.walk(tree):
        pairs: list[tuple[object, ast.expr | None]] = []
        match node:
            case ast.Dict():
                pairs = [*zip(node.keys, node.values, strict=True)]
            case ast.keyword():
                pairs = [(node.arg, node.value)]
            case ast.Assign():
                pairs = [(target, node.value) for target in node.targets]
            case ast.AnnAssign():
                pairs = [(node.target, node.value)]
        for named, value in pairs:
            name = getattr(named, "value", None) or getattr(named, "id", named)
            match name, value:
                case str(), ast.Constant(value=str(text)):
                    yield value, name, text


def search(folder: Path, secrets: dict[str, str]) -> list[str]:
    """What of the logs in `folder` is a secret: said by place, the secret itself is cut."""
    hits = set()
    for file in sorted(folder.iterdir()):
        logged = file.read_bytes()
        for match in LOOKS_SECRET.finditer(logged):
            hits.add(f"{match[0][:12].decode(errors='replace')}... {_line(logged, match.start())}")
        for secret, place in secrets.items():
            for spelling in {secret, json.dumps(secret)[1:-1]}:
                position = logged.find(spelling.encode(errors="backslashreplace"))
                if position >= 0:
                    hits.add(f"{place} {_line(logged, position)}")
    return sorted(hits)


def _line(logged: bytes, position: int) -> str:
    begin = logged.rfind(b"\n", 0, position) + 1
    return f"in: {logged[begin : begin + 160].decode(errors='replace')}"
