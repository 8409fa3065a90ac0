"""What is asked of a server, without asking: no I/O here."""

import json
import math
import numbers
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlsplit

from goblin.decoding import NotAsExpected, Rows, decode, decode_rows, read_json
from goblin.errors import NOT_GOBLIN, BadAnswer

T = TypeVar("T")
Amount = Decimal | int | str
Instant = datetime | str
PAGE_MAX: Final = 1000
DEFAULT_URL: Final = "http://127.0.0.1:8000"

Repeatable = Literal["always", "unless lost", "never"]
"""Whether a request may be sent again: whatever happened; unless the server may have acted on
it; or only where it cannot have arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request."""

    method: str
    path: str
    query: Mapping[str, Any]
    body: str | None = None
    accept: str = "application/json"
    idempotency_key: str | None = None
    repeatable: Repeatable = "always"

    @property
    def name(self) -> str:
        """What a message calls it by."""
        return f"{self.method} {self.path}"

    @property
    def headers(self) -> dict[str, str]:
        """Without who asks."""
        found = {"Accept": self.accept}
        if self.body is not None:
            found["Content-Type"] = "application/json"
        if self.idempotency_key is not None:
            found["Idempotency-Key"] = self.idempotency_key
        return found


def get(path: str, /, accept: str = "application/json", **query: Any) -> Call:
    """A question; None is not asked for, `begin` and `end` are `from` and `to` on the wire."""
    return Call(method="GET", path=path, query=_query(query), accept=accept)


def change(
    method: str,
    path: str,
    /,
    *,
    idempotency_key: str | None,
    query: Mapping[str, Any] | None = None,
    **body: Any,
) -> Call:
    """A change, with an idempotency key of its own unless there is one; None is left out."""
    return Call(
        method=method,
        path=path,
        query=_query(query or {}),
        body=_body(body),
        idempotency_key=uuid.uuid4().hex
        if idempotency_key is None
        else header_text(idempotency_key, "idempotency_key"),
    )


def credential_change(method: str, path: str, /, repeatable: Repeatable, **body: Any) -> Call:
    """A change under /auth or /admin, where there are no idempotency keys."""
    return Call(method=method, path=path, query={}, body=_body(body), repeatable=repeatable)


def path_part(text: str) -> str:
    """The text as one part of a path, slashes included, and one that would lead upwards too."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def base_address(url: str) -> str:
    """The address without a slash at its end. Raises ValueError, without what may be a password."""
    if "@" in url:
        raise ValueError("url names a user, whom goblin does not ask for: api_key says who asks")
    try:
        parts = urlsplit(url)
        is_good = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0  # which is asked for its ValueError too
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError(f"url is {url!r}: expected an address like {DEFAULT_URL}")
    return url.rstrip("/")


def header_text(value: str, name: str) -> str:
    """What may stand in a header. Raises ValueError without the value, which may be a secret."""
    if re.fullmatch(r"[!-~]+", value) is None:
        raise ValueError(
            f"{name} is empty, or has a blank, a line break or a letter beyond ASCII in it, as at "
            "the end of a line that was read from a file: expected the key and nothing around it"
        )
    return value


def amount(value: Amount, name: str) -> str:
    """Every digit, of numpy's integers too. Raises TypeError for a float: it has other digits."""
    if isinstance(value, bool) or not isinstance(value, Decimal | numbers.Integral | str):
        raise TypeError(
            f'{name} is a {type(value).__name__}, which is not exact: write "0.1" or Decimal("0.1")'
        )
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _query(members: Mapping[str, Any]) -> dict[str, Any]:
    wire = {"begin": "from", "end": "to"}
    return {wire.get(k, k): _parameter(v) for k, v in members.items() if v is not None}


