from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.db.connection import Connection
from app.db.dao import statistics
from app.domain.users import UserId
from tests.integration.books import insert_small_books


async def test_a_span_without_ends_is_the_whole_life_of_the_epoch(conn: Connection) -> None:
    user_id = await insert_small_books(conn)
    for epoch in (1, 2):
        span = await statistics.get_cash_span(
            conn, user_id=user_id, epoch=epoch, begin_at=None, end_at=None
        )
        assert span is not None
        assert (span.begin_version, span.end_version) == (0, 5)
        assert span.begin_at == span.opened_at < span.end_at
        movements = await statistics.get_movements(
            conn, account_id=span.account_id, begin_version=0, end_version=span.end_version
        )
        assert [movement.cause for movement in movements][1:] == [
            "deposit", "order_opened", "order_opened", "order_closed",
        ]  # fmt: skip
        assert [movement.price for movement in movements] == [
            None, None, Decimal(100), Decimal("7.00000000000000000003"), Decimal(120),
        ]  # fmt: skip
        later = await statistics.get_open_orders_before(
            conn, user_id=user_id, epoch=epoch, at=span.end_at
        )
        assert [(order.symbol, order.cost) for order in later] == [
            ("ETHUSDT", Decimal("2.10000000000000000001"))
        ]
    assert not await statistics.get_cash_span(
        conn, user_id=user_id, epoch=3, begin_at=None, end_at=None
    )


async def test_a_life_ends_where_the_next_begins_and_the_last_one_now(conn: Connection) -> None:
    user_id = await insert_small_books(conn)
    first, second = [
        await statistics.get_cash_span(
            conn,
            user_id=user_id,
            epoch=epoch,
            begin_at=None,
            end_at=datetime(2099, 1, 1, tzinfo=UTC),
        )
        for epoch in (1, 2)
    ]
    assert first is not None
    assert second is not None
    assert first.begin_at < first.end_at == second.begin_at < second.end_at
    assert (first.end_version, second.end_version) == (5, 5)


async def test_a_span_begins_just_before_its_first_instant_and_ends_before_its_last(
    conn: Connection,
) -> None:
    user_id = await insert_small_books(conn)
    whole = await statistics.get_cash_span(
        conn, user_id=user_id, epoch=1, begin_at=None, end_at=None
    )
    assert whole is not None
    movements = await statistics.get_movements(
        conn, account_id=whole.account_id, begin_version=0, end_version=5
    )
    part = await statistics.get_cash_span(
        conn, user_id=user_id, epoch=1, begin_at=movements[2].at, end_at=movements[4].at
    )
    assert part is not None
    assert (part.begin_version, part.end_version) == (2, 4)
    assert part.cash_at_begin == Decimal("1000.5")
    assert (part.begin_at, part.end_at) == (movements[2].at, movements[4].at)
    far = await statistics.get_cash_span(
        conn, user_id=user_id, epoch=1,
        begin_at=datetime(1970, 1, 1, tzinfo=UTC), end_at=datetime(2099, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert far is not None
    assert far.begin_at == whole.opened_at
    assert far.end_at < datetime.now(UTC) + timedelta(minutes=1)
    assert (far.begin_version, far.end_version) == (0, 5)
    held = await statistics.get_open_orders_before(
        conn, user_id=user_id, epoch=1, at=movements[4].at
    )
    assert [order.symbol for order in held] == ["BTCUSDT", "ETHUSDT"]


async def test_what_was_bought_before_there_was_a_ledger_is_held_from_its_beginning(
    conn: Connection,
) -> None:
    """As the migration to the ledger leaves an order that was active then."""
    user_id = UserId(
        await conn.fetchval(
            "INSERT INTO users (email, password, name) VALUES ('old@x.org', '!', 'o') RETURNING id"
        )
    )
    order_id = await conn.fetchval(
        """
        INSERT INTO transact (user_id, symbol, quantity, buy_price, created_at)
        VALUES ($1, 'BTCUSDT', 2, 50, now() - interval '1 year') RETURNING id
        """,
        user_id,
    )
    await conn.execute(
        """
        WITH accounts AS (
            INSERT INTO ledger_accounts (user_id, epoch, kind, asset)
            VALUES ($1, 1, 'cash', 'USD'), ($1, 1, 'holding', 'BTCUSDT'),
                ($1, 1, 'venue', 'BTCUSDT')
            RETURNING id, kind
        ), moved AS (
            INSERT INTO ledger_transfers (user_id, cause, asset, amount, source_account_id,
                target_account_id, order_id, event_at)
            SELECT $1, 'opening', 'BTCUSDT', 2, venue.id, holding.id, $2, now()
            FROM accounts AS venue, accounts AS holding
            WHERE venue.kind = 'venue' AND holding.kind = 'holding'
            RETURNING id, target_account_id
        )
        INSERT INTO ledger_entries (user_id, account_id, version, transfer_id, amount,
            balance_before, balance_after, event_at)
        SELECT $1, target_account_id, 1, id, 2, 0, 2, now() FROM moved
        """,
        user_id,
        order_id,
    )
    span = await statistics.get_cash_span(
        conn, user_id=user_id, epoch=1, begin_at=None, end_at=None
    )
    assert span is not None
    [held] = await statistics.get_open_orders_before(
        conn, user_id=user_id, epoch=1, at=span.begin_at
    )
    assert (held.id, held.cost) == (order_id, Decimal(100))
