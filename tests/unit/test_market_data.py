import asyncio
import gc
from decimal import Decimal
from typing import Final

import pytest
from app.domain.circuits import CircuitState, VenueState
from app.domain.errors import Unavailable, UpstreamUnavailable
from app.domain.instruments import Category, Symbol, UnknownSymbol
from app.domain.quotes import Quote
from app.services.market_data import MarketData, PricedQuote

BTCUSDT = Symbol("BTCUSDT")
ETHUSDT = Symbol("ETHUSDT")
SPOT = Category.SPOT


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Venue:
    """A price source whose answers the test gives, one by one, to the calls in order."""

    venue: Final = "Fake"

    def __init__(self) -> None:
        self.asked: list[tuple[Symbol, Category]] = []
        self.cancelled = 0
        self._answers: list[asyncio.Future[str]] = []

    @property
    def state(self) -> VenueState:
        return VenueState(
            venue=self.venue,
            state=CircuitState.CLOSED,
            age_seconds=1.5,
            failures=0,
            retry_after_seconds=0,
        )

    async def fetch_quote(self, symbol: Symbol, category: Category) -> Quote:
        self.asked.append((symbol, category))
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        try:
            price = await answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Quote(
            venue=self.venue,
            symbol=symbol,
            category=category,
            price=Decimal(price),
            price_text=price,
            upstream_time_ms=1,
        )

    async def answer(self, call: int, price: str) -> None:
        self._answers[call].set_result(price)
        await settle()

    async def fail(self, call: int, error: Exception) -> None:
        self._answers[call].set_exception(error)
        await settle()


async def settle() -> None:
    """Let everything that can go on without the venue go on."""
    for _ in range(10):
        await asyncio.sleep(0)


class World:
    """Market data over a fake venue and a fake clock."""

    def __init__(
        self, age_seconds_max: float = 1.0, *, remembered_max: int = 1000, running_max: int = 1000
    ) -> None:
        self.clock = Clock()
        self.venue = Venue()
        self.market = MarketData(
            self.venue,
            price_age_seconds_max=age_seconds_max,
            monotonic=self.clock,
            symbols_remembered_max=remembered_max,
            calls_running_max=running_max,
        )

    async def ask(
        self, symbol: Symbol = BTCUSDT, category: Category = SPOT
    ) -> asyncio.Task[PricedQuote]:
        task = asyncio.create_task(self.market.quote(symbol, category))
        await settle()
        return task

    async def ask_and_answer(self, price: str, symbol: Symbol = BTCUSDT) -> PricedQuote:
        task = await self.ask(symbol)
        await self.venue.answer(-1, price)
        return await task


async def test_concurrent_requests_for_one_symbol_share_one_call() -> None:
    world = World()
    asking = [await world.ask() for _ in range(50)]
    await world.venue.answer(0, "65000.10")
    answers = await asyncio.gather(*asking)
    assert {str(answer.quote.price) for answer in answers} == {"65000.10"}
    assert len(world.venue.asked) == 1


async def test_another_symbol_and_another_category_are_asked_for_apart() -> None:
    world = World()
    asking = [
        await world.ask(BTCUSDT, SPOT),
        await world.ask(ETHUSDT, SPOT),
        await world.ask(BTCUSDT, Category.LINEAR),
    ]
    assert world.venue.asked == [
        (BTCUSDT, SPOT),
        (ETHUSDT, SPOT),
        (BTCUSDT, Category.LINEAR),
    ]
    for call, price in enumerate(("1", "2", "3")):
        await world.venue.answer(call, price)
    assert [str((await task).quote.price) for task in asking] == ["1", "2", "3"]


async def test_a_quote_younger_than_the_maximum_is_used_again() -> None:
    world = World(1.0)
    first = await world.ask_and_answer("1")
    world.clock.seconds += 0.99
    again = await world.market.quote(BTCUSDT, SPOT)
    assert again.quote is first.quote
    assert len(world.venue.asked) == 1


