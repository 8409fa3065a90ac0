"""JSON bodies without losing a digit, and JSON answers that keep them.

`json.loads` makes floats of numbers before any validator sees them, so that
0.12345678901234567891 has lost its last digits by then. Here a number arrives as int or
Decimal, and the user's own JSON leaves again with every digit that came.
"""

import codecs
import json
from decimal import Decimal
from typing import Any, Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

INT_DIGITS_MAX: Final = 40
"""Longer integers are kept as Decimal: Python refuses to parse an int of over 4,300 digits."""

DEPTH_MAX: Final = 100
"""Nesting that goblin stores and returns; a parser on the other side may give up beyond."""

BODY_DEPTH_MAX: Final = DEPTH_MAX + 2
"""Nesting of a whole body: the caller's own JSON is a member of one object."""

NUMBER_CHARACTERS_MAX: Final = 1000
EXPONENT_MAX: Final = 400
"""A double ends at 308; what is beyond by more is there to fill somebody's memory."""


class ExactRequest(Request):
    """A request whose JSON body keeps every digit of its numbers."""

    async def body(self) -> bytes:
        """The whole body; read without a generator, as most arrive in one piece."""
        if not hasattr(self, "_body"):
            read = bytearray()
            is_whole = False
            while not is_whole:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                read += message.get("body", b"")
                is_whole = not message.get("more_body", False)
            self._body = bytes(read)
        return self._body

    async def json(self) -> Any:
        """The parsed body. Raises json.JSONDecodeError, which FastAPI answers with 422."""
        if not hasattr(self, "_exact_json"):
            self._exact_json = parse_exact_json(await self.body())
        return self._exact_json

    def received_again(self) -> Receive:
        """For somebody who reads the request from the beginning, whatever was read of it."""
        if not hasattr(self, "_body"):
            return self.receive
        again = iter([{"type": "http.request", "body": self._body, "more_body": False}])

        async def receive() -> Message:
            return next(again, None) or await self.receive()

        return receive


def parse_exact_json(body: bytes) -> Any:
    """JSON with int and Decimal for numbers.

    Raises json.JSONDecodeError for what is not UTF-8, not JSON (NaN and Infinity are not),
    nested too deeply, has a number of absurd length, or has one key twice in one object,
    where parsers disagree about which of them counts.
    """
    if body.startswith(codecs.BOM_UTF8):
        raise json.JSONDecodeError("begins with a byte order mark", "", 0)
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            parse_float=_exact_number,
            parse_int=_exact_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_of_unique_keys,
        )
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError:
        raise json.JSONDecodeError("not UTF-8", "", 0) from None
    except RecursionError:
        raise _too_deep() from None
    except _DuplicateKeyError:
        raise json.JSONDecodeError("the same key twice in one object", "", 0) from None
    # Most bodies have fewer brackets than that, and cost no second look.
    if body.count(b"[") + body.count(b"{") > BODY_DEPTH_MAX and not _is_shallow(value):
        raise _too_deep()
    return value


def dump_exact_json(value: Any) -> str:
    """The JSON text of what `parse_exact_json` returned, in ASCII, every digit kept.

    Raises ValueError for numbers beyond a double's range (every reader would
    see Infinity), NUL, lone surrogates and nesting beyond DEPTH_MAX.
    """
    return _dump(value, DEPTH_MAX)


class RawJson(str):
    """JSON text that goes into an answer as it is."""

    __slots__ = ()


def exact_json(content: object) -> str:
    """An answer with every digit of the user's own JSON, for which pydantic has no type."""
    return _dump(content, DEPTH_MAX + 4)


class _DuplicateKeyError(Exception):
    pass


def _refuse_constant(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


def _too_deep() -> json.JSONDecodeError:
    return json.JSONDecodeError(f"nested too deeply: at most {BODY_DEPTH_MAX} levels", "", 0)


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(BODY_DEPTH_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def _exact_number(text: str) -> Decimal:
    _, _, exponent = text.lower().partition("e")
    digits = exponent.lstrip("+-0")
    if (
        len(text) > NUMBER_CHARACTERS_MAX
        or len(digits) > len(str(EXPONENT_MAX))
        or int(digits or 0) > EXPONENT_MAX
    ):
        raise json.JSONDecodeError(
            f"a number of more than {NUMBER_CHARACTERS_MAX} characters or with an exponent "
            f"beyond {EXPONENT_MAX}",
            "",
            0,
        )
    return Decimal(text)


def _exact_integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= INT_DIGITS_MAX else _exact_number(text)


def _object_of_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKeyError
    return result


def _dump(value: Any, depth_left: int) -> str:
    if depth_left < 0:
        raise ValueError(f"nested deeper than {DEPTH_MAX} levels")
    match value:
        case dict():
            members = (f"{_dump(k, 0)}:{_dump(v, depth_left - 1)}" for k, v in value.items())
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(_dump(item, depth_left - 1) for item in value) + "]"
        case RawJson():
            return str(value)
        case str():
            if not is_storable_text(value):
                raise ValueError("text with a NUL character or half a surrogate pair")
            return json.dumps(value)
        case Decimal():
            if float(value) in (float("inf"), float("-inf")):
                raise ValueError("a number beyond the range of a double")
            return str(value)
        case _:
            return json.dumps(value)


def is_storable_text(text: str) -> bool:
    """Whether PostgreSQL can hold the text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
