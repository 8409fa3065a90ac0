"""What a program proves with who it acts for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.domain.access import ApiKeyId, Scope
from app.domain.errors import NotFound, Refused

API_KEY_PREFIX: Final = "gob_"
API_KEYS_MAX: Final = 50
"""Of one user, expired ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key without its secret; `prefix` is the beginning of it, to recognise it by."""

    id: ApiKeyId
    name: str
    prefix: str
    scopes: Sequence[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class TooManyApiKeys(Refused):
    """The user has as many keys as is allowed."""

    code = "too_many_api_keys"

    def __init__(self) -> None:
        super().__init__(f"an account has at most {API_KEYS_MAX} API keys: delete one")


class ApiKeyNotFound(NotFound):
    """No key of the caller's has this id."""

    code = "api_key_not_found"

    def __init__(self, key_id: int) -> None:
        super().__init__(f"API key with id {key_id} not found")
        self.key_id = key_id
