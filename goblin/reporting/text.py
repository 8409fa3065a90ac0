"""Numbers as people read them, without losing a digit of money."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

NO_VALUE: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def wire(amount: Decimal) -> str:
    """As the server spells it: every decimal, never an exponent."""
    return format(amount, "f")


def money(amount: Decimal) -> str:
    """Every digit, but for the zeros at the end beyond cents; thousands apart."""
    whole, _, decimals = wire(amount).partition(".")
    sign = _MINUS if amount < 0 else ""
    return f"{sign}{int(whole.lstrip('-')):,}.{decimals.rstrip('0').ljust(2, '0')}"


def cents(amount: Decimal) -> str:
    """Rounded to two decimals."""
    return money(round(amount, 2))


def quantity(amount: Decimal) -> str:
    """Every digit, without zeros at the end."""
    return money(amount).rstrip("0").removesuffix(".")


def percent(ratio: float) -> str:
    """Two decimals and a sign."""
    text = f"{abs(ratio) * 100:,.2f} %"
    if float(f"{ratio * 100:.2f}") == 0:
        return text
    return f"{_MINUS if ratio < 0 else '+'}{text}"


def share(ratio: float) -> str:
    """A part of a whole, in percent."""
    return f"{ratio * 100:,.1f} %"


def number(value: float) -> str:
    """Two decimals."""
    return f"{value:,.2f}".replace("-", _MINUS)


def duration(seconds: float) -> str:
    """The two largest units that say something."""
    whole = round(seconds)
    parts = [
        (whole // _DAY, "d"),
        (whole % _DAY // _HOUR, "h"),
        (whole % _HOUR // _MINUTE, "min"),
        (whole % _MINUTE, "s"),
    ]
    first = next((index for index, (count, _) in enumerate(parts) if count), None)
    if first is None:
        return f"{seconds:.2f} s"
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def moment(at: datetime) -> str:
    """To the minute, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def second(at: datetime) -> str:
    """To the second, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
