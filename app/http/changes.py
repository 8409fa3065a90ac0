"""A change that a caller asked for: made once for each key, told after it is committed."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from app.db.connection import Connection
from app.db.errors import DatabaseBusy
from app.domain.access import ApiKeyId, Claim, CredentialKind
from app.domain.answers import Answer, KeyedRequest, RequestInProgress
from app.domain.errors import (
    Conflict,
    Forbidden,
    GoblinError,
    NotFound,
    Refused,
    Unauthenticated,
    Unavailable,
)
from app.domain.users import LockedUser, UserId
from app.http.dependencies import get_current_user, note_caller, sent_secret
from app.http.errors import goblin_error_body, status_of
from app.resources import Resources
from app.services.decisions import Decision, MoneyRequest
from app.services.once import Once
from app.services.settlement import Asked

KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        json_schema_extra={"pattern": f"^{KEY.pattern}$"},
        description="1 to 64 of A-Z a-z 0-9 _ -. The same key again gets the first answer.",
    ),
]


def answer(model: BaseModel, *, status: int = 200) -> Answer:
    """A successful answer, in the form it is sent and kept in."""
    return Answer(status=status, body=model.model_dump_json(exclude_none=True))


class Change:
    """What a route makes its change with; a dependency of every route that changes something.

    With a `claim` it is only known who the caller says they are: the desk finds out whether
    that is so, together with what else it asks the database.
    """

    def __init__(
        self, request: Request, user_id: UserId, key: str | None, *, claim: Claim | None = None
    ) -> None:
        self.user_id = user_id
        self.resources: Resources = request.app.state.resources
        self.request_id: str = request.state.request_id
        self._request = request
        self._key = key
        self._claim = claim

    async def confirm(self) -> None:
        """Find out who asks, where nobody has yet. Raises kinds of Unauthenticated."""
        if self._claim is not None:
            await get_current_user(self._request)
            self._claim = None

    async def run(
        self,
        work: Callable[[Connection, LockedUser], Awaitable[Answer]],
        *,
        body: BaseModel | None = None,
    ) -> Response:
        """Do the work in one transaction under the user's lock, or answer as the first time."""
        return await self._respond(await self._once(self._keyed(body, None)).run(work))

    async def settle(
        self,
        request: MoneyRequest,
        respond: Callable[[Decision], Answer],
        *,
        body: BaseModel | None = None,
    ) -> Response:
        """Move money, in one commit with whoever else asks for it now."""
        return await self._respond(await self._settle(request, respond, self._keyed(body, None)))

    async def settle_prepared(
        self,
        prepare: Callable[[], Awaitable[MoneyRequest]],
        respond: Callable[[Decision], Answer],
        *,
        body: BaseModel | None = None,
        fallback_key: str | None = None,
        order_action: str | None = None,
    ) -> Response:
        """The same, with something to do first that needs no transaction, as asking a venue.

        `fallback_key` stands in where no Idempotency-Key was sent. `order_action` is what the
        metrics call the change, if it is one of an order.
        """
        keyed = self._keyed(body, fallback_key)
        try:
            made = await self._prepare_and_settle(prepare, respond, keyed)
        except (Unauthenticated, Forbidden):
            raise
        except GoblinError as error:
            self._count(order_action, error.code)
            raise
        self._count(order_action, "replayed" if made.is_replayed else made.refusal or "done")
        return await self._respond(made)

    async def _prepare_and_settle(
        self,
        prepare: Callable[[], Awaitable[MoneyRequest]],
        respond: Callable[[Decision], Answer],
        keyed: KeyedRequest | None,
    ) -> Answer:
        try:
            request = await prepare()
        except GoblinError as error:
            await self.confirm()
            return await self._once(keyed).or_earlier(error)
        return await self._settle(request, respond, keyed)

    async def _settle(
        self,
        request: MoneyRequest,
        respond: Callable[[Decision], Answer],
        keyed: KeyedRequest | None,
    ) -> Answer:
        asked = Asked(
            request=request, claim=self._claim, keyed=keyed, respond=respond, refuse=self._refuse
        )
        try:
            made = await self.resources.desk.ask(asked)
        except (DatabaseBusy, RequestInProgress):  # the desk did not come to look at them
            raise
        except (Refused, NotFound, Conflict, Forbidden):
            self._note_caller()
            raise
        self._note_caller()
        return made

    def _note_caller(self) -> None:
        """The desk has decided something for them, so they are who they say they are."""
        if self._claim is None:
            return
        credential, self._claim = self._claim.credential, None
        note_caller(self._request, self.user_id, credential)
        if credential.kind is CredentialKind.API_KEY:
            self.resources.api_key_uses.note(ApiKeyId(credential.id), at=datetime.now(UTC))

    def _count(self, order_action: str | None, outcome: str) -> None:
        if order_action is not None:
            self.resources.metrics.order(order_action, outcome)

    def _keyed(self, body: BaseModel | None, fallback_key: str | None) -> KeyedRequest | None:
        key = self._key if self._key is not None else fallback_key
        if key is None:
            return None
        return KeyedRequest(
            user_id=self.user_id, key=key, fingerprint=_fingerprint(self._request, body)
        )

    def _once(self, keyed: KeyedRequest | None) -> Once:
        return Once(db=self.resources.db, user_id=self.user_id, keyed=keyed, refuse=self._refuse)

    def _refuse(self, error: GoblinError) -> Answer:
        return Answer(
            status=status_of(type(error)),
            body=goblin_error_body(error, self.request_id),
            refusal=error.code,
        )

    async def _respond(self, made: Answer) -> Response:
        headers = {}
        if made.is_replayed:
            headers["Idempotent-Replayed"] = "true"
        else:
            self.resources.events.wake(self.user_id)
        return Response(
            made.body, status_code=made.status, headers=headers, media_type="application/json"
        )


