"""goblin on a real socket, and somebody with a client of it."""

from collections.abc import AsyncIterator
from typing import Any

import goblin
import pytest_asyncio
import yaml
from app.core.config import PROJECT
from tests.conftest import Installation, Person, new_person
from tests.serving import served

SWAGGER: dict[str, Any] = yaml.load((PROJECT / "swagger.yaml").read_text(), yaml.CSafeLoader)
AT_ONCE = goblin.Retries(first_wait_seconds=0.01, wait_seconds_max=5.0, reconnect_seconds=0.0)


@pytest_asyncio.fixture(scope="module")
async def url(installation: Installation) -> AsyncIterator[str]:
    async with served(installation.app) as url:
        yield url


def token_of(person: Person) -> str:
    return person.client.headers["Authorization"].removeprefix("Bearer ")


@pytest_asyncio.fixture
async def somebody(installation: Installation) -> AsyncIterator[Person]:
    person = await new_person(installation, balance="1000000")
    yield person
    await person.client.aclose()


@pytest_asyncio.fixture
async def client(url: str, somebody: Person) -> AsyncIterator[goblin.AsyncClient]:
    """Somebody's, with a million."""
    async with goblin.AsyncClient(url, api_key=token_of(somebody), retries=AT_ONCE) as client:
        yield client
