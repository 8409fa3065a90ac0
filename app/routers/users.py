"""The caller's own account and its paper cash."""

from fastapi import Response

from app.db.connection import Connection
from app.domain.answers import Answer
from app.domain.audit import LedgerStopped
from app.domain.ledger import BeforeTheLedger
from app.domain.users import BalanceLimitExceeded, InsufficientBalance, LockedUser
from app.http.changes import ChangeOf, MoneyChangeOf, answer
from app.http.dependencies import AsOf, CurrentUser, ResourcesOf
from app.http.routing import Router
from app.schemas.common import StandardResponse
from app.schemas.users import Movement, Reset, UserOut
from app.services import accounts
from app.services.decisions import Decision, Deposit, Withdrawal

router = Router(prefix="/users", tag="users")


@router.endpoint("GET", "/me", summary="My account", errors=(BeforeTheLedger,))
async def get_me(
    user: CurrentUser, resources: ResourcesOf, as_of: AsOf = None
) -> StandardResponse[UserOut]:
    """The account and its balance, now or as it was at an instant."""
    if as_of is not None:
        user = await accounts.get_user_at(resources.db, user=user, at=as_of)
    return StandardResponse(data=UserOut.of(user))


@router.change(
    "POST",
    "/me/deposit",
    summary="Deposit",
    errors=(BalanceLimitExceeded, LedgerStopped),
    response_model=StandardResponse[UserOut],
)
async def deposit(body: Movement, change: MoneyChangeOf) -> Response:
    """Add paper cash."""
    request = Deposit(user_id=change.user_id, amount=body.amount, request_id=change.request_id)
    return await change.settle(request, _balance, body=body)


@router.change(
    "POST",
    "/me/withdraw",
    summary="Withdraw",
    errors=(InsufficientBalance, LedgerStopped),
    response_model=StandardResponse[UserOut],
)
async def withdraw(body: Movement, change: MoneyChangeOf) -> Response:
    """Take paper cash out."""
    request = Withdrawal(user_id=change.user_id, amount=body.amount, request_id=change.request_id)
    return await change.settle(request, _balance, body=body)


@router.change(
    "POST",
    "/me/reset",
    summary="Begin anew",
    errors=(LedgerStopped,),
    response_model=StandardResponse[UserOut],
)
async def reset(body: Reset, change: ChangeOf) -> Response:
    """Begin a new epoch with this balance; the old one stays readable with ?epoch=."""

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        user = await accounts.reset(
            conn, locked, balance=body.balance, request_id=change.request_id
        )
        return answer(StandardResponse(data=UserOut.of(user)))

    return await change.run(work, body=body)


def _balance(decision: Decision) -> Answer:
    return answer(StandardResponse(data=UserOut.of(decision.user)))