def _fingerprint(request: Request, body: BaseModel | None) -> bytes:
    """SHA-256 of what was asked, the same for 1.0 and 1.00 and for any order of members."""
    asked = [
        request.method,
        request.url.path.rstrip("/"),
        sorted(request.query_params.multi_items()),
        None if body is None else body.model_dump(),
    ]
    canonical = json.dumps(_canonical(asked), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).digest()


def _canonical(value: object) -> object:
    """JSON that is the same for equal values and for no others."""
    match value:
        case dict():
            return {name: _canonical(member) for name, member in value.items()}
        case list() | tuple():
            return [_canonical(member) for member in value]
        case bool() | None | str():
            return value
        case int() | Decimal():
            return {"number": _shortest(Decimal(value))}
        case _:
            return str(value)


def _shortest(value: Decimal) -> list[str | int]:
    """Sign, significant digits and power of ten: written out, 1e-999999999 would fill memory."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "JSON has no NaN"
    significant = "".join(map(str, digits)).rstrip("0")
    if not significant:
        return [0, "", 0]  # not an empty list, which anybody can send
    return [sign, significant, exponent + len(digits) - len(significant)]


async def get_change(request: Request, _: IdempotencyKey = None) -> Change:
    """The change that this request asks for. Raises a kind of Unauthenticated.

    The key is looked at here and not by its type: 401 comes before any complaint.
    """
    user = await get_current_user(request)
    return Change(request, user.id, _sent_key(request))


async def get_money_change(request: Request, _: IdempotencyKey = None) -> Change:
    """The same for money, which the desk moves."""
    return await get_change(request)


async def claim_money_change(request: Request) -> Change:
    """The same where nothing complains before the function is called (`http/short_way`).

    Whether the user and the session or key are still in force is left to the desk. Raises
    what is known without the database.
    """
    claim = request.app.state.resources.authenticator.claim(sent_secret(request))
    if claim is None:
        return await get_change(request)
    try:
        key = _sent_key(request)
    except RequestValidationError:
        await get_current_user(request)
        raise
    change = Change(request, claim.user_id, key, claim=claim)
    request.state.claimed = change
    return change


async def error_for_the_caller(request: Request, error: Exception) -> Exception:
    """What is said instead of an error to somebody who turns out to have no right to hear it.

    Whoever was not authenticated is told so anyway, and 503 says nothing of anybody.
    """
    claimed: Change | None = getattr(request.state, "claimed", None)
    if claimed is not None and not isinstance(error, Unauthenticated | Unavailable):
        try:
            await claimed.confirm()
        except GoblinError as stranger:
            return stranger
    return error


def _sent_key(request: Request) -> str | None:
    """The Idempotency-Key. Raises RequestValidationError."""
    keys = request.headers.getlist("Idempotency-Key")
    key = keys[0] if keys else None
    is_repeated = len(set(keys)) > 1
    if key is not None and (is_repeated or KEY.fullmatch(key) is None):
        problem = (
            "expected one key, not two"
            if is_repeated
            else f"String should match pattern '^{KEY.pattern}$'"
        )
        where = ("header", "Idempotency-Key")
        raise RequestValidationError(
            [{"loc": where, "msg": problem, "type": "string_pattern_mismatch"}]
        )
    return key


ChangeOf = Annotated[Change, Depends(get_change)]
MoneyChangeOf = Annotated[Change, Depends(get_money_change)]
