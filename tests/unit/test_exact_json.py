import json
from decimal import Decimal
from typing import Any

import pytest
from app.http.exact_json import BODY_DEPTH_MAX, DEPTH_MAX, dump_exact_json, parse_exact_json
from hypothesis import given
from hypothesis import strategies as st

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=25)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner
        )
    ),
    max_leaves=20,
)


def test_a_number_keeps_every_digit_that_was_sent() -> None:
    assert parse_exact_json(b'{"q": 0.12345678901234567891}') == {
        "q": Decimal("0.12345678901234567891")
    }
    assert parse_exact_json(b"[" + b"1" * 900 + b"]") == [Decimal("1" * 900)]
    assert parse_exact_json(b"[1e308, 5E-324, 1e+0000400]") == [
        Decimal("1e308"),
        Decimal("5e-324"),
        Decimal("1e400"),
    ]


@given(values)
def test_the_users_own_json_comes_back_as_it_went(value: Any) -> None:
    assert parse_exact_json(dump_exact_json(value).encode()) == value


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "Expecting"),
        (b"\xff", "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16-be"), "."),
        ("{}".encode("utf-32"), "."),
        (b"[" + b"1" * 1001 + b"]", "a number of more than 1000 characters"),
        (b"[-1" + b"1" * 5000 + b"]", "a number of more than 1000 characters"),
        (b"[0." + b"1" * 1001 + b"]", "a number of more than 1000 characters"),
        (b"[1e401]", "exponent beyond 400"),
        (b"[1E-401]", "exponent beyond 400"),
        (b"[1e" + b"9" * 100_000 + b"]", "exponent beyond 400"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1, "a": 2}', "the same key twice"),
        (b'{"b": [{"a": 1, "a": 1}]}', "the same key twice"),
        (rb'{"a": 1, "\u0061": 2}', "the same key twice"),
    ],
)
def test_a_body_that_is_not_json_is_said_to_be_none(body: bytes, problem: str) -> None:
    with pytest.raises(json.JSONDecodeError, match=problem):
        parse_exact_json(body)


@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'{"a":[', b"]}")]
)
def test_nesting_is_counted_to_the_level(opening: bytes, closing: bytes) -> None:
    levels = len(opening.replace(b'"a":', b""))
    most = BODY_DEPTH_MAX // levels
    parse_exact_json(opening * most + b"1" + closing * most)
    parse_exact_json(b"[" + b"[{}]," * 1000 + b"1]")
    with pytest.raises(json.JSONDecodeError, match="nested too deeply: at most 102 levels"):
        parse_exact_json(opening * (most + 1) + b"1" + closing * (most + 1))


@pytest.mark.parametrize(
    "body",
    [b'{"a": 1e400}', b'{"a": 1e309}',
     rb'{"a": "\u0000"}', rb'{"a": "\ud800"}', rb'{"\ud800": 1}',
     b"[" * (DEPTH_MAX + 2) + b"]" * (DEPTH_MAX + 2)],
)  # fmt: skip
def test_what_would_not_come_back_is_not_taken(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        dump_exact_json(parse_exact_json(body))
