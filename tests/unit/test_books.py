from decimal import Decimal

import pytest
from app.domain.books import BookBroken, BookChange, OrderBook
from hypothesis import given
from hypothesis import strategies as st


def change(
    update_id: int,
    *,
    bids: dict[str, str] | None = None,
    asks: dict[str, str] | None = None,
    snapshot: bool = False,
) -> BookChange:
    return BookChange(
        is_snapshot=snapshot,
        bids=[(Decimal(price), Decimal(size)) for price, size in (bids or {}).items()],
        asks=[(Decimal(price), Decimal(size)) for price, size in (asks or {}).items()],
        update_id=update_id,
        sequence=update_id * 10,
        venue_time_ms=1_000 + update_id,
    )


def snapshot(update_id: int = 5) -> BookChange:
    return change(
        update_id, bids={"100": "1", "99": "2"}, asks={"101": "3", "102": "4"}, snapshot=True
    )


def started() -> OrderBook:
    book = OrderBook()
    book.apply(snapshot())
    return book


def prices(book: OrderBook) -> tuple[list[str], list[str]]:
    now = book.now(depth=50)
    return [f"{p:f}" for p, _ in now.bids], [f"{p:f}" for p, _ in now.asks]


def test_a_delta_inserts_replaces_and_deletes_at_size_zero() -> None:
    book = started()
    assert book.apply(change(6, bids={"100": "0", "98.5": "7"}, asks={"101": "9"}))
    now = book.now(depth=50)
    assert now.bids == ((Decimal(99), Decimal(2)), (Decimal("98.5"), Decimal(7)))
    assert now.asks == ((Decimal(101), Decimal(9)), (Decimal(102), Decimal(4)))
    assert (now.update_id, now.sequence, now.venue_time_ms) == (6, 60, 1_006)


def test_a_padded_and_a_trimmed_price_are_one_level() -> None:
    book = started()
    book.apply(change(6, bids={"100.00": "0"}))
    assert prices(book)[0] == ["99"]


def test_a_gap_in_the_update_numbers_breaks_the_book_until_a_snapshot_comes() -> None:
    book = started()
    with pytest.raises(BookBroken, match="update 7 came where 6 was next"):
        book.apply(change(7, bids={"100": "5"}))
    with pytest.raises(BookBroken, match="before any snapshot"):
        book.apply(change(8, bids={"100": "5"}))
    assert book.apply(snapshot(20))
    assert book.apply(change(21, bids={"100": "5"}))
    assert book.now(depth=1).bids == ((Decimal(100), Decimal(5)),)


def test_a_delta_twice_or_late_changes_nothing() -> None:
    book = started()
    book.apply(change(6, bids={"100": "5"}))
    book.apply(change(7, bids={"100": "6"}))
    assert not book.apply(change(6, bids={"100": "5"}))
    assert not book.apply(change(7, bids={"100": "6"}))
    assert book.now(depth=1).bids == ((Decimal(100), Decimal(6)),)


@pytest.mark.parametrize("is_snapshot", [True, False])
def test_update_number_one_is_the_whole_book_whatever_it_is_called(*, is_snapshot: bool) -> None:
    book = started()
    assert book.apply(change(1, bids={"50": "1"}, asks={"51": "1"}, snapshot=is_snapshot))
    assert prices(book) == (["50"], ["51"])
    assert book.apply(change(2, bids={"50": "2"}))


def test_a_snapshot_in_midstream_with_a_lower_number_starts_anew() -> None:
    book = started()
    assert book.apply(change(3, bids={"50": "1"}, asks={"51": "1"}, snapshot=True))
    assert prices(book) == (["50"], ["51"])


def test_the_same_snapshot_again_is_no_gap() -> None:
    book = started()
    assert book.apply(snapshot())
    assert book.apply(change(6, bids={"100": "5"}))


def test_a_crossed_book_is_thrown_away() -> None:
    book = started()
    with pytest.raises(BookBroken, match="not below the best ask"):
        book.apply(change(6, bids={"101": "1"}))
    with pytest.raises(BookBroken, match="before any snapshot"):
        book.apply(change(7))


def test_a_book_without_a_bound_is_thrown_away() -> None:
    book = started()
    with pytest.raises(BookBroken, match="levels"):
        book.apply(change(6, asks={str(price): "1" for price in range(200, 2300)}))


def test_the_best_levels_come_first_whatever_their_order_on_the_wire() -> None:
    book = OrderBook()
    book.apply(
        change(2, bids={"1": "1", "3": "1", "2": "1"}, asks={"9": "1", "7": "1"}, snapshot=True)
    )
    assert prices(book) == (["3", "2", "1"], ["7", "9"])
    assert book.now(depth=1).asks == ((Decimal(7), Decimal(1)),)


SIDE = st.dictionaries(st.integers(1, 20), st.integers(0, 3), max_size=6)


@given(st.lists(st.tuples(SIDE, SIDE), max_size=20))
def test_a_book_of_deltas_is_the_sum_of_its_messages(
    deltas: list[tuple[dict[int, int], dict[int, int]]],
) -> None:
    """The reference: a plain dictionary that forgets what has size 0."""
    book = OrderBook()
    book.apply(change(5, bids={"20": "1"}, asks={"121": "1"}, snapshot=True))
    bids, asks = {20: 1}, {121: 1}
    for number, (bid_side, ask_side) in enumerate(deltas, start=6):
        raised = {price + 100: size for price, size in ask_side.items()}
        book.apply(
            change(
                number,
                bids={str(price): str(size) for price, size in bid_side.items()},
                asks={str(price): str(size) for price, size in raised.items()},
            )
        )
        bids, asks = {**bids, **bid_side}, {**asks, **raised}
    now = book.now(depth=50)
    assert [(int(p), int(s)) for p, s in now.bids] == sorted(_left(bids), reverse=True)
    assert [(int(p), int(s)) for p, s in now.asks] == sorted(_left(asks))


def _left(side: dict[int, int]) -> list[tuple[int, int]]:
    return [(price, size) for price, size in side.items() if size]
