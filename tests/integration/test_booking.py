"""The one statement that writes: all of a batch, or nothing of it."""

from decimal import Decimal

import pytest
from app.db.connection import Connection
from app.db.dao import users
from app.db.database import Database, open_database
from app.domain.events import EventType
from app.domain.orders import Order
from app.domain.users import LockedUser, UserId
from app.services.booking import Movement, Overtaken, book
from app.services.decisions import Closing, Opening
from tests.conftest import CloneDatabase
from tests.integration.books import insert_small_books, priced, settle_one


async def read(conn: Connection, user_id: UserId) -> LockedUser:
    return (await users.lock_users(conn, user_ids=[user_id]))[user_id]


async def write(conn: Connection, holder: LockedUser, *, closed: tuple[Order, ...] = ()) -> None:
    movement = Movement(
        user_id=holder.user.id,
        epoch=holder.user.epoch,
        type=EventType.ORDER_CLOSED,
        data={},
        request_id="twice",
    )
    await book(conn, locked={holder.user.id: holder}, movements=[movement], closed=closed)


async def test_what_was_decided_on_is_still_so_or_nothing_is_written(clone: CloneDatabase) -> None:
    async with open_database(await clone(), pool_size=3) as db:
        async with db.transaction() as conn:
            user_id = await insert_small_books(conn)
        async with db.connection() as conn:
            then = await read(conn, user_id)
            await write(conn, then)
            with pytest.raises(Overtaken):
                await write(conn, then)
            now = await read(conn, user_id)
            assert now.event_number == then.event_number + 1
            await _assert_nobody_waits_for_a_held_user(db, now)
            assert await read(conn, user_id) == now


async def _assert_nobody_waits_for_a_held_user(db: Database, holder: LockedUser) -> None:
    async with db.transaction() as elsewhere, db.connection() as conn:
        await read(elsewhere, holder.user.id)
        # Who waits is told of the lock instead when that has taken too long.
        with pytest.raises(Overtaken):
            await write(conn, holder)


async def test_an_order_that_is_closed_already_undoes_all_that_was_written_with_it(
    clone: CloneDatabase,
) -> None:
    async with open_database(await clone(), pool_size=2) as db:
        async with db.transaction() as conn:
            user_id = await insert_small_books(conn)
            opening = Opening(
                user_id=user_id,
                symbol=(closing := closing_of(user_id)).symbol,
                quantity=Decimal(1),
                priced=closing.priced,
                request_id="twice",
            )
            await settle_one(conn, opening)
            order = (await settle_one(conn, closing)).order
        async with db.connection() as conn:  # where each statement is committed by itself
            before = await read(conn, user_id)
            with pytest.raises(AssertionError, match="active"):
                await write(conn, before, closed=(order,))
            assert await read(conn, user_id) == before, "not even the event was written"


def closing_of(user_id: UserId) -> Closing:
    quote = priced("XRPUSDT", "2")
    return Closing(user_id=user_id, symbol=quote.quote.symbol, priced=quote, request_id="twice")
