from dataclasses import replace

import pytest
from app.db.connection import Connection
from app.db.errors import RowLocked
from app.domain.answers import Answer, KeyedRequest, RequestInProgress
from app.domain.errors import GoblinError
from app.domain.instruments import Symbol
from app.domain.orders import OrderNotFound
from app.domain.users import LockedUser, UserGone, UserId
from app.services.once import Once
from tests.conftest import Installation, Person


def answer_to(error: GoblinError) -> Answer:
    return Answer(status=404, body=str(error), refusal=error.code)


def under(key: str, person: Person) -> KeyedRequest:
    return KeyedRequest(user_id=person.user.id, key=key, fingerprint=b"the same")


async def test_a_user_who_vanished_after_logging_in_changes_nothing(
    installation: Installation,
) -> None:
    async def work(conn: Connection, locked: LockedUser) -> Answer:
        raise AssertionError((conn, locked))

    def refuse(error: GoblinError) -> Answer:
        raise AssertionError(error)

    ghost = Once(db=installation.resources.db, user_id=UserId(2**40), keyed=None, refuse=refuse)
    with pytest.raises(UserGone, match="User no longer exists"):
        await ghost.run(work)


async def test_a_refusal_under_a_key_is_kept_and_nothing_is_tried_again(
    installation: Installation, bob: Person
) -> None:
    tried: list[LockedUser] = []

    async def work(conn: Connection, locked: LockedUser) -> Answer:
        tried.append(locked)
        await conn.execute("UPDATE users SET name = 'Undone' WHERE id = $1", locked.user.id)
        raise OrderNotFound(Symbol("BTCUSDT"))

    db = installation.resources.db
    once = Once(db=db, user_id=bob.user.id, keyed=under("kept", bob), refuse=answer_to)
    first, second = await once.run(work), await once.run(work)
    assert (first.refusal, first.is_replayed) == ("order_not_found", False)
    assert (second.body, second.status, second.is_replayed) == (first.body, first.status, True)
    assert [locked.user for locked in tried] == [bob.user]
    assert (await bob.client.get("/users/me")).json()["data"]["name"] == bob.user.name


async def test_who_finds_a_row_held_is_told_so_and_with_a_key_to_ask_again(
    installation: Installation, bob: Person, ada: Person
) -> None:
    async def work(conn: Connection, locked: LockedUser) -> Answer:
        await conn.execute("SELECT FROM users WHERE id = $1 FOR UPDATE NOWAIT", ada.user.id)
        raise AssertionError(locked)

    db = installation.resources.db
    once = Once(db=db, user_id=bob.user.id, keyed=None, refuse=answer_to)
    async with db.transaction() as elsewhere:
        await elsewhere.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", ada.user.id)
        with pytest.raises(RowLocked):
            await once.run(work)
        with pytest.raises(RequestInProgress):
            await replace(once, keyed=under("held", bob)).run(work)
