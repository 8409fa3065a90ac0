"""What can go wrong, one class for each kind.

GoblinError
├── Refused          400  understood, but a rule says no
├── Unauthenticated  401  who are you?
├── Forbidden        403  known, and not allowed to
├── NotFound         404  it does not exist, or belongs to somebody else
├── NotAcceptable    406  not in a form that was asked for
├── Conflict         409  another request is in the way
├── Invalid          422  the request cannot be understood; `fields` says where
├── TooManyRequests  429  wait `retry_after_seconds`, then ask again
├── UpstreamInvalid  502  the venue's answer is no price
├── Unavailable      503  the server, its database or the venue cannot answer now
├── ServerError      500  a bug of the server, and whatever has no class of its own
├── BadAnswer             what answered is not goblin, or of another age
├── Unreachable           nothing answers at the address; nothing was done
├── ConnectionLost        the connection broke; a change may have been made, or not
└── NotConfigured         an environment variable is missing

`code` is stable and what programs decide on (docs/errors.md lists them); `message` is for
people; `request_id` is what the server's log knows the request by. No error holds a password,
a key or a token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from goblin.decoding import read_json

HOW_TO_MAKE_A_KEY: Final = (
    "client = goblin.Client(url); client.login(email, password) (client.register first if you "
    'have no account); print(client.create_api_key("my notebook").key)'
)
NOT_GOBLIN: Final = "does another program listen there?"
KEY_HINT: Final = (
    f'ask with goblin.Client(url, api_key="gob_..."); to make one: {HOW_TO_MAKE_A_KEY}'
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class GoblinError(Exception):
    """Anything that goblin or the way to it answers instead of what was asked for.

    `idempotency_key` is what the change was sent with: send it again with this key, and
    nothing happens twice.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int | None = None,
        request_id: str | None = None,
        fields: tuple[Problem, ...] = (),
        retry_after_seconds: float | None = None,
        hint: str = "",
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.fields = fields
        self.retry_after_seconds = retry_after_seconds
        self.hint = hint
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        text = f"{self.message}: {self.hint}" if self.hint else self.message
        about = ", ".join(
            filter(None, (self.code, self.request_id and f"request {self.request_id}"))
        )
        return f"{text} ({about})" if about else text


class Refused(GoblinError):
    """Understood, and a rule of the sandbox says no. Nothing was changed."""


class Unauthenticated(GoblinError):
    """No key, a wrong one, or one whose time is over."""


class Forbidden(GoblinError):
    """The key is good and does not allow this."""


class NotFound(GoblinError):
    """It does not exist, or belongs to somebody else."""


class NotAcceptable(GoblinError):
    """The answer does not come in the form that was asked for."""


class Conflict(GoblinError):
    """Another request stands in the way; nothing was changed."""


class Invalid(GoblinError):
    """The request cannot be understood; `fields` says what is wrong with which member."""


class TooManyRequests(GoblinError):
    """Too often; the client has waited and tried again as often as it may."""


class UpstreamInvalid(GoblinError):
    """The venue answered something that is no price."""


class Unavailable(GoblinError):
    """The server, its database or the venue cannot answer now."""


class ServerError(GoblinError):
    """A bug of the server; its log has the details under `request_id`."""


class BadAnswer(GoblinError):
    """What answered is not goblin, or of an age that this client does not know."""


class Unreachable(GoblinError):
    """Nothing answers at the address; nothing was sent."""


class ConnectionLost(GoblinError):
    """The connection broke before the answer was here; a change may have been made, or not."""


class NotConfigured(GoblinError):
    """An environment variable is missing."""


KIND_OF: Final[Mapping[int, type[GoblinError]]] = {
    400: Refused,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    406: NotAcceptable,
    409: Conflict,
    422: Invalid,
    429: TooManyRequests,
    502: UpstreamInvalid,
    503: Unavailable,
}
OF_A_PROXY: Final[Mapping[int, type[GoblinError]]] = {
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
"""What stands in front of goblin has its own words for "later"."""


def error_of(
    *,
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    where: str,
    now: float,
    has_credentials: bool,
    idempotency_key: str | None,
) -> GoblinError:
    """The error that an answer stands for; `where` names the request, `now` is in Unix seconds."""
    wait = _seconds(headers.get("Retry-After"), now)
    envelope = _envelope(content)
    if envelope is None:
        location = headers.get("Location")
        return OF_A_PROXY.get(status, BadAnswer)(
            f"{where} answered {status} with {headers.get('Content-Type', 'nothing')}, which is "
            f"not goblin's: {NOT_GOBLIN if location is None else f'it leads to {location}'}",
            status=status,
            retry_after_seconds=wait,
            idempotency_key=idempotency_key,
        )
    meta, detail = envelope["meta"], envelope.get("detail")
    unknown = Refused if status < 500 else ServerError  # noqa: PLR2004 - HTTP
    return KIND_OF.get(status, unknown)(
        envelope["message"],
        code=meta["code"],
        status=status,
        request_id=meta.get("request_id"),
        fields=_problems(detail),
        retry_after_seconds=wait,
        hint="" if has_credentials or meta["code"] != "not_authenticated" else KEY_HINT,
        idempotency_key=idempotency_key,
    )


def _envelope(content: bytes) -> Any:
    try:
        found = read_json(content)
    except ValueError:
        return None
    is_ours = isinstance(found, dict) and isinstance(found.get("meta"), dict)
    return found if is_ours and "message" in found and "code" in found["meta"] else None


def _problems(detail: Any) -> tuple[Problem, ...]:
    if not isinstance(detail, list):
        return ()
    return tuple(Problem(tuple(d["loc"]), d["msg"], d["type"]) for d in detail)


def _seconds(text: str | None, now: float) -> float | None:
    """Retry-After, which is seconds or a date (RFC 9110, section 10.2.3)."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None
