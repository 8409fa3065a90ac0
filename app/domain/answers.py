"""The first answer to a request that carried a key, for whoever asks again."""

from dataclasses import dataclass
from typing import Final

from app.domain.errors import Conflict, Invalid
from app.domain.users import UserId

CLIENT_ORDER_KEY: Final = "order:"
"""How the key begins that a client_order_id stands for: no header's key can have a colon."""


class KeyReused(Invalid):
    """The key belongs to another request."""

    code = "idempotency_key_reused"
    where = ("header", "Idempotency-Key")

    def __init__(self, key: str) -> None:
        if key.startswith(CLIENT_ORDER_KEY):
            self.where = ("body", "client_order_id")
            super().__init__("this client_order_id was used for a different order: choose another")
        else:
            super().__init__(
                "this Idempotency-Key was used for a different request: choose another"
            )


class RequestInProgress(Conflict):
    """The first request with this key is still running."""

    code = "request_in_progress"

    def __init__(self) -> None:
        super().__init__("the first request with this key is still running: ask again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP status and a JSON body, as they were or will be sent.

    `refusal` is the error's code in the first answer that says no.
    """

    status: int
    body: str
    is_replayed: bool = False
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A key, and the SHA-256 of what was asked under it."""

    user_id: UserId
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What was asked under a key, and how it was answered."""

    fingerprint: bytes
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer to be stored in the transaction of its effect."""

    keyed: KeyedRequest
    answer: Answer