async def test_a_quote_as_old_as_the_maximum_is_never_used_again() -> None:
    world = World(1.0)
    await world.ask_and_answer("1")
    world.clock.seconds += 1.0
    assert (await world.ask_and_answer("2")).quote.price == 2


async def test_what_is_known_is_the_quote_that_would_be_told_without_asking_the_venue() -> None:
    world = World(1.0)
    assert world.market.known(BTCUSDT, SPOT) is None
    asking = await world.ask()
    assert world.market.known(BTCUSDT, SPOT) is None, "nobody has answered yet"
    await world.venue.answer(0, "1")
    first = await asking
    world.clock.seconds += 0.5
    known = world.market.known(BTCUSDT, SPOT)
    assert known == PricedQuote(quote=first.quote, age_seconds=0.5)
    assert known == await world.market.quote(BTCUSDT, SPOT)
    world.clock.seconds += 0.5
    assert world.market.known(BTCUSDT, SPOT) is None, "it is too old by now"
    assert len(world.venue.asked) == 1


async def test_the_age_counts_from_before_the_question_not_from_the_answer() -> None:
    world = World(1.0)
    task = await world.ask()
    world.clock.seconds += 0.75
    await world.venue.answer(0, "1")
    assert (await task).age_seconds == 0.75
    world.clock.seconds += 0.125
    assert (await world.market.quote(BTCUSDT, SPOT)).age_seconds == 0.875
    world.clock.seconds += 0.125
    second = await world.ask()
    assert len(world.venue.asked) == 2
    await world.venue.answer(1, "2")
    assert (await second).age_seconds == 0


async def test_a_slow_venue_still_answers_and_the_age_says_how_slow() -> None:
    world = World(1.0)
    task = await world.ask()
    world.clock.seconds += 9
    await world.venue.answer(0, "1")
    assert (await task).age_seconds == 9


async def test_nobody_joins_a_call_that_began_too_long_before_they_asked() -> None:
    world = World(1.0)
    early = await world.ask()
    world.clock.seconds += 1.0
    late = await world.ask()
    assert len(world.venue.asked) == 2
    await world.venue.answer(1, "2")
    assert (await late).quote.price == 2
    await world.venue.answer(0, "1")
    assert (await early).quote.price == 1
    assert (await world.market.quote(BTCUSDT, SPOT)).quote.price == 2


async def test_an_old_call_that_fails_does_not_forget_the_younger_answer() -> None:
    world = World(1.0)
    early = await world.ask()
    world.clock.seconds += 1.0
    await world.ask_and_answer("2")
    await world.venue.fail(0, UpstreamUnavailable("Fake"))
    with pytest.raises(UpstreamUnavailable):
        await early
    assert (await world.market.quote(BTCUSDT, SPOT)).quote.price == 2
    assert len(world.venue.asked) == 2


async def test_with_a_maximum_of_zero_every_caller_gets_a_call_of_their_own() -> None:
    world = World(0)
    asking = [await world.ask() for _ in range(3)]
    assert len(world.venue.asked) == 3
    for call, price in enumerate(("1", "2", "3")):
        await world.venue.answer(call, price)
    assert [str((await task).quote.price) for task in asking] == ["1", "2", "3"]
    await world.ask_and_answer("4")
    assert len(world.venue.asked) == 4


async def test_an_error_goes_to_all_who_wait_for_it_and_to_nobody_later() -> None:
    world = World()
    asking = [await world.ask() for _ in range(5)]
    await world.venue.fail(0, UnknownSymbol("BTCUSDT", SPOT))
    for task in asking:
        with pytest.raises(UnknownSymbol):
            await task
    assert (await world.ask_and_answer("1")).quote.price == 1
    assert len(world.venue.asked) == 2


async def test_a_caller_who_leaves_cancels_nothing_for_the_others() -> None:
    world = World()
    leaving, staying = await world.ask(), await world.ask()
    leaving.cancel()
    await settle()
    assert leaving.cancelled()
    await world.venue.answer(0, "1")
    assert (await staying).quote.price == 1
    assert world.venue.cancelled == 0


