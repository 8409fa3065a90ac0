"""Values of the board as texts for the other processes, and back.

A text is one notification: below 8,000 bytes, so a book has as many levels as fit. Whoever
hears one believes the highest term that it has heard of, and nothing of an earlier one.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final

from app.core.clock import wall_clock_ms
from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, LiveValue, PublicTrade, Ticker, Topic
from app.services.board import Board, News, Told

TEXT_BYTES_MAX: Final = 7_900
VALUES_PER_TEXT_MAX: Final = 100
FRAME_BYTES: Final = 200
"""What surrounds the values of a text, at most."""

TOPICS_PER_TEXT_MAX: Final = 100

NONSENSE: Final = (
    ValueError, KeyError, TypeError, AttributeError, ArithmeticError, AssertionError,
    RecursionError,
)  # fmt: skip
"""What a text of others can raise: whoever can log in to the database can send."""

_CONSTRUCTED: Final[Mapping[str, type[Ticker | PublicTrade | LiveCandle | Book]]] = {
    "ticker": Ticker,
    "trade": PublicTrade,
    "candle": LiveCandle,
    "book": Book,
}
_KINDS: Final = {kind: name for name, kind in _CONSTRUCTED.items()}


def spell_topic(topic: Topic) -> str:
    """`spot/BTCUSDT/candle/1`."""
    return f"{topic.category}/{topic.symbol}/{topic.channel}/{topic.interval}"


def read_topic(text: str) -> Topic:
    """The topic spelled so. Raises ValueError."""
    try:
        category, symbol, channel, interval = text.split("/")
        return Topic(Category(category), Symbol(symbol), Channel(channel), interval)
    except AssertionError:
        raise ValueError(f"no topic: {text[:80]}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a process wants to be told. `are_unknown`: it knows nothing about these yet."""

    holder: str
    topics: tuple[Topic, ...]
    are_unknown: bool


def spell_wishes(
    holder: str, topics: Collection[Topic], *, unknown: Collection[Topic] = ()
) -> list[str]:
    """Texts that say what a process wants."""
    texts = []
    for are_unknown in (True, False):
        spelled = sorted(
            spell_topic(topic) for topic in topics if (topic in unknown) is are_unknown
        )
        for start in range(0, len(spelled), TOPICS_PER_TEXT_MAX):
            part = spelled[start : start + TOPICS_PER_TEXT_MAX]
            texts.append(json.dumps({"h": holder, "n": are_unknown, "w": part}))
    return texts


def read_wishes(text: str) -> Wishes:
    """Who wants what. Raises ValueError."""
    try:
        document = json.loads(text)
        return Wishes(
            holder=str(document["h"]),
            topics=tuple(read_topic(spelled) for spelled in document["w"]),
            are_unknown=document["n"] is True,
        )
    except NONSENSE as error:
        raise ValueError(f"no wishes: {error!r}") from None


class Speller:
    """Makes the texts of one term."""

    def __init__(
        self,
        *,
        holder: str,
        term: int,
        monotonic: Callable[[], float],
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._holder = holder
        self._term = term
        self._monotonic = monotonic
        self._now_ms = now_ms

    def spell(self, told: Mapping[Topic, Told]) -> list[str]:
        """Values with the instants of their arrival, in as few texts as possible."""
        texts, part, size = [], list[str](), 0
        for topic, heard in told.items():
            for value in _pieces(heard.news):
                spelled = self._spell_value(topic, value, heard.received_at)
                is_full = size + len(spelled) + FRAME_BYTES > TEXT_BYTES_MAX
                if part and (is_full or len(part) == VALUES_PER_TEXT_MAX):
                    texts.append(self._text(part))
                    part, size = [], 0
                part.append(spelled)
                size += len(spelled) + 1
        if part:
            texts.append(self._text(part))
        return texts

    def _text(self, spelled: Sequence[str]) -> str:
        head = json.dumps({"h": self._holder, "t": self._term})
        return f'{head[:-1]},"v":[{",".join(spelled)}]}}'

    def _spell_value(self, topic: Topic, value: object, received_at: float) -> str:
        age_ms = round((self._monotonic() - received_at) * 1000)
        head = [spell_topic(topic), age_ms, self._now_ms() - age_ms]
        depth = len(value.bids) if isinstance(value, Book) else 0
        while True:
            text = json.dumps([*head, _plain(value)], separators=(",", ":"))
            if len(text) + FRAME_BYTES <= TEXT_BYTES_MAX:
                return text
            assert isinstance(value, Book), "everything else is small or comes in pieces"
            depth //= 2
            value = Book(
                bids=value.bids[:depth],
                asks=value.asks[:depth],
                update_id=value.update_id,
                sequence=value.sequence,
                venue_time_ms=value.venue_time_ms,
            )


class Listener:
    """Posts what other processes tell. `term` is the highest that was heard of."""

    def __init__(
        self,
        board: Board,
        *,
        holder: str,
        monotonic: Callable[[], float],
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._board = board
        self._holder = holder
        self._monotonic = monotonic
        self._now_ms = now_ms
        self.term = 0
        self.refused = 0

    def hear(self, text: str) -> None:
        """Post the values of a text; what is no such text, or of a lost term, is ignored."""
        try:
            document = json.loads(text)
            holder, term, values = document["h"], document["t"], document["v"]
            if holder == self._holder:
                return
            if type(term) is not int or term < self.term:
                self.refused += 1
                return
            self.term = term
            for spelled, age_ms, received_ms, plain in values:
                topic, value = read_topic(spelled), _value(plain)
                # By whichever clock it is older: machines disagree, and messages are held up.
                age_seconds = max(0, age_ms, self._now_ms() - received_ms) / 1000
                self._board.hear(topic, value, received_at=self._monotonic() - age_seconds)
        except NONSENSE:
            self.refused += 1


def _pieces(news: News) -> Iterator[object]:
    """Each small enough: ten trades at a time, one candle at a time."""
    if not isinstance(news, tuple):
        yield news
        return
    trades = [row for row in news if isinstance(row, PublicTrade)]
    for start in range(0, len(trades), 10):
        yield tuple(trades[start : start + 10])
    yield from (row for row in news if isinstance(row, LiveCandle))


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Ticker | PublicTrade | LiveCandle | Book):
        values = {name.name: _plain(getattr(value, name.name)) for name in fields(value)}
        return {"": _KINDS[type(value)], **values}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


_TEXTS: Final = frozenset({"id", "interval", "price_text"})


def _value(plain: Any) -> LiveValue:
    if isinstance(plain, list):
        return tuple(trade for item in plain if isinstance(trade := _object(item), PublicTrade))
    value = _object(plain)
    if isinstance(value, PublicTrade):
        raise ValueError("trades come in lists")  # noqa: TRY004 - one error for all that is wrong
    return value


def _object(plain: Any) -> Ticker | PublicTrade | LiveCandle | Book:
    kind = _CONSTRUCTED[plain.pop("")]
    values: dict[str, Any] = {}
    for name, item in plain.items():
        if isinstance(item, list):
            values[name] = tuple((Decimal(price), Decimal(size)) for price, size in item)
        elif isinstance(item, str) and name not in _TEXTS:
            values[name] = Decimal(item)
        else:
            values[name] = item
    return kind(**values)
