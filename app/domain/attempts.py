"""How often somebody may try a password, or register, until they have to wait.

An attempt counts for the origin it comes from, and a login also for the account it is about
and this origin: whoever guesses at an account from elsewhere does not lock its owner out.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import ceil
from typing import Final

from app.domain.errors import TooManyRequests

WINDOW_MAX: Final = timedelta(hours=1)
"""After it no attempt counts any more."""

IPV6_PREFIX_BITS: Final = 64
"""What one customer gets at least: everybody has 2^64 addresses to come from."""


class Purpose(StrEnum):
    """What was attempted."""

    LOGIN = "login"
    REGISTRATION = "registration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """The attempts of the latest window, the one that is being made included."""

    is_of_account: bool
    """Whether they are about one account; else they are all of the origin's."""
    count: int
    first_at: datetime
    at: datetime


class TooManyLogins(TooManyRequests):
    """10 failed logins to one account from one address in 15 minutes, or 100 from one address."""

    code = "too_many_logins"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            f"too many failed logins: try again in {retry_after_seconds} seconds",
            retry_after_seconds=retry_after_seconds,
        )


class TooManyRegistrations(TooManyRequests):
    """As many registrations from one address as REGISTRATIONS_PER_HOUR allows."""

    code = "too_many_registrations"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            f"too many registrations: try again in {retry_after_seconds} seconds",
            retry_after_seconds=retry_after_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many attempts of a kind a window may have."""

    purpose: Purpose
    window: timedelta
    per_origin_max: int
    per_account_max: int | None = None
    """From one origin; None where attempts are not about an account."""
    refusal: Callable[[int], TooManyRequests]

    def require_room(self, tries: Iterable[Tries]) -> None:
        """Raise the refusal unless this attempt may be made, with the seconds until one may."""
        seconds = max((self._seconds_to_wait(each) for each in tries), default=0)
        if seconds:
            raise self.refusal(seconds)

    def _seconds_to_wait(self, tries: Tries) -> int:
        most = self.per_account_max if tries.is_of_account else self.per_origin_max
        assert most is not None, "nothing is counted for accounts"
        if tries.count <= most:
            return 0
        return max(1, ceil((tries.first_at + self.window - tries.at).total_seconds()))


LOGINS: Final = Limit(
    purpose=Purpose.LOGIN,
    window=timedelta(minutes=15),
    per_origin_max=100,
    per_account_max=10,
    refusal=TooManyLogins,
)
"""Of failures; a login that succeeds is not counted."""


def registrations(per_hour_max: int) -> Limit:
    """The limit on registrations, whatever becomes of them."""
    return Limit(
        purpose=Purpose.REGISTRATION,
        window=WINDOW_MAX,
        per_origin_max=per_hour_max,
        refusal=TooManyRegistrations,
    )


def origin_of(address: str) -> str:
    """What attempts from an address are counted by; a text that is no address is its own."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        return str(IPv6Network((int(known), IPV6_PREFIX_BITS), strict=False))
    return str(known)
