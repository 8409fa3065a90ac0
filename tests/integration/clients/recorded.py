"""Answers that venues really gave, from the folder beside the project."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / ".." / "shared" / "data"


def recorded(path: str) -> Any:
    if not DATA.is_dir():
        reason = f"the recorded market data is missing: {DATA}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return json.loads((DATA / path).read_text())
