"""A list that is asked for when it is read."""

import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from goblin.calls import Call, Gathered, Pages
from goblin.decoding import Rows
from goblin.frames import import_pandas

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


class AsyncListing(Generic[T]):
    """Everything that a list has, page by page as it is iterated over, anew each time."""

    def __init__(
        self, answer: Callable[[Call], Awaitable[dict[str, Any]]], pages: Pages[T]
    ) -> None:
        self._answer = answer
        self._pages = pages

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pages.model.__name__}: iterate, .all() or .df()>"

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        gathered = Gathered(self._pages)
        call: Call | None = self._pages.opening()
        while call is not None and not gathered.is_full:
            answer = await self._answer(call)
            rows = self._pages.read(answer, call.name)
            missing = answer.get("meta", {}).get("missing")
            if missing:
                spans = ", ".join(f"{span['from']} to {span['to']}" for span in missing)
                warnings.warn(f"{call.name} could not have what lies in {spans}", stacklevel=2)
            for row in gathered.take(rows):
                yield row
            call = self._pages.after(call, answer, rows)

    async def all(self) -> Rows[T]:
        """All of it in memory."""
        return Rows.of(self._pages.model, [row async for row in self])

    async def df(self, *, exact: bool = False) -> "pd.DataFrame":
        """All of it as a DataFrame; `exact=True` keeps Decimal where there would be float64."""
        import_pandas()  # before asking for anything
        return (await self.all()).df(exact=exact)
