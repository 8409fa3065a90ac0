"""Connections go back to the pool as they are, so no statement may leave a trace in a session."""

import re

from app.db.address import DatabaseAddress
from app.db.database import open_database
from tests.architecture.test_sql import ALL

LASTING = re.compile(
    r"^\s*(SET(?!\s+LOCAL)|LISTEN|DECLARE|PREPARE|CREATE\s+TEMP)\b"
    r"|pg_(try_)?advisory_lock|set_config\("
)


def test_no_dao_statement_changes_the_session_it_runs_in() -> None:
    for module, function, query in ALL:
        assert LASTING.search(query) is None, f"{module.name} {function}"
    assert LASTING.search("\n    SET lock_timeout = 1"), "what the test looks for is found"


async def test_a_transaction_that_was_left_open_is_over_for_the_next_borrower(
    postgres: DatabaseAddress,
) -> None:
    async with open_database(postgres, pool_size=1) as db:
        async with db.connection() as conn:
            await conn.execute("BEGIN")
            await conn.execute("CREATE TABLE left_open (id INT)")
        async with db.connection() as conn:
            assert await conn.fetchval("SELECT to_regclass('left_open')") is None
