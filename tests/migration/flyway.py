"""The real Flyway Community, fetched once from Maven Central and kept outside the repository."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.db.address import DatabaseAddress

PROJECT = Path(__file__).parents[2]
POM = Path(__file__).with_name("flyway-pom.xml")
FETCH_SECONDS_MAX = 300
RUN_SECONDS_MAX = 150


class FlywayMissingError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Flyway:
    jars: Path

    def command(self) -> list[str]:
        return [
            "java",
            "-XX:TieredStopAtLevel=1",  # it lives for a second: do not optimise its code
            "-cp",
            f"{self.jars}/*",
            "org.flywaydb.commandline.Main",
            "-skipCheckForUpdate",
        ]

    def environment(self, address: DatabaseAddress) -> dict[str, str]:
        assert address.password is not None
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("FLYWAY_")},
            "FLYWAY_URL": f"jdbc:postgresql://{address.host}:{address.port}/{address.database}",
            "FLYWAY_USER": address.user,
            "FLYWAY_PASSWORD": address.password,
            "REDGATE_DISABLE_TELEMETRY": "true",
        }

    def run(self, address: DatabaseAddress, folder: Path, *arguments: str) -> str:
        """Run a command that must succeed; our flyway.conf says everything but the folder."""
        done = self.attempt(address, folder, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def attempt(
        self, address: DatabaseAddress, folder: Path, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *self.command(),
                f"-configFiles={PROJECT / 'flyway.conf'}",
                f"-locations=filesystem:{folder}",
                *arguments,
            ],
            cwd=PROJECT,
            env=self.environment(address),
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS_MAX,
        )

    def info(self, address: DatabaseAddress, folder: Path) -> list[dict[str, Any]]:
        migrations: list[dict[str, Any]] = json.loads(
            self.run(address, folder, "-outputType=json", "info")
        )["migrations"]
        return migrations


def fetch() -> Flyway:
    """Return the cached copy, or let Maven resolve it; the name holds what was asked for."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            message = f"{program} is not installed (apt-get install maven brings both)"
            raise FlywayMissingError(message)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "goblin"
    jars = cache / f"flyway-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "flyway.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may come at once
        if not jars.is_dir():
            _download(jars)
    return Flyway(jars)


def _download(jars: Path) -> None:
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        try:
            done = subprocess.run(
                [
                    "mvn",
                    "--batch-mode",
                    "--quiet",
                    f"--file={POM}",
                    "dependency:copy-dependencies",
                    f"-DoutputDirectory={folder}/jars",
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=FETCH_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired as error:
            message = f"Maven did not fetch Flyway within {FETCH_SECONDS_MAX} seconds"
            raise FlywayMissingError(message) from error
        if done.returncode != 0:
            message = f"Maven could not fetch Flyway: {done.stdout[-1000:]}"
            raise FlywayMissingError(message)
        Path(folder, "jars").rename(jars)
