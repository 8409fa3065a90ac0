"""Who may open an account, and who becomes the administrator by it."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.errors import Forbidden, NotFound, Refused


class RegistrationMode(StrEnum):
    """Who may register: anybody, nobody, or only the first user of the installation."""

    OPEN = "open"
    CLOSED = "closed"
    FIRST = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The rule of this process."""

    mode: RegistrationMode
    makes_administrator: bool = True
    """Whether the first user becomes the administrator; not so while --demo walks through."""


class RegistrationClosed(Forbidden):
    """The owner of the installation lets nobody else in."""

    code = "registration_closed"

    def __init__(self) -> None:
        super().__init__("registration is closed: ask the owner of this installation")


class UserNotFound(NotFound):
    """No user has this id; only an administrator is told."""

    code = "user_not_found"

    def __init__(self, user_id: int) -> None:
        super().__init__(f"User with id {user_id} not found")
        self.user_id = user_id


class LastAdministrator(Refused):
    """Nobody could enable anybody afterwards."""

    code = "last_administrator"

    def __init__(self) -> None:
        super().__init__("the last active administrator cannot be disabled")
