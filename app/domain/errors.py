"""The kinds of error that goblin can answer with.

GoblinError
├── Unauthenticated      who are you?                     401
├── Forbidden            known, and not allowed to        403
├── NotFound             it does not exist for the caller 404
├── Refused              understood, but a rule says no   400
├── Conflict             another request is in the way    409
├── NotAcceptable        not in a form that was asked for 406
├── Invalid              the request cannot be understood 422
├── TooManyRequests      wait, then ask again             429
├── UpstreamUnavailable  the venue cannot be asked        503
├── UpstreamInvalid      the venue's answer is no price   502
└── Unavailable          goblin itself cannot answer now  503

A leaf lives beside the rule that it guards, has a stable snake_case `code` (part of the
contract) and carries its data as attributes. `str(error)` is the text for the client; it
never holds a secret or a venue's own words.
"""

from typing import ClassVar


class GoblinError(Exception):
    """Anything that goblin answers on purpose. `code` is stable, the text is for people.

    `retry_after_seconds` is what a caller is told to wait where waiting helps (503).
    """

    code: ClassVar[str]
    retry_after_seconds: int = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unauthenticated(GoblinError):
    """The caller did not prove who they are."""

    code = "unauthenticated"


class Forbidden(GoblinError):
    """The caller is known, and what they sent does not allow this."""

    code = "forbidden"


class NotFound(GoblinError):
    """It does not exist, or belongs to somebody else, which is the same to the caller."""

    code = "not_found"


class Refused(GoblinError):
    """Understood, and a rule of the sandbox says no. Nothing was changed."""

    code = "refused"


class NotAcceptable(GoblinError):
    """The answer does not come in any of the forms that the caller accepts."""

    code = "not_acceptable"


class Conflict(GoblinError):
    """Another request stands in the way; the same request may succeed later."""

    code = "conflict"


class Invalid(GoblinError):
    """A value that no state of the system would accept, and `where` in the request it stands."""

    code = "validation_error"
    where: tuple[str, ...] = ("body",)


class TooManyRequests(GoblinError):
    """The caller asked too often and has to wait `retry_after_seconds`."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamUnavailable(GoblinError):
    """The venue could not be asked: unreachable, too slow, limited, or failing."""

    code = "upstream_unavailable"

    def __init__(self, venue: str) -> None:
        super().__init__(f"{venue} API connection failed")
        self.venue = venue


class UpstreamInvalid(GoblinError):
    """The venue answered something that cannot be trusted as a price."""

    code = "upstream_invalid"

    def __init__(self, venue: str) -> None:
        super().__init__(f"Invalid response from {venue} API")
        self.venue = venue


class Unavailable(GoblinError):
    """Goblin itself cannot answer now, for example because its database is away."""

    code = "service_unavailable"
