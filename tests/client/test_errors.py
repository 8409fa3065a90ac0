"""What goes wrong says what it is, what would be right, and no secret."""

import asyncio
import socket
import traceback
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import goblin
import httpx
import jwt
import numpy as np
import pytest
from goblin.calls import Call, amount, dump_json
from goblin.decoding import read_json
from goblin.errors import error_of
from goblin.retries import Attempts
from goblin.sse import SseParser
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.conftest import AT_ONCE
from tests.conftest import Installation, Person

KEY = "gob_a-key-that-nobody-may-see"


async def test_an_error_has_the_code_the_text_and_the_request_that_the_log_knows(
    client: goblin.AsyncClient,
) -> None:
    with pytest.raises(goblin.Refused) as refused:
        await client.close_order("BTCUSDT")
    error = refused.value
    assert (error.code, error.message, error.status) == ("order_not_found", "order not found", 400)
    assert error.request_id
    assert str(error) == f"order not found (order_not_found, request {error.request_id})"
    with pytest.raises(goblin.NotFound) as missing:
        await client.order(2**62)
    assert missing.value.code == "order_missing"


async def test_an_invalid_request_names_the_member_and_the_rule(
    client: goblin.AsyncClient,
) -> None:
    with pytest.raises(goblin.Invalid) as invalid:
        await client.buy("BTCUSDT", "-1")
    (problem,) = invalid.value.fields
    assert problem.loc == ("body", "quantity")
    assert "expected a plain decimal" in problem.msg or problem.msg == "expected more than 0"


async def test_nobody_listens_there_is_said_at_once_and_how_to_start_goblin() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with goblin.AsyncClient(url, retries=goblin.Retries(count=10_000)) as client:
            with pytest.raises(goblin.Unreachable, match=r"nothing answers at .*\./scripts/run"):
                await client.price("BTCUSDT")
            with pytest.raises(goblin.Unreachable, match="nothing answers"):
                await anext(client.events())


async def test_no_key_says_how_to_make_one_and_a_wrong_one_says_that_it_is_wrong(url: str) -> None:
    async with goblin.AsyncClient(url) as client:
        with pytest.raises(goblin.Unauthenticated, match=r"create_api_key\(") as unknown:
            await client.me()
    assert unknown.value.code == "not_authenticated"
    async with goblin.AsyncClient(url, api_key=KEY) as client:
        with pytest.raises(goblin.Unauthenticated) as wrong:
            await client.me()
        with pytest.raises(goblin.Unauthenticated, match="no session to renew: log in first"):
            await client.refresh()
    assert (wrong.value.code, wrong.value.hint) == ("invalid_api_key", "")


async def test_no_representation_and_no_traceback_shows_a_key(url: str) -> None:
    async with goblin.AsyncClient(url, api_key=KEY) as client:
        assert repr(client) == f"<AsyncClient {url} with a key>"
        with pytest.raises(goblin.Unauthenticated) as wrong:
            await client.me()
        shown = "".join(traceback.format_exception(wrong.value)) + repr(wrong.value)
    assert KEY not in shown + repr(vars(wrong.value))


def test_an_environment_without_address_or_key_says_what_to_set() -> None:
    with pytest.raises(goblin.NotConfigured, match="GOBLIN_URL and GOBLIN_API_KEY must be set"):
        goblin.Client.from_environment({"GOBLIN_API_KEY": ""})
    found = {"GOBLIN_URL": "http://127.0.0.1:1"}
    with pytest.raises(goblin.NotConfigured, match="variable GOBLIN_API_KEY must be set: export"):
        goblin.Client.from_environment(found)
    with goblin.Client.from_environment(found | {"GOBLIN_API_KEY": KEY}) as client:
        assert repr(client) == "<Client http://127.0.0.1:1 with a key>"


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "http://", "http://x:port", "http://[::1", "http://x?to=me", "ftp://x"],
)
def test_what_is_no_address_is_refused_with_one_that_would_do(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected an address like http://127\.0\.0\.1:8000"):
        goblin.Client(url)


def test_an_address_with_a_password_is_refused_and_does_not_show_it() -> None:
    with pytest.raises(ValueError, match="api_key says who asks") as refused:
        goblin.Client("http://ada:battery-staple@127.0.0.1:8000", api_key=KEY)
    assert "battery" not in str(refused.value)


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}\u00fc", ""])
def test_a_key_with_something_around_it_is_refused_and_does_not_show(key: str) -> None:
    """The HTTP library's own complaint quotes the whole header."""
    with pytest.raises(ValueError, match="api_key is empty, or has a blank") as refused:
        goblin.Client(api_key=key)
    assert KEY not in str(refused.value)


async def test_an_idempotency_key_that_cannot_be_sent_is_refused_and_none_is_put_in_its_place(
    client: goblin.AsyncClient,
) -> None:
    for key in ("", "a\n", "\u0444"):
        with pytest.raises(ValueError, match="idempotency_key is empty, or has a blank"):
            await client.deposit("1", idempotency_key=key)
    assert (await client.me()).balance == 1_000_000


