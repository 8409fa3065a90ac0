"""Many numbers as one parameter of a statement, which takes it as `$1::text::bigint[]`.

The driver looks at every element of a list for another list in it, and puts it into binary form:
a microsecond each, and the rows of one order have fifty.
"""

from collections.abc import Iterable
from decimal import Decimal


def number_array(numbers: Iterable[int | Decimal | None]) -> str:
    """PostgreSQL's own spelling of an array, with every digit; None is NULL."""
    return f"{{{','.join(['NULL' if n is None else str(n) for n in numbers])}}}"
