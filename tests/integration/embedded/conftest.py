import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from app.db.embedded import EmbeddedPostgresError, remove_data
from tests.integration.embedded.apps import App


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any account may enter, so that the cluster is made right there."""
    made = Path(tempfile.mkdtemp(prefix="goblin-test-")).resolve()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def data_dir(folder: Path) -> AsyncIterator[Path]:
    named = folder / "data" / "postgres"
    yield named
    with suppress(EmbeddedPostgresError):  # a test may have left what no start accepts
        await remove_data(named)


@pytest.fixture
def start_app(data_dir: Path) -> Iterator[Callable[..., App]]:
    del data_dir  # is removed after the apps have ended
    with ExitStack() as started:

        def start(folder: Path, **process: Any) -> App:
            app = App(folder, **process)
            started.callback(app.close)
            return app

        yield start
