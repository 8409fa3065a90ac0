import pytest
from app.replay.clock import ReplayClock, iso_time, parse_instant_ms
from app.replay.errors import WrongTime

JUNE_MS = 1_748_736_000_000
SECOND_NS = 10**9


class Stopwatch:
    """Real time that a test turns."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def clock(
    stopwatch: Stopwatch, *, speed: float = 1, start_ms: int = 1000, last_ms: int | None = None
) -> ReplayClock:
    return ReplayClock(start_ms, last_ms=last_ms, speed=speed, monotonic_ns=stopwatch)


@pytest.mark.parametrize(("speed", "passed_ms"), [(1, 2000), (600, 1_200_000), (0.5, 1000), (0, 0)])
def test_time_passes_at_the_given_speed(speed: float, passed_ms: int) -> None:
    stopwatch = Stopwatch()
    running = clock(stopwatch, speed=speed)
    stopwatch.now_ns = 2 * SECOND_NS
    assert running.now_ms() == 1000 + passed_ms


def test_a_clock_of_speed_zero_moves_only_when_told() -> None:
    stopwatch = Stopwatch()
    stepped = clock(stopwatch, speed=0)
    stopwatch.now_ns = 60 * SECOND_NS
    stepped.advance(59_999)
    assert stepped.now_ms() == 60_999
    stepped.set(5)
    assert stepped.now_ms() == 5


def test_a_change_of_speed_loses_no_time() -> None:
    stopwatch = Stopwatch()
    running = clock(stopwatch)
    stopwatch.now_ns = 3 * SECOND_NS
    running.set_speed(10)
    assert running.now_ms() == 4000
    stopwatch.now_ns = 4 * SECOND_NS
    assert running.now_ms() == 14_000


def test_the_clock_stops_where_the_recording_ends() -> None:
    stopwatch = Stopwatch()
    running = clock(stopwatch, speed=10_000, last_ms=9999)
    stopwatch.now_ns = 60 * SECOND_NS
    assert running.now_ms() == 9999
    running.advance(1)
    assert running.now_ms() == 9999
    running.set(10**10)
    assert running.now_ms() == 9999


@pytest.mark.parametrize("speed", [-1, 10_001, float("nan"), float("inf")])
def test_an_impossible_speed_is_refused_and_changes_nothing(speed: float) -> None:
    with pytest.raises(WrongTime, match="speed is a number from 0"):
        clock(Stopwatch(), speed=speed)
    running = clock(Stopwatch(), speed=2)
    with pytest.raises(WrongTime):
        running.set_speed(speed)
    assert running.speed == 2


def test_the_clock_does_not_leave_the_calendar_or_advance_backwards() -> None:
    stepped = clock(Stopwatch(), speed=0)
    for instant_ms in (-1, 10**15):
        with pytest.raises(WrongTime, match="1970"):
            stepped.set(instant_ms)
    with pytest.raises(WrongTime, match="use set"):
        stepped.advance(-1)
    assert stepped.now_ms() == 1000


@pytest.mark.parametrize(
    "text",
    [
        JUNE_MS,
        str(JUNE_MS),
        "2025-06-01",
        "2025-06-01T00:00Z",
        "2025-06-01T02:00+02:00",
        "2025-06-01 00:00:00",
    ],
)
def test_one_instant_can_be_written_in_many_ways(text: object) -> None:
    assert parse_instant_ms(text) == JUNE_MS


@pytest.mark.parametrize("text", ["soon", "", None, True, 1.5, [], "9" * 5000])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(WrongTime, match="2025-06-01T00:00Z"):
        parse_instant_ms(text)


def test_times_are_shown_with_their_milliseconds() -> None:
    assert iso_time(JUNE_MS + 59_999) == "2025-06-01T00:00:59.999Z"
