import json
from typing import Any

import pytest
from app.replay.faults import FAULTS_MAX, JSON, KINDS, Answer, Fault, Faults
from app.replay.wire import encoded, envelope

PATH = "/v5/market/tickers"
PRICE = "104353.60"


def true_answer() -> Answer:
    ticker = {"symbol": "BTCUSDT", "lastPrice": PRICE, "markPrice": PRICE}
    document = envelope({"category": "linear", "list": [ticker]}, time_ms=1_748_623_363_079)
    return Answer(document=document, headers=JSON, body=encoded(document))


def body_after(kind: str, **options: Any) -> bytes:
    faults = Faults()
    faults.add(kind, **options)
    body = faults.apply(true_answer(), path=PATH, symbol="BTCUSDT").body
    assert isinstance(body, bytes)
    return body


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_the_answer(kind: str) -> None:
    faults = Faults()
    faults.add(kind, value="1")
    assert faults.apply(true_answer(), path=PATH, symbol="BTCUSDT") != true_answer()


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("price_empty", '""'),
        ("price_nan", '"NaN"'),
        ("price_nan_number", "NaN"),
        ("price_infinity", '"Infinity"'),
        ("price_zero", '"0"'),
        ("price_negative", '"-104353.60"'),
        ("price_1e30", '"1e30"'),
        ("price_40_decimals", '"104353.60' + "1" * 40 + '"'),
        ("price_number", "104353.60"),
        ("price_array", '["104353.60"]'),
        ("price_null", "null"),
    ],
)
def test_only_the_last_price_is_bent_and_into_exactly_this(kind: str, shown: str) -> None:
    whole = encoded(true_answer().document)
    assert body_after(kind) == whole.replace(
        f'"lastPrice":"{PRICE}"'.encode(), f'"lastPrice":{shown}'.encode()
    )


def test_a_price_can_be_set_and_can_be_absent() -> None:
    (ticker,) = json.loads(body_after("price", value='4"2'))["result"]["list"]
    assert ticker["lastPrice"] == '4"2'
    (ticker,) = json.loads(body_after("price_absent"))["result"]["list"]
    assert ticker == {"symbol": "BTCUSDT", "markPrice": PRICE}


def test_symbol_category_and_time_can_be_wrong() -> None:
    (ticker,) = json.loads(body_after("wrong_symbol", value="ETHUSDT"))["result"]["list"]
    assert ticker["symbol"] == "ETHUSDT"
    assert json.loads(body_after("wrong_category", value="spot"))["result"]["category"] == "spot"
    assert json.loads(body_after("time_stale", seconds=10))["time"] == 1_748_623_353_079
    assert json.loads(body_after("time_future", seconds=10))["time"] == 1_748_623_373_079


def test_a_fault_happens_as_often_as_it_should_and_only_where_it_should() -> None:
    faults = Faults()
    faults.add("status_500", times=2, path=PATH, symbol="BTCUSDT")
    asked = [
        faults.apply(true_answer(), path=path, symbol=symbol).status
        for path, symbol in [
            ("/v5/market/kline", "BTCUSDT"),
            (PATH, "ETHUSDT"),
            (PATH, None),
            (PATH, "BTCUSDT"),
            (PATH, "BTCUSDT"),
            (PATH, "BTCUSDT"),
        ]
    ]
    assert asked == [200, 200, 200, 500, 500, 200]
    assert faults.active == ()


def test_a_fault_without_a_count_stays_until_it_is_cleared() -> None:
    faults = Faults()
    faults.add("status_500")
    for _ in range(5):
        assert faults.apply(true_answer(), path=PATH, symbol=None).status == 500
    faults.clear()
    assert faults.apply(true_answer(), path=PATH, symbol=None) == true_answer()


def test_faults_add_up() -> None:
    faults = Faults()
    faults.add("delay", seconds=3)
    faults.add("price_zero")
    answer = faults.apply(true_answer(), path=PATH, symbol=None)
    assert answer.wait_seconds == 3
    assert isinstance(answer.body, bytes)
    assert b'"lastPrice":"0"' in answer.body


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"kind": "explode"}, "none of delay, hang"),
        ({"kind": "delay", "times": 0}, "times is at least 1"),
        ({"kind": "delay", "seconds": -1}, "seconds is a number from 0"),
        ({"kind": "delay", "seconds": float("nan")}, "seconds is a number from 0"),
    ],
)
def test_an_impossible_fault_is_refused(options: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        Fault(**options)


def test_faults_are_not_collected_for_ever() -> None:
    faults = Faults()
    for _ in range(FAULTS_MAX):
        faults.add("delay")
    with pytest.raises(ValueError, match="clear them first"):
        faults.add("delay")
