"""Who is let in, and who is not any more, decided where the rows are."""

from datetime import timedelta
from decimal import Decimal

from app.db.connection import Connection
from app.db.dao import administration, callers, sessions
from app.domain.access import SessionId
from app.domain.users import UserId
from app.services.accounts import open_account

LIFETIME = timedelta(hours=1)


async def somebody(conn: Connection, *, email: str = "session@example.com") -> UserId:
    user = await open_account(
        conn,
        email=email,
        password_hash="right",
        name="n",
        starting_balance=Decimal(0),
        request_id="test",
    )
    return user.id


async def begin(conn: Connection, user_id: UserId, password_hash: str) -> SessionId | None:
    return await sessions.insert_session(
        conn, user_id=user_id, password_hash=password_hash, lifetime=LIFETIME
    )


async def test_no_session_begins_for_who_was_disabled_since_the_password_was_checked(
    conn: Connection,
) -> None:
    user_id = await somebody(conn)
    assert await begin(conn, user_id, "another") is None
    assert await begin(conn, user_id, "right") is not None
    await administration.update_disabled(conn, user_id=user_id, is_disabled=True)
    assert await begin(conn, user_id, "right") is None


async def test_a_stream_of_a_disabled_user_ends_though_the_session_itself_goes_on(
    conn: Connection,
) -> None:
    user_id = await somebody(conn)
    session_id = await begin(conn, user_id, "right")
    assert session_id is not None
    assert await sessions.get_ended_sessions(conn, session_ids=[session_id]) == []
    await administration.update_disabled(conn, user_id=user_id, is_disabled=True)
    assert await sessions.get_ended_sessions(conn, session_ids=[session_id]) == [session_id]


async def test_a_session_speaks_for_nobody_but_its_own_user(conn: Connection) -> None:
    ada, bob = await somebody(conn), await somebody(conn, email="bob@example.com")
    session_id = await begin(conn, ada, "right")
    assert session_id is not None
    found = await callers.get_users_with_sessions(
        conn, user_ids=[ada, bob], session_ids=[session_id, session_id]
    )
    assert found[ada, session_id].standing.is_session_live
    assert not found[bob, session_id].standing.is_session_live