async def test_when_all_have_left_the_answer_serves_the_next() -> None:
    world = World()
    leaving = await world.ask()
    leaving.cancel()
    await settle()
    await world.venue.answer(0, "1")
    assert (await world.market.quote(BTCUSDT, SPOT)).quote.price == 1
    assert len(world.venue.asked) == 1


async def test_an_error_that_nobody_waits_for_is_not_complained_about() -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    handler_before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    gc.freeze()  # what tests before left behind is not looked at
    try:
        world = World()
        leaving = await world.ask()
        leaving.cancel()
        await settle()
        await world.venue.fail(0, UpstreamUnavailable("Fake"))
        assert (await world.ask_and_answer("1")).quote.price == 1
        del leaving, world  # and with them the failed call, which complains when it is collected
        gc.collect()
        await settle()
    finally:
        gc.unfreeze()
        loop.set_exception_handler(handler_before)
    assert complaints == []


async def test_memory_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    world = World(60, remembered_max=2)
    for number, symbol in enumerate(("A", "B", "C"), start=1):
        await world.ask_and_answer(str(number), Symbol(symbol))
    await world.market.quote(Symbol("B"), SPOT)
    await world.market.quote(Symbol("C"), SPOT)
    assert len(world.venue.asked) == 3
    await world.ask_and_answer("4", Symbol("A"))
    assert len(world.venue.asked) == 4


async def test_a_symbol_asked_for_anew_is_no_longer_the_oldest() -> None:
    world = World(1.0, remembered_max=2)
    await world.ask_and_answer("1", Symbol("A"))
    world.clock.seconds += 0.5
    await world.ask_and_answer("2", Symbol("B"))
    world.clock.seconds += 0.5
    await world.ask_and_answer("3", Symbol("A"))
    await world.ask_and_answer("4", Symbol("C"))
    assert (await world.market.quote(Symbol("A"), SPOT)).quote.price == 3
    assert len(world.venue.asked) == 4


async def test_a_call_that_was_forgotten_while_it_ran_still_answers_who_waits() -> None:
    world = World(60, remembered_max=1)
    first, second = await world.ask(BTCUSDT), await world.ask(ETHUSDT)
    await world.venue.fail(0, UpstreamUnavailable("Fake"))
    await world.venue.answer(1, "2")
    with pytest.raises(UpstreamUnavailable):
        await first
    assert (await second).quote.price == 2
    assert (await world.market.quote(ETHUSDT, SPOT)).quote.price == 2


async def test_calls_at_one_time_are_bounded_and_free_again_when_they_end() -> None:
    world = World(running_max=1)
    first = await world.ask(BTCUSDT)
    refused = await world.ask(ETHUSDT)
    with pytest.raises(UpstreamUnavailable):
        await refused
    await world.venue.answer(0, "1")
    await first
    assert (await world.ask_and_answer("2", ETHUSDT)).quote.price == 2


async def test_closing_cancels_what_runs_and_says_so_to_who_waits() -> None:
    world = World()
    waiting = [await world.ask(BTCUSDT), await world.ask(ETHUSDT)]
    await world.market.aclose()
    for task in waiting:
        with pytest.raises(Unavailable):
            await task
    assert world.venue.cancelled == 2
    with pytest.raises(Unavailable):
        await world.market.quote(BTCUSDT, SPOT)
    await world.market.aclose()


async def test_a_call_cancelled_before_it_began_is_told_too() -> None:
    world = World()
    waiting = asyncio.create_task(world.market.quote(BTCUSDT, SPOT))
    await asyncio.sleep(0)
    await world.market.aclose()
    with pytest.raises(Unavailable):
        await waiting


async def test_the_venues_state_can_be_read_without_asking_it() -> None:
    world = World()
    assert world.market.venue_state == world.venue.state
    assert world.venue.asked == []
