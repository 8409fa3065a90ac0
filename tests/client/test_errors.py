"""What goes wrong says what it is, what would be right, and no secret."""

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
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


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these answers, the last one for ever, and what it was asked."""
    left, requests = list(answers), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
    finally:
        server.close()
        await asyncio.sleep(0)


def http(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", body]).encode()


def refusal(code: str) -> str:
    return f'{{"status":"error","message":"m","detail":"m","meta":{{"code":"{code}"}}}}'


ONE_EVENT = http(
    "200 OK",
    'data: {"number": 1, "type": "deposited", "epoch": 1, "data": {}, "request_id": "x", '
    '"event_at": "2026-01-31T12:00:00Z"}\n\n',
    "Content-Type: text/event-stream; charset=utf-8",
)
SYMBOLS = http("200 OK", '{"status":"success","data":["BTCUSDT"]}')


@pytest.mark.parametrize(
    "temporary",
    [
        http("503 Service Unavailable", refusal("database_unavailable"), "Retry-After: 0"),
        http("429 Too Many Requests", refusal("rate_limited")),
        http("409 Conflict", refusal("request_in_progress")),
        http("503 Service Unavailable", "<html>a proxy", "Content-Type: text/html"),
        http("502 Bad Gateway", "<html>a proxy whose goblin starts anew"),
        http("504 Gateway Timeout", "<html>a proxy"),
        http("429 Too Many Requests", "<html>a proxy"),
        http("200 OK", "no gzip at all", "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"",
    ],
)
async def test_what_passes_is_waited_for(temporary: bytes) -> None:
    async with (
        answering(temporary, temporary, SYMBOLS) as (url, requests),
        goblin.AsyncClient(url, retries=AT_ONCE) as client,
    ):
        assert await client.log_symbols() == ("BTCUSDT",)
    assert len(requests) == 3


async def test_what_does_not_pass_is_not_repeated() -> None:
    for lasting in (
        http("409 Conflict", refusal("client_order_id_used")),
        http("500 Internal Server Error", refusal("internal_error")),
        http("502 Bad Gateway", refusal("upstream_invalid")),
        http("503 Service Unavailable", refusal("price_unavailable"), "Retry-After: 6"),
    ):
        async with (
            answering(lasting) as (url, requests),
            goblin.AsyncClient(url, retries=AT_ONCE) as client,
        ):
            with pytest.raises(goblin.GoblinError):
                await client.log_symbols()
        assert len(requests) == 1, "5 seconds are the most that it waits here"


async def test_a_stream_goes_on_when_the_proxy_in_front_of_goblin_has_found_it_again() -> None:
    gone = http("502 Bad Gateway", "<html>a proxy whose goblin starts anew")
    async with (
        answering(gone, gone, ONE_EVENT) as (url, requests),
        goblin.AsyncClient(url, retries=AT_ONCE) as client,
        aclosing(client.events()) as events,
    ):
        assert (await anext(events)).number == 1
    assert len(requests) == 3


async def test_a_stream_that_is_refused_for_now_says_so_while_it_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    full = http("429 Too Many Requests", refusal("too_many_streams"), "Retry-After: 0")
    async with (
        answering(full, ONE_EVENT) as (url, _),
        goblin.AsyncClient(url, retries=AT_ONCE) as client,
        aclosing(client.events()) as events,
    ):
        assert (await anext(events)).number == 1
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "goblin"]
    assert "too_many_streams" in warning


async def test_a_stream_goes_on_when_its_login_could_not_be_renewed_for_a_moment() -> None:
    token = '{"access_token": "a", "refresh_token": "b", "expires_in": 9, "scope": "read"}'
    expired = http("401 Unauthorized", refusal("token_expired"))
    away = http("503 Service Unavailable", refusal("database_unavailable"), "Retry-After: 0")
    renewed = http("200 OK", f'{{"status": "success", "data": {token}}}')
    async with (
        answering(expired, away, expired, renewed, ONE_EVENT) as (url, requests),
        goblin.AsyncClient(url, api_key="old", retries=AT_ONCE) as client,
        aclosing(client.events()) as events,
    ):
        client._refresh = "gor_once"  # noqa: SLF001 - as after a login
        assert (await anext(events)).number == 1
    assert len(requests) == 5


async def test_what_may_have_been_done_behind_a_proxy_is_not_repeated_without_a_key() -> None:
    lost = http("504 Gateway Timeout", "<html>a proxy")
    async with answering(lost) as (url, requests), goblin.AsyncClient(url) as client:
        with pytest.raises(goblin.Unavailable):
            await client.create_api_key("bot")
    assert len(requests) == 1


async def test_a_change_that_has_no_idempotency_key_is_not_repeated_after_a_broken_answer() -> None:
    async with answering(b"") as (url, requests), goblin.AsyncClient(url) as client:
        with pytest.raises(goblin.ConnectionLost, match="it may have been done, or not: look"):
            await client.create_api_key("bot")
        client._refresh = "gor_once"  # noqa: SLF001 - as after a login
        with pytest.raises(goblin.ConnectionLost, match="log in again"):
            await client.refresh()
    assert len(requests) == 2


async def test_every_repetition_of_a_change_has_the_same_key_and_every_change_its_own() -> None:
    gone = http("503 Service Unavailable", refusal("x"), "Retry-After: 0")
    async with answering(gone) as (url, requests), goblin.AsyncClient(url, retries=AT_ONCE) as it:
        with pytest.raises(goblin.Unavailable):
            await it.deposit("1")
        with pytest.raises(goblin.Unavailable) as failed:
            await it.deposit("1")
    keys = [
        line.split(b": ")[1].decode()
        for request in requests
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"idempotency-key")
    ]
    each = 1 + AT_ONCE.count
    assert len(keys) == 2 * each
    assert len(set(keys[:each])) == len(set(keys[each:])) == 1
    assert keys[0] != keys[-1] == failed.value.idempotency_key


async def test_something_else_on_the_port_is_called_so() -> None:
    for other in (http("200 OK", "<html>"), http("404 Not Found", "<html>"), http("200 OK", "[]")):
        async with answering(other) as (url, _), goblin.AsyncClient(url) as client:
            with pytest.raises(goblin.BadAnswer, match="does another program listen there"):
                await client.me()
            with pytest.raises(goblin.BadAnswer, match="does another program listen there"):
                await anext(client.events())


async def test_a_key_is_not_carried_to_where_an_answer_leads_which_is_said() -> None:
    async with answering(SYMBOLS) as (elsewhere, requests):
        moved = http("308 Permanent Redirect", "", f"Location: {elsewhere}/log/symbols")
        async with answering(moved) as (url, _), goblin.AsyncClient(url, api_key=KEY) as client:
            with pytest.raises(goblin.BadAnswer, match=f"it leads to {elsewhere}/log/symbols"):
                await client.log_symbols()
    assert requests == []


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
            status=503, headers={"Retry-After": text}, content=refusal("x").encode(), where="GET /",
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
