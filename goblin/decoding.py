"""From the exact text of an answer to frozen values; nothing passes through a float.

JSON numbers arrive as int and Decimal. A member that a model does not know is ignored, so a
newer server can say more; one that is missing or of another type is an error that names it.
"""

import dataclasses
import json
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, get_args, get_origin, get_type_hints

from goblin.frames import frame_of_rows

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
INT_DIGITS_MAX: Final = 40
"""Longer integers become Decimal: Python refuses to read an int of over 4,300 digits."""


class NotAsExpected(ValueError):
    """An answer that is not what goblin answers."""


class Rows(tuple[T, ...], Generic[T]):  # noqa: SLOT001 - it remembers its model
    """Values of one kind, in order; `df()` makes a DataFrame of them."""

    model: type[T]

    @classmethod
    def of(cls, model: type[T], items: Iterable[T]) -> "Rows[T]":
        """Remembers the kind, so that an empty frame has its columns."""
        rows = cls(items)
        rows.model = model
        return rows

    def df(self, *, exact: bool = False) -> "pd.DataFrame":
        """One row for each; `exact=True` keeps Decimal where there would be float64."""
        return frame_of_rows(self.model, self, exact=exact)


def wire(name: str) -> dict[str, str]:
    """The metadata of a field that has another name in JSON."""
    return {"wire": name}


def read_json(text: bytes | str) -> Any:
    """JSON with int and Decimal for numbers. Raises ValueError."""
    return json.loads(text, parse_float=Decimal, parse_int=_integer)


def decode(wanted: Any, value: Any) -> Any:
    """The JSON value as the wanted type. Raises NotAsExpected."""
    return _decoder(wanted)(value)


def decode_rows(model: type[T], value: Any) -> Rows[T]:
    """A JSON list as values of one kind. Raises NotAsExpected."""
    wanted: Any = model
    return Rows.of(model, _each(_decoder(wanted), value))


def wire_names(model: Any) -> dict[str, str]:
    """The name in JSON of each field."""
    return {f.name: f.metadata.get("wire", f.name) for f in dataclasses.fields(model)}


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= INT_DIGITS_MAX else Decimal(text)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except InvalidOperation:
            pass
        else:
            if number.is_finite():
                return number
    raise NotAsExpected("expected a number")


def _float(value: Any) -> float:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return float(value)
    raise NotAsExpected("expected a number")


def _exactly(kind: type[T]) -> Callable[[Any], T]:
    def read(value: Any) -> T:
        if type(value) is kind:
            return value
        raise NotAsExpected(f"expected {kind.__name__}")

    return read


def _instant(value: Any) -> datetime:
    if isinstance(value, str):
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None:
            return instant
    raise NotAsExpected("expected an instant with a zone")


def _date(value: Any) -> date:
    if isinstance(value, str):
        return date.fromisoformat(value)
    raise NotAsExpected("expected a date")


_PLAIN: Final[Mapping[Any, Callable[[Any], Any]]] = {
    Decimal: _decimal,
    float: _float,
    datetime: _instant,
    date: _date,
    **{kind: _exactly(kind) for kind in (str, int, bool, dict)},
    Any: lambda value: value,
}


@cache
def _decoder(  # noqa: PLR0911 - one for each shape of type
    wanted: Any,
) -> Callable[[Any], Any]:
    if wanted in _PLAIN:
        return _PLAIN[wanted]
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is types.UnionType:
        (inner,) = (a for a in arguments if a is not type(None))
        present = _decoder(inner)
        return lambda value: None if value is None else present(value)
    if origin is Rows:
        (model,) = arguments
        return lambda value: decode_rows(model, value)
    if origin is tuple and arguments[-1] is Ellipsis:
        return lambda value: tuple(_each(_decoder(arguments[0]), value))
    if origin is tuple:
        return lambda value: tuple(
            _decoder(a)(v) for a, v in zip(arguments, _list(value), strict=True)
        )
    if origin is dict:
        inside = _decoder(arguments[1])
        return lambda value: {k: inside(v) for k, v in _PLAIN[dict](value).items()}
    assert dataclasses.is_dataclass(wanted), wanted
    return _model_decoder(wanted)


def _model_decoder(model: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(model)
    names = wire_names(model)
    required = [
        (field.name, names[field.name], _decoder(hints[field.name]))
        for field in dataclasses.fields(model)
        if field.default is dataclasses.MISSING
    ]
    optional = [
        (field.name, names[field.name], _decoder(hints[field.name]))
        for field in dataclasses.fields(model)
        if field.default is not dataclasses.MISSING
    ]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise NotAsExpected(f"expected an object ({model.__name__})")
        member = ""
        try:
            found = {}
            for name, member, decoder in required:
                found[name] = decoder(value[member])
            for name, member, decoder in optional:
                if member in value:
                    found[name] = decoder(value[member])
        except KeyError:
            raise NotAsExpected(f"{model.__name__}.{member} is missing") from None
        except ValueError as error:
            raise NotAsExpected(f"{model.__name__}.{member}: {error}") from None
        return model(**found)

    return read


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NotAsExpected("expected a list")
    return value


def _each(decoder: Callable[[Any], T], value: Any) -> Iterable[T]:
    return [decoder(item) for item in _list(value)]
