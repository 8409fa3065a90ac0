import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from app.db.embedded import remove_data
from tests.e2e.running import Clone, make_clone


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    made = make_clone(tmp_path / "a new folder")
    yield made
    asyncio.run(remove_data(made.data / "postgres"))
