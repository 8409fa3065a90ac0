"""Using the rules as they are to get what they do not mean to give."""

import pytest
from tests.conftest import Person
from tests.integration.api.test_conventions import assert_is_error

DUST = "0.00000000000000000001"
MOST = "9999999999.99999999999999999999"


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
@pytest.mark.parametrize("quantity", [DUST, "0.00000000000000000007", "0.33333333333333333333"])
async def test_buying_and_closing_as_often_as_one_likes_makes_nothing(
    ada: Person, symbol: str, quantity: str
) -> None:
    before = await ada.balance()
    for _ in range(10):
        bought = await ada.client.post("/order", json={"symbol": symbol, "quantity": quantity})
        assert bought.status_code == 201
        assert (await ada.client.delete(f"/order/{symbol}")).status_code == 200
        assert await ada.balance() <= before
    assert (await ada.client.get("/ledger/audit")).json()["data"]["agrees"]


async def test_an_account_that_begins_anew_again_and_again_stays_in_order(ada: Person) -> None:
    for balance in ("0", MOST, "1", DUST, MOST) * 4:
        answer = await ada.client.post("/users/me/reset", json={"balance": balance})
        assert answer.status_code == 200
    assert await ada.balance() < 10**10
    audit = (await ada.client.get("/ledger/audit")).json()["data"]
    assert (audit["agrees"], audit["discrepancies"]) == (True, [])


async def test_no_product_or_sum_of_amounts_is_too_large_to_be_answered(ada: Person) -> None:
    order = {"symbol": "BTCUSDT", "quantity": MOST}
    shown = (await ada.client.post("/order/preview", json=order)).json()["data"]
    assert shown["refusal_code"] == "insufficient_balance"
    assert_is_error(await ada.client.post("/order", json=order), 400, "insufficient_balance")
    for _ in range(2):
        answer = await ada.client.post("/users/me/deposit", json={"amount": MOST})
        assert_is_error(answer, 400, "balance_limit_exceeded")
    assert await ada.balance() == 1_000_000
