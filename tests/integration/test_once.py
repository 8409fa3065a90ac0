import pytest
from app.db.connection import Connection
from app.domain.answers import Answer
from app.domain.errors import GoblinError
from app.domain.users import LockedUser, UserGone, UserId
from app.services.once import Once
from tests.conftest import Installation


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
