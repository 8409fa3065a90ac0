"""GET /market/indicators."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from app.analysis import indicators as whole
from app.analysis.series import Floats
from app.services.indicators import KINDS, parse_wanted
from tests.conftest import CloneDatabase
from tests.integration.api.test_candles import installed
from tests.integration.api.test_conventions import assert_is_error

FILE = "bybit_linear_BTCUSDT_1.parquet"
START = "2025-06-05T12:00:30Z"
QUERY = {"symbol": "BTCUSDT", "interval": "1m", "category": "linear"}


async def asked(client: httpx.AsyncClient, *wanted: str, **query: str | int) -> dict[str, Any]:
    answer = await client.get(
        "/market/indicators", params={**QUERY, "indicator": list(wanted), **query}
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 422, "validation_error"),
        ({"indicator": ""}, 422, "validation_error"),
        ({"indicator": "rsi\0"}, 422, "validation_error"),
        ({"indicator": ["rsi"] * 11}, 422, "validation_error"),
        ({"indicator": "rsi", "interval": "7m"}, 422, "validation_error"),
        ({"indicator": "rsi", "limit": 1001}, 422, "validation_error"),
        ({"indicator": "rsi", "from": "1969-12-31"}, 422, "validation_error"),
        ({"indicator": "rsi", "symbol": "NOSUCH"}, 404, "unknown_symbol"),
        ({"indicator": "rsi", "from": "2024-12-02", "to": "2024-12-01"}, 400, "candle_range"),
        ({"indicator": "rsi", "from": "2090-12-02"}, 400, "candle_range"),
        ({"indicator": "rsi", "from": "2013-12-02"}, 400, "candle_range"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    anonymous: httpx.AsyncClient, query: dict[str, Any], status: int, code: str
) -> None:
    asked_for = {"symbol": "BTCUSDT", "interval": "1d", **query}
    assert_is_error(await anonymous.get("/market/indicators", params=asked_for), status, code)


@pytest.mark.parametrize(
    ("indicator", "text"),
    [
        ("wisdom", "choose of sma, ema"),
        (" ", "choose of sma, ema"),
        ("rsi:14,15", "rsi takes period"),
        ("obv:1", "obv takes no parameter"),
        ("rsi:", None),
        ("rsi:0", "period has to be a whole number from 1, at most 200, for example rsi:14"),
        ("rsi:14.5", "period has to be a whole number"),
        ("rsi:١٤", "period has to be a whole number"),
        ("sma:201", "at most 200"),
        ("macd:26,12", "fast has to be less than slow"),
        ("adx:200", "look back 4200 candles"),
        ("bollinger:20,0", "deviations has to be"),
        ("bollinger:20,nan", "deviations has to be a plain number, for example bollinger:20,2"),
        ("bollinger:20,1e3", "deviations has to be a plain number"),
    ],
)
async def test_a_wrong_parameter_is_named_with_what_would_be_right(
    anonymous: httpx.AsyncClient, indicator: str, text: str | None
) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1d", "indicator": indicator, "to": "2024-12-02"}
    answer = await anonymous.get("/market/indicators", params=query)
    if text is None:
        assert answer.status_code == 200
    else:
        assert_is_error(answer, 400, "indicator_refused")
        assert text in answer.json()["message"]


def test_a_label_can_be_asked_for_again_and_belongs_to_one_indicator() -> None:
    texts = ("bollinger:20,0.00000001", "bollinger:20,2.00000001", "bollinger:20,2", "macd")
    labels = [parse_wanted(text).label for text in texts]
    assert labels == [*texts[:3], "macd:12,26,9"]
    assert [parse_wanted(label).label for label in labels] == labels


async def test_values_are_those_of_the_whole_series_wherever_a_page_begins(
    clone: CloneDatabase, shared_data: Path
) -> None:
    file = shared_data / "candles" / FILE
    async with installed(clone, file, START) as (_, client, _exchange):
        candles = (
            await client.get("/market/candles", params={**QUERY, "limit": 3000, "to": "2025-06-05"})
        ).json()["data"]["candles"]
        assert len(candles) == 3000
        columns = {
            name: np.array([float(candle[name]) for candle in candles])
            for name in ("high", "low", "close", "volume")
        }
        times = [candle["open_time"] for candle in candles]
        wanted = [name for name in KINDS if name not in {"obv", "vwap"}]
        body = await asked(client, *wanted[:10], to="2025-06-05", limit=50)
        more = await asked(client, *wanted[10:], to="2025-06-05", limit=50)
        assert [row["open_time"] for row in body["data"]["rows"]] == times[-50:]
        assert "next_cursor" not in body["meta"]
        for answer in (body, more):
            for shown in answer["data"]["indicators"]:
                name = shown["indicator"]
                function = getattr(whole, name)
                kind = KINDS[name]
                found = function(
                    *(columns[column] for column in kind.inputs), **number_types(shown, kind)
                )
                parts: list[Floats] = list(found) if isinstance(found, tuple) else [found]
                for member, part in zip(shown["members"], parts, strict=True):
                    values = [row["values"][member] for row in answer["data"]["rows"]]
                    np.testing.assert_allclose(
                        values, part[-50:], rtol=1e-6, atol=1e-5, err_msg=member
                    )

        begin = times[-60]
        one = await asked(client, "sma:5", "obv", "vwap", limit=40, **{"from": begin})
        assert [row["open_time"] for row in one["data"]["rows"]] == times[-60:-20]
        assert [row["values"]["sma:5"] for row in one["data"]["rows"]] == list(
            whole.sma(columns["close"], 5)[-60:-20]
        )
        tail = {name: column[-60:] for name, column in columns.items()}
        volumes = [row["values"]["obv"] for row in one["data"]["rows"]]
        assert volumes == list(whole.obv(tail["close"], tail["volume"])[:40])
        prices = [row["values"]["vwap"] for row in one["data"]["rows"]]
        expected = whole.vwap(tail["high"], tail["low"], tail["close"], tail["volume"])
        assert prices == list(expected[:40])
        assert one["meta"]["next_cursor"] == times[-20]
        two = await asked(
            client, "sma:5", limit=40,
            **{"from": begin, "to": "2025-06-05", "cursor": one["meta"]["next_cursor"]},
        )  # fmt: skip
        assert [row["open_time"] for row in two["data"]["rows"]] == times[-20:]
        assert "next_cursor" not in two["meta"]


def number_types(shown: dict[str, Any], kind: Any) -> dict[str, Any]:
    """JSON has one kind of number; a period is a whole one."""
    return {name: type(kind.parameters[name])(value) for name, value in shown["parameters"].items()}


async def test_a_series_younger_than_the_warm_up_has_rows_without_the_value(
    clone: CloneDatabase, shared_data: Path
) -> None:
    file = shared_data / "candles" / FILE
    async with installed(clone, file, START) as (_, client, _exchange):
        first = (
            await client.get("/market/candles", params={**QUERY, "from": "2016-01-01", "limit": 1})
        ).json()
        begin = first["data"]["candles"][0]["open_time"]
        body = await asked(client, "sma:3", "rsi", limit=20, **{"from": begin})
        assert body["meta"]["from"] == begin
        rows = [sorted(row["values"]) for row in body["data"]["rows"]]
        assert rows == [[]] * 2 + [["sma:3"]] * 12 + [["rsi:14", "sma:3"]] * 6