@pytest.mark.parametrize("value", [0.1, True, None, float("nan")])
async def test_a_float_is_never_taken_for_an_amount(client: goblin.AsyncClient, value: Any) -> None:
    with pytest.raises(TypeError, match=r'which is not exact: write "0.1" or Decimal\("0.1"\)'):
        await client.buy("BTCUSDT", value)


def test_an_integer_of_a_frame_is_as_exact_as_any() -> None:
    whole: Any = np.int64(2**60 + 1)
    assert amount(whole, "quantity") == "1152921504606846977"
    half: Any = np.float64(0.5)
    with pytest.raises(TypeError, match="quantity is a float64, which is not exact"):
        amount(half, "quantity")


def test_what_a_frame_compares_and_counts_can_be_logged() -> None:
    values = [np.bool_(True), np.int64(3) > np.int64(2), np.int64(3), np.float64(0.5)]
    assert dump_json({"data": values}) == '{"data":[true,true,3,0.5]}'
    with pytest.raises(TypeError, match="data is a ndarray"):
        dump_json({"data": np.array([1, 2])})


def test_what_json_does_not_have_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"data.rsi\[1\] is nan, which JSON does not have"):
        dump_json({"data": {"rsi": [1, float("nan")]}})
    with pytest.raises(TypeError, match="data is a set"):
        dump_json({"data": {1, 2}})


async def test_whatever_can_be_watched_can_be_unwatched(client: goblin.AsyncClient) -> None:
    for symbol in (".", "..", "X/../Y", "A%2FB", "A?B#C"):
        await client.watch(symbol)
        await client.unwatch(symbol)
    assert await client.watchlist().all() == ()


async def test_an_expired_login_is_renewed_once_for_all_who_ask(
    installation: Installation, url: str, somebody: Person
) -> None:
    async with goblin.AsyncClient(url, retries=AT_ONCE) as client:
        await client.register(f"x{somebody.user.id}@example.com", "correct horse", "X")
        session = await client.login(f"x{somebody.user.id}@example.com", "correct horse")
        key = installation.resources.token_key
        claims = jwt.decode(session.access_token, options={"verify_signature": False})
        old = jwt.encode({**claims, "exp": claims["iat"] - 1}, key.secret, algorithm=key.algorithm)
        client._access = old  # noqa: SLF001 - as if an hour had passed
        users = await asyncio.gather(*(client.me() for _ in range(5)))
        assert len({user.id for user in users}) == 1
        client._access = old  # noqa: SLF001 - and again
        async with aclosing(client.events()) as events:
            assert (await anext(events)).type == "account_opened"


def test_the_wait_grows_is_jittered_and_believes_the_server() -> None:
    for retries, part in (
        (goblin.Retries(random=lambda: 0.0), 0.5),
        (goblin.Retries(random=lambda: 1.0), 1.0),
    ):
        waits = [retries.wait_seconds(n) for n in range(10)]
        assert waits == sorted(waits)
        assert (waits[0], waits[-1]) == (0.25 * part, 30 * part)
        assert 7 <= retries.wait_seconds(0, retry_after_seconds=7) < 8


def test_retry_after_may_be_a_date() -> None:
    for text, seconds in (
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10.0), ("12", 12.0), ("soon", None),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
    ):  # fmt: skip
        error = error_of(
            status=503, headers={"Retry-After": text}, content=b"", where="GET /",
            now=1445412480.0, has_credentials=True, idempotency_key=None,
        )  # fmt: skip
        assert error.retry_after_seconds == seconds


def test_nothing_is_repeated_more_often_than_allowed() -> None:
    call = Call(method="GET", path="/", query={})
    attempts = Attempts(call, goblin.Retries(count=2), url="http://x", was_reached=True)
    cause = httpx.ReadError("cut")
    for _ in range(2):
        assert attempts.after_failure(cause, was_sent=True) > 0
    with pytest.raises(goblin.ConnectionLost, match=r"GET / \(ReadError\): ask again"):
        attempts.after_failure(cause, was_sent=True)
    with pytest.raises(goblin.Unreachable, match=r"nothing answers at http://x \(ConnectTimeout\)"):
        attempts.after_failure(httpx.ConnectTimeout(""), was_sent=False)


@given(st.lists(st.text(alphabet="a\u2028\x85\x0b é", max_size=5)), st.integers(1, 7))
def test_a_stream_is_read_the_same_however_it_is_cut(texts: list[str], size: int) -> None:
    stream = "".join(f": hi\n\nid: 1\nevent: x\ndata: {text}\n\n" for text in texts).encode()
    parser = SseParser()
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert [m.decode() for piece in pieces for m in parser.feed(piece)] == texts


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text()
        | st.decimals(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)  # fmt: skip
def test_json_arrives_as_it_was_written(value: object) -> None:
    assert read_json(dump_json(value)) == value
    assert dump_json(Decimal("0.10000000000000000000000")) == "0.10000000000000000000000"
