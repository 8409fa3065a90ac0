from datetime import UTC, datetime, timedelta

import pytest
from app.domain.attempts import (
    LOGINS,
    TooManyLogins,
    TooManyRegistrations,
    Tries,
    origin_of,
    registrations,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def tries(count: int, *, of_account: bool, seconds_ago: float = 60) -> Tries:
    first_at = NOW - timedelta(seconds=seconds_ago)
    return Tries(is_of_account=of_account, count=count, first_at=first_at, at=NOW)


def test_ten_failures_for_an_account_and_a_hundred_for_an_address_are_allowed() -> None:
    LOGINS.require_room([])
    LOGINS.require_room([tries(10, of_account=True), tries(100, of_account=False)])


@pytest.mark.parametrize(
    "too_many", [tries(11, of_account=True), tries(101, of_account=False)], ids=str
)
def test_one_more_waits_until_the_oldest_is_fifteen_minutes_old(too_many: Tries) -> None:
    with pytest.raises(TooManyLogins, match="try again in 840 seconds") as refused:
        LOGINS.require_room([tries(1, of_account=True), too_many, tries(1, of_account=False)])
    assert refused.value.retry_after_seconds == 840


def test_the_wait_is_in_whole_seconds_and_never_none() -> None:
    for seconds_ago, expected in ((899.999, 1), (900, 1), (898.5, 2), (0, 900)):
        with pytest.raises(TooManyLogins) as refused:
            LOGINS.require_room([tries(11, of_account=True, seconds_ago=seconds_ago)])
        assert refused.value.retry_after_seconds == expected


def test_whoever_waits_for_two_reasons_waits_for_the_longer() -> None:
    with pytest.raises(TooManyLogins) as refused:
        LOGINS.require_room(
            [
                tries(11, of_account=True, seconds_ago=800),
                tries(101, of_account=False, seconds_ago=700),
            ]
        )
    assert refused.value.retry_after_seconds == 200


def test_registrations_are_counted_by_the_hour() -> None:
    registrations(20).require_room([tries(20, of_account=False)])
    with pytest.raises(TooManyRegistrations) as refused:
        registrations(20).require_room([tries(21, of_account=False)])
    assert refused.value.retry_after_seconds == 3540


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("fe80::1", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_address_counts_as_the_network_that_one_customer_has(
    address: str, origin: str
) -> None:
    assert origin_of(address) == origin
