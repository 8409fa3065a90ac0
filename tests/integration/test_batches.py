"""Money use cases are batch first: one verdict for each request, in order."""

from decimal import Decimal

from app.db.dao import users
from app.domain.errors import GoblinError
from app.domain.instruments import Symbol
from app.domain.orders import ActiveOrderExists, ClientOrderIdUsed, OrderNotFound
from app.domain.users import BalanceLimitExceeded, InsufficientBalance, UserId
from app.services.decisions import Closing, Decision, Opening
from tests.conftest import Installation, new_person
from tests.integration.books import priced, settle_all


def opening(
    user_id: UserId, symbol: str, quantity: str, price: str = "10", client: str | None = None
) -> Opening:
    return Opening(
        user_id=user_id,
        symbol=Symbol(symbol),
        quantity=Decimal(quantity),
        priced=priced(symbol, price),
        request_id="batch",
        client_order_id=client,
    )


def kinds(verdicts: list[Decision | GoblinError]) -> list[type]:
    return [type(verdict) for verdict in verdicts]


async def test_one_refusal_in_a_batch_never_touches_its_neighbours(
    installation: Installation,
) -> None:
    rich = await new_person(installation, balance="100")
    poor = await new_person(installation, balance="5")
    async with installation.resources.db.transaction() as conn:
        verdicts = await settle_all(
            conn,
            [
                opening(rich.user.id, "AAA", "3", client="one"),
                opening(poor.user.id, "AAA", "1"),
                opening(rich.user.id, "AAA", "1"),
                opening(rich.user.id, "BBB", "1", client="one"),
                opening(rich.user.id, "BBB", "8"),
                opening(poor.user.id, "BBB", "0.5"),
                opening(rich.user.id, "BBB", "7"),
            ],
        )
    assert kinds(verdicts) == [
        Decision,
        InsufficientBalance,
        ActiveOrderExists,
        ClientOrderIdUsed,
        InsufficientBalance,
        Decision,
        Decision,
    ]
    assert await rich.balance() == 0
    assert await poor.balance() == 0

    async with installation.resources.db.transaction() as conn:
        closed = await settle_all(
            conn,
            [
                Closing(user_id=user_id, symbol=Symbol(symbol), priced=quote, request_id="batch")
                for user_id, symbol, quote in (
                    (rich.user.id, "AAA", priced("AAA", "20")),
                    (rich.user.id, "AAA", priced("AAA", "20")),
                    (poor.user.id, "AAA", priced("AAA", "20")),
                    (rich.user.id, "BBB", priced("BBB", "9999999999")),
                    (poor.user.id, "BBB", priced("BBB", "30")),
                )
            ],
        )
    assert kinds(closed) == [Decision, OrderNotFound, OrderNotFound, BalanceLimitExceeded, Decision]
    assert await rich.balance() == 60
    assert await poor.balance() == 15
    for person in (rich, poor):
        await person.client.aclose()


async def test_a_batch_of_refusals_writes_nothing(installation: Installation) -> None:
    poor = await new_person(installation)
    async with installation.resources.db.transaction() as conn:
        locked = await users.lock_users(conn, user_ids=[poor.user.id])
        assert kinds(await settle_all(conn, [opening(poor.user.id, "AAA", "1")])) == [
            InsufficientBalance
        ]
        closing = Closing(
            user_id=poor.user.id,
            symbol=Symbol("AAA"),
            priced=priced("AAA", "1"),
            request_id="batch",
        )
        assert kinds(await settle_all(conn, [closing])) == [OrderNotFound]
        again = await users.lock_users(conn, user_ids=[poor.user.id])
        assert again == locked, "no event, no balance, no epoch changed"
    await poor.client.aclose()
