from collections import defaultdict
from decimal import Decimal

import pytest
from app.domain.ledger import (
    CASH_ASSET,
    Account,
    AccountId,
    AccountKey,
    Cause,
    Transfer,
    buying,
    cash_of,
    funding_of,
    holding_of,
    keys_of,
    post,
    selling,
    venue_of,
)
from app.domain.money import EXACT, ZERO, add, cash_value, subtract
from app.domain.orders import OrderId
from app.domain.users import UserId
from hypothesis import given
from hypothesis import strategies as st

ADA, BOB = UserId(1), UserId(2)
amounts = st.integers(0, 10**30 - 1).map(lambda n: EXACT.scaleb(n, -20))
positive = st.integers(1, 10**28).map(lambda n: EXACT.scaleb(n, -20))
accounts_of_ada = st.sampled_from(
    [cash_of(ADA, 1), funding_of(ADA, 1), venue_of(ADA, 1, CASH_ASSET)]
)


def opened(keys: list[AccountKey]) -> dict[AccountKey, Account]:
    return {
        key: Account(id=AccountId(number), key=key, balance=ZERO, version=0)
        for number, key in enumerate(keys, start=1)
    }


@st.composite
def transfers(draw: st.DrawFn) -> list[Transfer]:
    made = []
    for _ in range(draw(st.integers(1, 12))):
        source, target = draw(
            st.tuples(accounts_of_ada, accounts_of_ada).filter(lambda pair: pair[0] != pair[1])
        )
        made.append(
            Transfer(cause=Cause.DEPOSIT, source=source, target=target, amount=draw(amounts))
        )
    return made


@given(transfers())
def test_every_posting_continues_where_the_account_was_left_and_all_sums_to_zero(
    made: list[Transfer],
) -> None:
    accounts = opened(keys_of(made))
    postings, changed = post(made, accounts)
    seen = dict(accounts)
    for transfer, posting in zip(made, postings, strict=True):
        assert posting.transfer is transfer
        for before, amount in (
            (posting.source, subtract(ZERO, transfer.amount)),
            (posting.target, transfer.amount),
        ):
            assert before == seen[before.key]
            seen[before.key] = Account(
                id=before.id,
                key=before.key,
                balance=add(before.balance, amount),
                version=before.version + 1,
            )
        total = ZERO
        for account in seen.values():
            total = add(total, account.balance)
        assert total == ZERO, "at every instant, not only at the end"
    assert changed == seen


@given(price=positive, later=positive, quantity=positive)
def test_buying_and_selling_leaves_nothing_held_and_the_venue_with_the_difference(
    price: Decimal, later: Decimal, quantity: Decimal
) -> None:
    cost, proceeds = cash_value(price, quantity), cash_value(later, quantity)
    if max(cost, proceeds) >= 10**10:
        return
    made = [
        *buying(user_id=ADA, epoch=1, symbol="BTCUSDT", order_id=OrderId(1), quantity=quantity,
                cost=cost),
        *selling(user_id=ADA, epoch=1, symbol="BTCUSDT", order_id=OrderId(1), quantity=quantity,
                 proceeds=proceeds),
    ]  # fmt: skip
    _, changed = post(made, opened(keys_of(made)))
    assert changed[holding_of(ADA, 1, "BTCUSDT")].balance == ZERO
    assert changed[venue_of(ADA, 1, "BTCUSDT")].balance == ZERO
    assert changed[cash_of(ADA, 1)].balance == subtract(proceeds, cost)
    assert changed[venue_of(ADA, 1, CASH_ASSET)].balance == subtract(cost, proceeds)
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for account in changed.values():
        sums[account.key.asset] = add(sums[account.key.asset], account.balance)
    assert set(sums.values()) == {ZERO}


@pytest.mark.parametrize(
    ("source", "target", "amount"),
    [
        (cash_of(ADA, 1), cash_of(ADA, 1), "1"),
        (cash_of(ADA, 1), cash_of(BOB, 1), "1"),
        (cash_of(ADA, 1), holding_of(ADA, 1, "BTCUSDT"), "1"),
        (cash_of(ADA, 1), funding_of(ADA, 1), "-1"),
        (cash_of(ADA, 1), funding_of(ADA, 1), "NaN"),
        (cash_of(ADA, 1), funding_of(ADA, 1), "1e-21"),
    ],
)
def test_a_transfer_that_would_not_balance_cannot_be_made(
    source: AccountKey, target: AccountKey, amount: str
) -> None:
    with pytest.raises(AssertionError):
        Transfer(cause=Cause.DEPOSIT, source=source, target=target, amount=Decimal(amount))
