"""When a venue is asked: the rules, without a venue and without a clock."""

import pytest
from app.domain.circuits import (
    FAILURES_MAX,
    PROBE_SECONDS,
    Circuit,
    CircuitState,
    PriceUnavailable,
)
from app.domain.errors import UpstreamUnavailable
from hypothesis import given
from hypothesis import strategies as st

CLOSED, OPEN, PROBING = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.PROBING


def failed(circuit: Circuit, times: int = 1, *, now: float = 0) -> Circuit:
    for _ in range(times):
        circuit = circuit.failed(now, turn=circuit.turn)
    return circuit


def opened(*, now: float = 0) -> Circuit:
    circuit = failed(Circuit(since=0), FAILURES_MAX, now=now)
    assert circuit.state is OPEN
    return circuit


def test_it_opens_at_the_fifth_failure_in_a_row_and_not_before() -> None:
    circuit = failed(Circuit(since=0), 4, now=7)
    assert (circuit.state, circuit.failures, circuit.seconds_to_wait(7)) == (CLOSED, 4, 0)
    circuit = failed(circuit, now=7)
    assert (circuit.state, circuit.failures, circuit.since) == (OPEN, 5, 7)
    assert circuit.seconds_to_wait(7) == 30


def test_one_success_makes_the_count_begin_again() -> None:
    circuit = failed(Circuit(since=0), 4)
    circuit = failed(circuit.succeeded(0, turn=circuit.turn), 4)
    assert (circuit.state, circuit.failures) == (CLOSED, 4)


def test_nobody_asks_for_thirty_seconds_and_then_one_does() -> None:
    circuit = opened(now=100)
    assert circuit.seconds_to_wait(129.1) == 1
    assert circuit.seconds_to_wait(130) == 0
    circuit = circuit.begun(130)
    assert (circuit.state, circuit.since) == (PROBING, 130)
    assert circuit.seconds_to_wait(130) > 0, "everybody else waits for the probe"
    assert circuit.seconds_to_wait(1000) > 0, "however long it takes"


def test_the_probes_success_closes_it() -> None:
    probing = opened().begun(PROBE_SECONDS)
    circuit = probing.succeeded(31, turn=probing.turn)
    assert (circuit.state, circuit.failures, circuit.since) == (CLOSED, 0, 31)
    assert circuit.seconds_to_wait(31) == 0


def test_the_probes_failure_is_another_thirty_seconds() -> None:
    probing = opened().begun(PROBE_SECONDS)
    circuit = probing.failed(40, turn=probing.turn)
    assert (circuit.state, circuit.failures, circuit.since) == (OPEN, 6, 40)
    assert circuit.seconds_to_wait(40) == 30


def test_a_probe_that_was_given_up_is_free_for_the_next() -> None:
    probing = opened().begun(PROBE_SECONDS)
    circuit = probing.abandoned(31, turn=probing.turn)
    assert (circuit.state, circuit.seconds_to_wait(31)) == (OPEN, 0)
    again = circuit.begun(31)
    assert again.failed(32, turn=probing.turn) == again, "the one given up has no say any more"


def test_giving_up_an_ordinary_call_changes_nothing() -> None:
    circuit = failed(Circuit(since=0), 4)
    assert circuit.abandoned(1, turn=circuit.turn) == circuit


def test_calls_that_were_on_their_way_when_it_opened_change_nothing_when_they_end() -> None:
    before = failed(Circuit(since=0), 4)
    for circuit in (failed(before), failed(before).begun(PROBE_SECONDS)):
        assert circuit.failed(31, turn=before.turn) == circuit
        assert circuit.succeeded(31, turn=before.turn) == circuit
        assert circuit.abandoned(31, turn=before.turn) == circuit
    probing = failed(before).begun(PROBE_SECONDS)
    closed = probing.succeeded(31, turn=probing.turn)
    assert closed.failed(60, turn=before.turn) == closed, "an old timeout is no new failure"


@pytest.mark.parametrize("state", list(CircuitState))
def test_a_venue_that_names_a_time_is_not_asked_before_it_whatever_the_state(
    state: CircuitState,
) -> None:
    circuit = {CLOSED: Circuit(since=0), OPEN: opened(), PROBING: opened().begun(30)}[state]
    circuit = circuit.paused(30, seconds=600)
    assert circuit.seconds_to_wait(30) == 600
    assert circuit.seconds_to_wait(629.5) == 1
    assert circuit.paused(31, seconds=2) == circuit, "a shorter wait does not end a longer one"
    assert circuit.failed(31, turn=circuit.turn).seconds_to_wait(31) == 599


def test_the_error_says_when_to_ask_again() -> None:
    error = PriceUnavailable("Bybit", 27)
    assert isinstance(error, UpstreamUnavailable)
    assert str(error) == error.message
    assert str(error) == "Bybit API connection failed: it is asked again in 27 seconds"
    assert error.retry_after_seconds == 27


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0, max_value=20),
            st.sampled_from(["begin", "succeed", "fail", "abandon", "pause"]),
            st.integers(min_value=0),
        ),
        max_size=60,
    )
)
def test_whatever_happens_at_most_one_probe_runs_and_no_pause_is_broken(
    happenings: list[tuple[float, str, int]],
) -> None:
    now, circuit, not_before = 0.0, Circuit(since=0), 0.0
    running: list[tuple[int, bool]] = []
    for passed, what, pick in happenings:
        now += passed
        if what == "begin":
            if circuit.seconds_to_wait(now) == 0:
                assert now >= not_before
                circuit = circuit.begun(now)
                running.append((circuit.turn, circuit.state is PROBING))
        elif what == "pause":
            circuit, not_before = (
                circuit.paused(now, seconds=pick % 50),
                max(not_before, now + pick % 50),
            )
        elif running:
            turn, _ = running.pop(pick % len(running))
            end = {"succeed": circuit.succeeded, "fail": circuit.failed}.get(
                what, circuit.abandoned
            )
            circuit = end(now, turn=turn)
        assert sum(is_probe for _, is_probe in running) <= 1
        assert (circuit.state is PROBING) == any(is_probe for _, is_probe in running)
        assert circuit.since <= now
