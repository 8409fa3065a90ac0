"""/openapi.json against the running application, with every check that schemathesis has.

GOBLIN_SCHEMATHESIS_EXAMPLES=200 makes the run longer, GOBLIN_SCHEMATHESIS_SEED=7 another one.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from app.replay import replay
from schemathesis.checks import CHECKS, load_all_checks
from tests.conftest import (
    CloneDatabase,
    Person,
    make_administrator,
    new_person,
    run_installation,
    settings_for,
)
from tests.serving import served

HERE: Final = Path(__file__).parent
PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")
RUN_SECONDS_MAX: Final = 1800

pytestmark = pytest.mark.timeout(RUN_SECONDS_MAX)


@dataclass
class Report:
    """What a run of schemathesis did, read from its own record."""

    statuses: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    operations: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    checks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    identities: set[str] = field(default_factory=set)


def read_report(file: Path) -> Report:
    report = Report()
    for finished in _events(file, "ScenarioFinished"):
        recorder = finished["recorder"]
        for name, node in recorder.get("cases", {}).items():
            case = node["value"]
            operation = f"{case['method']} {case['path']}"
            report.operations[finished["phase"]].add(operation)
            report.identities.add(case.get("auth_identity", "nobody"))
            answer = recorder["interactions"].get(name, {}).get("response")
            if answer is not None:
                report.statuses[operation].add(answer["status_code"])
        for checks in recorder.get("checks", {}).values():
            for check in checks:
                report.checks[check["name"]] += 1
    return report


def _events(file: Path, kind: str) -> Iterator[dict[str, Any]]:
    for line in file.read_text().splitlines():
        event = json.loads(line)
        if kind in event:
            yield event[kind]


def credentials(**people: Person) -> str:
    return json.dumps(
        {
            "auth": [
                {
                    "name": name,
                    "fixedHeaders": [
                        {"name": "Authorization", "value": person.client.headers["Authorization"]}
                    ],
                }
                for name, person in people.items()
            ]
        }
    )


async def run_schemathesis(url: str, folder: Path, **people: Person) -> Report:
    auth, record = folder / "auth.json", folder / "record.ndjson"
    auth.write_text(credentials(**people))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli",
        "--config-file", str(HERE / "schemathesis.toml"),
        "run", f"{url}/openapi.json",
        "--phases", ",".join(PHASES),
        "--max-examples", os.environ.get("GOBLIN_SCHEMATHESIS_EXAMPLES", "8"),
        "--seed", os.environ.get("GOBLIN_SCHEMATHESIS_SEED", "20260131"),
        "--report-ndjson-path", str(record),
        cwd=folder, stdout=PIPE, stderr=STDOUT,
        env={
            **os.environ,
            "GOBLIN_AUTH": str(auth),
            "GOBLIN_HOOKS": str(HERE / "schemathesis_hooks.py"),
        },
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode != 0:
        pytest.fail(output.decode(), pytrace=False)
    return read_report(record)


async def make_what_the_examples_name(person: Person) -> None:
    """Order 1, strategy 1, assignment 1 and API key 1 of the first user of an empty database."""
    for path, body in (
        ("/order", {"symbol": "ETHUSDT", "quantity": "1", "client_order_id": "my-bot-000001"}),
        ("/order", {"symbol": "BTCUSDT", "quantity": "1"}),
        ("/strategy", {"name": "Mean reversion"}),
        ("/trade-strategy", {"symbol": "BTCUSDT", "strategy_id": 1}),
        ("/auth/api-keys", {"name": "bot", "scopes": ["read"]}),
    ):
        response = await person.client.post(path, json=body)
        assert response.status_code == 201, response.text


async def test_the_running_application_keeps_every_promise_of_its_own_description(
    clone: CloneDatabase, tmp_path: Path
) -> None:
    async with (
        replay(None, speed=60) as exchange,  # so that trades come to be told
        run_installation(
            settings_for(await clone(), exchange.base_url, market_streams="on")
        ) as installation,
    ):
        schema = installation.app.openapi()
        ada = await new_person(installation, balance="5000000")
        bob = await new_person(installation, balance="5000000")
        await new_person(installation)
        await make_administrator(installation, ada)
        await make_what_the_examples_name(ada)
        async with served(installation.app) as url:
            report = await run_schemathesis(url, tmp_path, ada=ada, bob=bob)

    declared = {
        f"{method.upper()} {path}" for path in schema["paths"] for method in schema["paths"][path]
    } - {  # see schemathesis.toml
        "GET /events/stream",
        "GET /market/stream",
        "POST /auth/logout",
        "POST /auth/password",
    }
    assert report.operations["examples"] >= declared - {"POST /users/me/reset"}
    assert report.operations["coverage"] >= declared
    assert report.operations["fuzzing"] >= declared
    assert len(report.operations["stateful"]) > 10, "answers were followed to other operations"
    assert report.identities >= {"ada", "bob"}, "both people took part"
    load_all_checks()
    known = {check.__name__ for check in CHECKS.get_all()} - {"max_response_time"}
    assert len(known) >= 14, "the checks were found"
    own = {
        "what_the_schema_allows_is_refused_by_a_rule_only",
        "nothing_is_null_and_nothing_is_undeclared",
    }
    assert set(report.checks) >= known | own
    never_succeeded = {
        operation
        for operation in declared
        if not any(200 <= status < 300 for status in report.statuses[operation])
    }
    assert never_succeeded == {"POST /auth/refresh"}, "nobody guesses a refresh token"
