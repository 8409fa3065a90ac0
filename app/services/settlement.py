"""Deciding and writing a batch of money requests.

However long the batch is, it is read with one statement and written with one. What is written
takes effect only where nobody has changed the users since they were read, so that no lock is
needed in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from app.db.connection import Connection
from app.db.dao.grounds import Ground, get_ground
from app.domain.access import Claim, Scope, ScopeRequired, admit
from app.domain.answers import Answer, KeptAnswer, KeyedRequest, KeyReused
from app.domain.errors import Conflict, Forbidden, GoblinError, NotFound, Refused, Unauthenticated
from app.domain.users import UserGone, UserId
from app.services.booking import book
from app.services.decisions import (
    Books,
    Closing,
    Decision,
    MoneyRequest,
    Opening,
    accounts_of,
    decide,
)

Verdict: TypeAlias = Answer | GoblinError


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for money to move, and how its outcome is put into words.

    With a `claim` nobody has yet asked the database whether it is true; without one the caller
    is known.
    """

    request: MoneyRequest
    claim: Claim | None = None
    keyed: KeyedRequest | None
    respond: Callable[[Decision], Answer]
    refuse: Callable[[GoblinError], Answer]


async def settle(conn: Connection, batch: Sequence[Asked]) -> list[Verdict]:
    """One verdict for each, in order; no key occurs twice in the batch.

    A refusal is its own request's alone. With a key it is an answer like any other, and kept;
    what says nothing about the request is not. Raises Overtaken, and then nothing is written,
    when a user of the batch was changed meanwhile: impossible where the caller has locked them.
    """
    if not batch:
        return []
    ground = await _ground(conn, batch)
    order_ids = iter(ground.order_ids)
    books = {
        user_id: Books(
            holder=holder,
            at=ground.at,
            accounts=ground.accounts,
            active_orders=ground.active_orders,
            used_client_order_ids=ground.used_client_order_ids,
            order_ids=order_ids,
            balance=holder.user.balance,
        )
        for user_id, holder in ground.users.items()
    }
    judged = [_judge(asked, ground, books) for asked in batch]
    decisions = [decision for _, decision in judged if decision is not None]
    kept = [
        KeptAnswer(keyed=asked.keyed, answer=verdict)
        for asked, (verdict, _) in zip(batch, judged, strict=True)
        if asked.keyed is not None and isinstance(verdict, Answer) and not verdict.is_replayed
    ]
    writers = {decision.movement.user_id for decision in decisions} | {
        k.keyed.user_id for k in kept
    }
    if writers:
        await book(
            conn,
            locked={user_id: ground.users[user_id] for user_id in writers},
            movements=[decision.movement for decision in decisions],
            known=ground.accounts,
            at=ground.at,
            opened=[d.opened for d in decisions if d.opened is not None],
            closed=[d.closed for d in decisions if d.closed is not None],
            kept=kept,
        )
    return [verdict for verdict, _ in judged]


def _judge(
    asked: Asked, ground: Ground, books: Mapping[UserId, Books]
) -> tuple[Verdict, Decision | None]:
    """What to answer, and what to write for it."""
    keyed = asked.keyed
    if asked.request.user_id not in books:
        return UserGone(), None
    try:
        _admit(asked.claim, ground)
    except (Unauthenticated, Forbidden) as stranger:
        return stranger, None
    stored = None if keyed is None else ground.stored_answers.get((keyed.user_id, keyed.key))
    if keyed is not None and stored is not None:
        is_same = stored.fingerprint == keyed.fingerprint
        return stored.answer if is_same else KeyReused(keyed.key), None
    try:
        decision = decide(asked.request, books[asked.request.user_id])
    except (Refused, NotFound, Conflict) as refusal:
        return refusal if keyed is None else asked.refuse(refusal), None
    except GoblinError as error:
        return error, None
    return asked.respond(decision), decision


def _admit(claim: Claim | None, ground: Ground) -> None:
    """Raise a kind of Unauthenticated or ScopeRequired unless the caller may trade."""
    if claim is not None and Scope.TRADE not in admit(claim, ground.standings.get(claim)):
        raise ScopeRequired(Scope.TRADE)


async def _ground(conn: Connection, batch: Sequence[Asked]) -> Ground:
    requests = [asked.request for asked in batch]
    openings = [request for request in requests if isinstance(request, Opening)]
    accounts = dict.fromkeys(account for request in requests for account in accounts_of(request))
    return await get_ground(
        conn,
        user_ids=list({request.user_id for request in requests}),
        accounts=list(accounts),
        order_count=len(openings),
        closings=[
            (request.user_id, request.symbol)
            for request in requests
            if isinstance(request, Closing)
        ],
        client_order_ids=[
            (opening.user_id, opening.client_order_id)
            for opening in openings
            if opening.client_order_id is not None
        ],
        keyed=[asked.keyed for asked in batch if asked.keyed is not None],
        claims=[asked.claim for asked in batch if asked.claim is not None],
    )
