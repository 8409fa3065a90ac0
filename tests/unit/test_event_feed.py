import asyncio

from app.domain.users import UserId
from app.jobs import tell_events
from app.services.event_feed import UNTOLD_MAX, EventFeed

ADA, BOB = UserId(5), UserId(6)


async def test_a_hint_wakes_every_reader_of_that_user_and_nobody_else() -> None:
    feed = EventFeed()
    with (
        feed.reader(ADA, after=0) as one,
        feed.reader(ADA, after=3) as two,
        feed.reader(BOB, after=0) as other,
    ):
        assert feed.followed() == {ADA: 0, BOB: 0}
        waiting = [asyncio.create_task(reader.wait(seconds_max=20)) for reader in (one, two)]
        in_vain = asyncio.create_task(other.wait(seconds_max=0.05))
        await asyncio.sleep(0)
        feed.wake(ADA)
        assert await asyncio.gather(*waiting, in_vain) == [True, True, False]
    assert feed.followed() == {}
    feed.wake(ADA)


async def test_a_hint_that_comes_during_a_look_at_the_table_is_not_lost() -> None:
    feed = EventFeed()
    with feed.reader(ADA, after=0) as reader:
        reader.forget_hint()
        feed.wake_here(ADA)
        feed.wake_here(ADA)
        assert await reader.wait(seconds_max=0)
        reader.forget_hint()
        assert not await reader.wait(seconds_max=0)


async def test_a_closed_feed_ends_its_readers_and_those_to_come() -> None:
    feed = EventFeed()
    with feed.reader(ADA, after=0) as before:
        waiting = asyncio.create_task(before.wait(seconds_max=20))
        await asyncio.sleep(0)
        feed.close()
        assert await waiting
        with feed.reader(BOB, after=0) as later:
            for reader in (before, later):
                reader.forget_hint()
                assert reader.is_closed
                assert await reader.wait(seconds_max=20)


async def test_what_others_send_into_the_channel_does_no_harm() -> None:
    feed = EventFeed()
    with feed.reader(UserId(5), after=0) as reader:
        for text in ("", ",", "x", "-5", "5.0", "٥", "9" * 7000, "DROP TABLE users"):
            tell_events.hear(feed, text)
        assert not await reader.wait(seconds_max=0)
        tell_events.hear(feed, "4,x,5")
        assert await reader.wait(seconds_max=0)


def test_a_notification_names_a_hundred_users_at_most_and_fits_whatever_their_ids() -> None:
    users = [UserId(2**63 - 1 - n) for n in range(250)]
    texts = tell_events.spell(users)
    assert [len(text.split(",")) for text in texts] == [100, 100, 50]
    assert ",".join(texts) == ",".join(map(str, users))
    assert max(map(len, texts)) < 8000


async def test_who_is_to_be_told_about_is_bounded() -> None:
    feed = EventFeed()
    for user_id in range(UNTOLD_MAX + 10):
        feed.wake(UserId(user_id))
        feed.wake(UserId(user_id))
    assert len(await feed.take_untold(seconds_max=1)) == UNTOLD_MAX
    assert await feed.take_untold(seconds_max=0.01) == []
