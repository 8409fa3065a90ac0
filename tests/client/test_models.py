"""The models say what swagger.yaml says, digit by digit."""

import dataclasses
import types
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from goblin import models
from goblin.decoding import NotAsExpected, Rows, decode, read_json, wire_names
from hypothesis import given
from hypothesis import strategies as st
from tests.client.conftest import SWAGGER

SCHEMAS: dict[str, Any] = SWAGGER["components"]["schemas"]
MODELS = {
    "AccountOut": models.LedgerAccount,
    "AdminUser": models.AdminUser,
    "ApiKeyOut": models.ApiKey,
    "AuditOut": models.Audit,
    "BookOut": models.OrderBook,
    "CandleOut": models.Candle,
    "EntryOut": models.LedgerEntry,
    "EventOut": models.Event,
    "Health": models.Health,
    "IndicatorRow": models.IndicatorRow,
    "InstallationAuditOut": models.InstallationAudit,
    "InstrumentOut": models.Instrument,
    "LogOut": models.LogEntry,
    "NewApiKey": models.NewApiKey,
    "OrderDetail": models.OrderDetail,
    "OrderOut": models.Order,
    "OrderPreview": models.OrderPreview,
    "PriceOut": models.Price,
    "Session": models.Session,
    "StatisticsOut": models.Statistics,
    "StrategyOut": models.Strategy,
    "TickerOut": models.Ticker,
    "Token": models.Token,
    "TradeStrategyOut": models.TradeStrategy,
    "UserOut": models.User,
    "WatchlistOut": models.WatchlistEntry,
    "PublicTradesOut": models.PublicTrades,
}
NEVER_NEEDED = {"token_type"}
NOT_IN_SWAGGER = {models.Live, models.MarketUpdate}
"""What others begin with, and what streams say."""


def plain_kinds(schema: dict[str, Any]) -> set[Any]:
    """What a value that is neither list nor model may be read as."""
    if schema["type"] == "string":
        if schema.get("pattern", "").endswith(("[0-9]{20}$", "[1-9])?$")):
            return {Decimal}
        instants: dict[str, set[Any]] = {"date-time": {datetime}, "date": {date}}
        return instants.get(schema.get("format", ""), {str, Decimal})
    kinds: dict[str, Any] = {
        "integer": int,
        "number": float,
        "boolean": bool,
        "object": dict[str, Any],
        "array": tuple[tuple[Decimal, Decimal], ...],
    }
    return {kinds[schema["type"]]}


def differences(schema: dict[str, Any], kind: Any, place: str, reached: set[type]) -> list[str]:
    """Where the type is another than the schema says."""
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        reached.add(kind)
        return model_differences(schema, kind, place, reached)
    if schema["type"] == "array" and "prefixItems" not in schema["items"]:
        if get_origin(kind) not in (Rows, tuple):
            return [place]
        return differences(schema["items"], get_args(kind)[0], f"{place}[]", reached)
    if isinstance(schema.get("additionalProperties"), dict):
        if get_origin(kind) is not dict:
            return [place]
        inner = schema["additionalProperties"]
        return differences(inner, get_args(kind)[1], f"{place}{{}}", reached)
    return [] if kind in plain_kinds(schema) else [place]


def model_differences(
    schema: dict[str, Any], model: Any, place: str, reached: set[type]
) -> list[str]:
    names, hints = wire_names(model), get_type_hints(model)
    found = set(names.values()) ^ (set(schema["properties"]) - NEVER_NEEDED)
    wrong = [f"{place}.{name}" for name in sorted(found)]
    for field in dataclasses.fields(model):
        name, kind = names[field.name], hints[field.name]
        if name in found:
            continue
        inner = f"{place}.{name}"
        if name not in schema.get("required", ()):
            if get_origin(kind) is not types.UnionType or field.default is not None:
                wrong.append(f"{inner} may be absent")
            (kind,) = [a for a in get_args(kind) if a is not type(None)] or [kind]
        wrong += differences(schema["properties"][name], kind, inner, reached)
    return wrong


def test_every_model_has_the_members_and_types_that_swagger_yaml_promises() -> None:
    reached: set[type] = set()
    wrong = [
        place
        for name, model in MODELS.items()
        for place in differences(SCHEMAS[name], model, name, reached)
    ]
    assert wrong == []
    written = {m for m in vars(models).values() if dataclasses.is_dataclass(m)}
    assert written - reached == NOT_IN_SWAGGER


def test_a_difference_between_model_and_schema_would_be_found() -> None:
    schema = SCHEMAS["WatchlistOut"]
    more = {**schema, "properties": {**schema["properties"], "note": {"type": "string"}}}
    assert differences(more, models.WatchlistEntry, "x", set()) == ["x.note"]
    less = {**schema, "required": ["id", "created_at"]}
    assert differences(less, models.WatchlistEntry, "x", set()) == ["x.symbol may be absent"]
    other = {**schema, "properties": {**schema["properties"], "id": {"type": "string"}}}
    assert differences(other, models.WatchlistEntry, "x", set()) == ["x.id"]


ENTRY = '{"id": 1, "symbol": "BTCUSDT", "created_at": "2026-01-31T12:00:00.123456Z"%s}'


def test_a_member_that_only_a_newer_server_knows_changes_nothing() -> None:
    newer = decode(models.WatchlistEntry, read_json(ENTRY % ', "note": {"of": [1, null]}'))
    assert newer == decode(models.WatchlistEntry, read_json(ENTRY % ""))
    assert newer.created_at == datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"id": 1}', "WatchlistEntry.symbol is missing"),
        (ENTRY.replace('"id": 1', '"id": "1"') % "", "WatchlistEntry.id: expected int"),
        (ENTRY.replace("Z", "") % "", "WatchlistEntry.created_at: expected an instant with a zone"),
        ("[]", r"expected an object \(WatchlistEntry\)"),
    ],
)
def test_an_answer_that_is_something_else_is_named_and_not_guessed_at(
    text: str, complaint: str
) -> None:
    with pytest.raises(NotAsExpected, match=complaint):
        decode(models.WatchlistEntry, read_json(text))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=20))
def test_money_keeps_every_digit_as_text_and_as_a_number(amount: Decimal) -> None:
    for text in (f'"{amount:f}"', f"{amount:f}"):
        assert decode(Decimal, read_json(text)).as_tuple() == amount.as_tuple()


@pytest.mark.parametrize("text", ['"NaN"', '"Infinity"', "true", '"1,5"', "null", "[]"])
def test_what_is_no_amount_is_never_taken_for_one(text: str) -> None:
    with pytest.raises(NotAsExpected, match="expected a number"):
        decode(Decimal, read_json(text))


def test_a_value_cannot_be_changed_and_shows_no_secret() -> None:
    token: Any = models.Token(
        access_token="eyJ-1", refresh_token="gor_2", expires_in=9, scope="read"
    )
    assert repr(token) == "Token(expires_in=9, scope='read')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        token.scope = "admin"
