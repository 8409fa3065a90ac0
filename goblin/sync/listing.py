# Made by scripts/sync_client.py of goblin/aio/listing.py; do not edit.
"""A list that is asked for when it is read."""

import warnings
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from goblin.calls import Call, Gathered, Pages
from goblin.decoding import Rows
from goblin.frames import import_pandas

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


class Listing(Generic[T]):
    """Everything that a list has, page by page as it is iterated over, anew each time."""

    def __init__(self, answer: Callable[[Call], dict[str, Any]], pages: Pages[T]) -> None:
        self._answer = answer
        self._pages = pages

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pages.model.__name__}: iterate, .all() or .df()>"

    def __iter__(self) -> Generator[T, None]:
        gathered = Gathered(self._pages)
        call: Call | None = self._pages.opening()
        while call is not None and not gathered.is_full:
            answer = self._answer(call)
            rows = self._pages.read(answer, call.name)
            missing = answer.get("meta", {}).get("missing")
            if missing:
                spans = ", ".join(f"{span['from']} to {span['to']}" for span in missing)
                warnings.warn(f"{call.name} could not have what lies in {spans}", stacklevel=2)
            yield from gathered.take(rows)
            call = self._pages.after(call, answer, rows)

    def all(self) -> Rows[T]:
        """All of it in memory."""
        return Rows.of(self._pages.model, list(self))

    def df(self, *, exact: bool = False) -> "pd.DataFrame":
        """All of it as a DataFrame; `exact=True` keeps Decimal where there would be float64."""
        import_pandas()  # before asking for anything
        return (self.all()).df(exact=exact)
