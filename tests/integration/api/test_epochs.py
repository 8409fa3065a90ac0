"""?epoch= names a life that the account has lived, wherever it can be asked about."""

from datetime import UTC, datetime

import pytest
from tests.conftest import Installation, Person
from tests.integration.api.test_conventions import assert_is_error

PATHS = {
    "/account/statistics": "/account/statistics",
    "/export/{table}": "/export/orders",
    "/ledger/accounts": "/ledger/accounts",
    "/ledger/entries": "/ledger/entries",
    "/order": "/order",
}


def test_these_are_all_that_take_an_epoch(installation: Installation) -> None:
    operations = installation.app.openapi()["paths"]
    assert PATHS.keys() == {
        path
        for path, of_path in operations.items()
        for operation in of_path.values()
        if "epoch" in [parameter.get("name") for parameter in operation.get("parameters", ())]
    }


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
async def test_an_epoch_that_never_was_is_named_beside_the_current_one(
    ada: Person, path: str
) -> None:
    await ada.client.post("/users/me/reset", json={"balance": "5"})
    for lived in (1, 2):
        assert (await ada.client.get(path, params={"epoch": lived})).status_code == 200
    refused = await ada.client.get(path, params={"epoch": 3})
    assert_is_error(refused, 404, "epoch_missing")
    assert "epoch 3 does not exist: the current one is 2" in refused.json()["message"]


@pytest.mark.parametrize("path", ["/ledger/accounts", "/order"])
async def test_an_epoch_that_had_not_begun_is_missing_at_that_instant(
    ada: Person, path: str
) -> None:
    then = {"as_of": datetime.now(UTC).isoformat()}
    await ada.client.post("/users/me/reset", json={"balance": "5"})
    assert (await ada.client.get(path, params={**then, "epoch": 1})).status_code == 200
    refused = await ada.client.get(path, params={**then, "epoch": 2})
    assert_is_error(refused, 404, "epoch_missing")
    assert "the current one is 1" in refused.json()["message"]
