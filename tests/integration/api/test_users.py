import pytest
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error

TOP = "9999999999.99999999999999999999"


@pytest.mark.parametrize("path", ["/users/me/deposit", "/users/me/withdraw"])
@pytest.mark.parametrize(
    "amount",
    ["0", "-1", "abc", "", "1e3", "0.000000000000000000001", "10000000000", None, True, 0, -1, []],
)
async def test_an_amount_that_is_none_changes_nothing(
    bob: Person, path: str, amount: object
) -> None:
    assert_is_error(await bob.client.post(path, json={"amount": amount}), 422)
    assert await bob.balance() == 0


async def test_deposits_and_withdrawals_are_exact_as_string_and_as_number(bob: Person) -> None:
    response = await bob.client.post("/users/me/deposit", json={"amount": "0.12345678901234567891"})
    assert response.json()["data"]["balance"] == "0.12345678901234567891"
    response = await bob.client.post(
        "/users/me/deposit",
        content=b'{"amount": 1000000.00000000000000000009}',
        headers={"Content-Type": "application/json"},
    )
    assert response.json()["data"]["balance"] == "1000000.12345678901234567900"
    response = await bob.client.post("/users/me/withdraw", json={"amount": 1})
    assert response.json()["data"]["balance"] == "999999.12345678901234567900"
    assert set(response.json()["data"]) == {"id", "email", "name", "balance", "created_at"}


async def test_nobody_withdraws_what_they_do_not_have(bob: Person) -> None:
    await bob.client.post("/users/me/deposit", json={"amount": "1"})
    response = await bob.client.post(
        "/users/me/withdraw", json={"amount": "1.00000000000000000001"}
    )
    assert_is_error(response, 400, "insufficient_balance")
    assert response.json()["message"] == "insufficient balance"
    assert await bob.balance() == 1


async def test_a_balance_never_reaches_ten_billion(bob: Person) -> None:
    await bob.client.post("/users/me/deposit", json={"amount": TOP})
    response = await bob.client.post("/users/me/deposit", json={"amount": "0.00000000000000000001"})
    assert_is_error(response, 400, "balance_limit_exceeded")
    assert response.json()["message"] == "balance limit exceeded"
