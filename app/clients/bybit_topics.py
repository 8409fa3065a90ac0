"""What one subscription has to remember so that its news makes sense."""

from typing import Final

from app.clients.bybit_frames import BOOK_DEPTHS, News, TickerFields
from app.domain.books import BookBroken, BookChange, OrderBook
from app.domain.live import LiveCandle, LiveValue, PublicTrade, TickerMerge, Topic

TRADE_IDS_MAX: Final = 4096
"""How many trades are recognised when they are told again."""


class OutOfStep(Exception):
    """What we hold is no longer what the venue has: ask for all of it again."""


class Subscription:
    """One topic on one connection. `since` is when it was last asked for (monotonic)."""

    def __init__(self, topic: Topic, *, since: float) -> None:
        self.topic = topic
        self.since = since
        self.has_begun = False
        """Whether the venue has said something about it that can be built on."""
        self._ticker = TickerMerge()
        self._book = OrderBook()
        self._seen: dict[str, None] = {}  # the oldest first

    def hear(self, news: News) -> LiveValue | None:
        """The value after this message; None when it says nothing new. Raises OutOfStep."""
        content = news.content
        match content:
            case TickerFields():
                value = self._ticker.apply(
                    content.texts,
                    is_snapshot=content.is_snapshot,
                    venue_time_ms=content.venue_time_ms,
                )
                self.has_begun = self.has_begun or content.is_snapshot
                return value
            case BookChange():
                return self._hear_book(content)
            case _:
                self.has_begun = True
                return self._hear_rows(content)

    def _hear_book(self, change: BookChange) -> LiveValue | None:
        if not self.has_begun and not change.is_snapshot and change.update_id != 1:
            return None  # the rest of what was asked for again
        try:
            is_new = self._book.apply(change)
        except BookBroken as error:
            raise OutOfStep(str(error)) from None
        self.has_begun = True
        return self._book.now(depth=BOOK_DEPTHS[self.topic.channel]) if is_new else None

    def _hear_rows(
        self, rows: tuple[PublicTrade, ...] | tuple[LiveCandle, ...]
    ) -> LiveValue | None:
        trades: list[PublicTrade] = []
        candle: LiveCandle | None = None
        for row in rows:
            if isinstance(row, LiveCandle):
                candle = row
            elif row.id not in self._seen:
                self._seen[row.id] = None
                trades.append(row)
        while len(self._seen) > TRADE_IDS_MAX:
            del self._seen[next(iter(self._seen))]
        return candle if candle is not None else tuple(trades) or None