def _parameter(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _spelled(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _spelled(instant: datetime) -> str:
    if instant.tzinfo is None:
        raise ValueError(
            f"{instant.isoformat()} has no time zone: write datetime(..., tzinfo=UTC) or "
            f'"{instant.isoformat()}Z"'
        )
    return instant.isoformat()


def _body(members: Mapping[str, Any]) -> str | None:
    present = {name: value for name, value in members.items() if value is not None}
    return dump_json(present) if present else None


def dump_json(value: Any, where: str = "") -> str:  # noqa: C901, PLR0911 - one for each type
    """Exact JSON: every digit of a Decimal, numpy's values too. Raises ValueError, TypeError."""
    match value:
        case None | bool() | str():
            return json.dumps(value)
        case dict():
            members = (
                f"{json.dumps(str(key))}:{dump_json(inner, f'{where}.{key}'.lstrip('.'))}"
                for key, inner in value.items()
            )
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(dump_json(v, f"{where}[{i}]") for i, v in enumerate(value)) + "]"
        case datetime():
            return json.dumps(_spelled(value))
        case date():
            return json.dumps(value.isoformat())
        case Decimal() if value.is_finite():
            return str(value)
        case numbers.Integral():
            return str(int(value))
        case numbers.Real() if math.isfinite(value):
            return repr(float(value))
        case numbers.Real() | Decimal():
            raise ValueError(f"{where} is {value}, which JSON does not have: use None")
        case _ if type(value).__module__ == "numpy" and value.ndim == 0:
            return dump_json(value.item(), where)  # its bool, which is no bool of Python
    raise TypeError(f"{where} is a {type(value).__name__}, which JSON does not have")


def read_answer(content: bytes, where: str) -> dict[str, Any]:
    """The envelope of a success. Raises BadAnswer."""
    try:
        answer = read_json(content)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("status") == "success":
        return answer
    raise BadAnswer(f"{where} answered no JSON of goblin's: {NOT_GOBLIN}")


def read_data(wanted: Any, answer: Mapping[str, Any], where: str) -> Any:
    """What was asked for. Raises BadAnswer."""
    with _known(where):
        return decode(wanted, answer.get("data"))


@contextmanager
def _known(where: str) -> Iterator[None]:
    try:
        yield
    except NotAsExpected as error:
        raise BadAnswer(
            f"{where} answered something else than this client knows ({error}): are server and "
            "client of one age?"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Generic[T]):
    """A list that is asked for page by page."""

    first: Call
    model: type[T]
    member: str
    """Which member of `data` is the list."""
    by: Literal["one page", "cursor", "offset", "number"] = "one page"
    limit: int | None = None
    """At most so many in all."""
    page_max: int = PAGE_MAX

    def __post_init__(self) -> None:
        """Raises ValueError: what a negative number would ask for nobody knows."""
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit is {self.limit}: expected 0 or more, or None for all")

    def opening(self) -> Call:
        """The call for the first page."""
        if self.by == "one page":
            return self.first
        size = self.page_max if self.limit is None else max(1, min(self.limit, self.page_max))
        return replace(self.first, query={**self.first.query, "limit": str(size)})

    def read(self, answer: Mapping[str, Any], where: str) -> Rows[T]:
        """The values of a page. Raises BadAnswer."""
        data = answer.get("data")
        part = data.get(self.member) if isinstance(data, dict) else None
        with _known(where):
            return decode_rows(self.model, part)

    def after(self, call: Call, answer: Mapping[str, Any], rows: Rows[T]) -> Call | None:
        """The call for the next page, None after the last."""
        changed: dict[str, Any] = {}
        meta = answer.get("meta", {})
        if self.by == "cursor" and meta.get("next_cursor") is not None:
            changed = {"cursor": str(meta["next_cursor"])}
        elif self.by == "offset":
            seen = int(call.query.get("offset", 0)) + len(rows)
            total = (meta or answer["data"]).get("total_count", 0)
            changed = {"offset": str(seen)} if rows and seen < total else {}
        elif self.by == "number" and rows:
            last: Any = rows[-1]
            changed = (
                {"after": str(last.number)} if last.number < answer["data"]["last_number"] else {}
            )
        return replace(call, query={**call.query, **changed}) if changed else None


class Gathered(Generic[T]):
    """What of a list is still to be handed out: at most so many, and nothing twice.

    Pages that are counted by offset shift when something new comes in front of them.
    """

    def __init__(self, pages: Pages[T]) -> None:
        self._left = math.inf if pages.limit is None else pages.limit
        self._seen: set[Any] | None = set() if pages.by == "offset" else None

    @property
    def is_full(self) -> bool:
        """Whether nothing more is wanted."""
        return self._left <= 0

    def take(self, rows: Rows[T]) -> list[T]:
        """Those of the page that are new and wanted."""
        new: list[Any] = list(rows)
        if self._seen is not None:
            new = [row for row in new if row.id not in self._seen]
            self._seen.update(row.id for row in new)
        if len(new) > self._left:
            new = new[: int(self._left)]
        self._left -= len(new)
        return new
