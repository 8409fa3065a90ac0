"""Requests that nobody means well with, made for every route that /openapi.json knows."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]

HOSTILE_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "broken": b"{",
    "nan": b'{"symbol":"BTCUSDT","quantity":NaN,"amount":NaN,"data":{"x":NaN},"action":"a"}',
    "infinity": b'{"quantity":Infinity,"amount":-Infinity,"strategy_id":Infinity}',
    "huge number": b'{"quantity":1e400,"amount":1e400,"strategy_id":1e400}',
    "absurd exponent": b'{"quantity":1e99999999999999999999,"amount":1e-99999999999999999999}',
    "lone surrogate": rb'{"symbol":"\ud800","name":"\ud800","email":"\ud800","password":"\ud800",'
    rb'"action":"\ud800","data":{"\ud800":"\ud800"},"slug":"\ud800","\ud800":1}',
    "nul": rb'{"symbol":"\u0000","name":"\u0000","email":"a\u0000@b.co","password":"aaaaaaa\u0000",'
    rb'"action":"\u0000","data":{"a":"\u0000"},"slug":"\u0000","timestamp":"\u0000"}',
    "long integer": b'{"quantity":' + b"9" * 5000 + b',"strategy_id":' + b"9" * 5000 + b"}",
    "deep array": b"[" * 100_000,
    "deep object": b'{"data":' * 50_000,
    "deep data": b'{"symbol":"A","action":"a","data":' + b'{"a":' * 500 + b"1" + b"}" * 501,
    "duplicate keys": b'{"symbol":"BTCUSDT","quantity":1,"quantity":2,"amount":1,"amount":2}',
    "wrong types": b'{"symbol":1,"quantity":true,"amount":[],"name":{},"email":1,"password":1,'
    b'"data":[],"action":1,"strategy_id":"x","timestamp":1,"slug":1}',
    "nulls": b'{"symbol":null,"quantity":null,"amount":null,"name":null,"email":null,'
    b'"password":null,"data":null,"action":null,"strategy_id":null}',
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "bom": b"\xef\xbb\xbf{}",
    "utf-16": "{}".encode("utf-16"),
    "bad utf-8": b'{"symbol":"\xff\xfe"}',
    "id too large": b'{"strategy_id":9223372036854775808,"symbol":"A"}',
    "id negative": b'{"strategy_id":-1,"symbol":"A"}',
    "underscores": b'{"quantity":"1_000","amount":"1_000"}',
    "other digits": '{"quantity":"١٢٣","amount":"１２"}'.encode(),
    "spaces": b'{"quantity":" 5 ","amount":" 5 "}',
    "signs": b'{"quantity":"+5","amount":"-0"}',
    "exponent text": b'{"quantity":"1e3","amount":"1e3"}',
    "too fine": b'{"quantity":1e-21,"amount":"0.000000000000000000001"}',
    "too large": b'{"quantity":"10000000000","amount":10000000000}',
    "zero": b'{"quantity":0,"amount":"0.0"}',
    "two values": b"{} {}",
    "half a character": b'{"symbol":"\xf0\x9f"}',
    "gzip": gzip.compress(b"{}"),
    "nul after the end": b"{}\x00",
}
NEVER_READ = (
    "broken", "nan", "infinity", "absurd exponent", "long integer", "deep array", "deep object",
    "deep data", "duplicate keys", "bom", "utf-16", "bad utf-8", "two values", "half a character",
    "gzip", "nul after the end",
)  # fmt: skip
"""Not JSON, or JSON that parsers disagree about, or made to fill somebody's memory."""

HOSTILE_VALUES: dict[str, str] = {
    "nul": r'"\u0000"',
    "lone surrogate": r'"a\ud800"',
    "nan": "NaN",
    "huge number": "1e400",
    "too long an integer": "1" * 2000,
    "beyond every id": "9223372036854775808",
    "negative": "-1",
    "true": "true",
    "null": "null",
    "list": "[]",
    "object": "{}",
    "empty": '""',
    "underscores": '"1_000"',
    "spaces": '" 5 "',
    "other digits": '"١٢٣"',
    "sql": '"\'; DROP TABLE users; --"',
    "long text": json.dumps("a" * 50_000),
}
"""As JSON, each in the place of every member of a body that is otherwise right."""

NEVER_STORED = ("nul", "lone surrogate", "nan", "too long an integer")
"""422 wherever they stand."""

WELL_FORMED = ("underscores", "spaces", "sql")
"""Texts like others. Where a password is checked for each, "other digits" stands for them."""

HOSTILE_TEXTS = (
    "\0", "%ED%A0%80", "%FF", "'; DROP TABLE users; --", "%25", "_", "\\", "../../x", "9" * 5000,
    "9223372036854775808", "-1", "1e400", "NaN", "١٢", "1_0", " 5 ", "🚀", "a" * 5000, "",
)  # fmt: skip
"""For a path or a query; percent signs are sent as they are."""


@dataclass(frozen=True)
class Operation:
    """One route, and a request for it that would be understood."""

    method: str
    path: str
    described: Json
    components: Json

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def parameters(self, place: str) -> list[Json]:
        return [part for part in self.described["parameters"] if part.get("in") == place]

    def url(self, **texts: str) -> str:
        """Its address, with these texts for some of the parameters of path and query."""
        path = self.path
        for part in self.parameters("path"):
            text = texts.pop(part["name"], None)
            path = path.replace(f"{{{part['name']}}}", quoted(self._example(part, text)))
        for part in self.parameters("query"):
            if part["required"] and part["name"] not in texts:
                texts[part["name"]] = self._example(part, None)
        return path + "?" + "&".join(f"{name}={quoted(text)}" for name, text in texts.items())

    def body(self) -> tuple[str, Json, Json] | None:
        """The media type of its body, the members of that, and an example."""
        if "requestBody" not in self.described:
            return None
        [(kind, content)] = self.described["requestBody"]["content"].items()
        model = content["schema"]
        if "$ref" in model:
            model = self.components["schemas"][model["$ref"].rpartition("/")[2]]
        return kind, model["properties"], content["example"]

    def _example(self, parameter: Json, text: str | None) -> str:
        if text is not None:
            return text
        named = parameter.get("examples")
        return str(next(iter(named.values()))["value"] if named else parameter["example"])


def operations(schema: Json) -> Iterator[Operation]:
    """Every route but those whose answers have no end."""
    for path, methods in schema["paths"].items():
        for method, described in methods.items():
            if path not in ("/events/stream", "/market/stream"):
                yield Operation(method.upper(), path, described, schema["components"])


def quoted(text: str) -> str:
    """Percent-encoded, down to dots; what is so already is left alone."""
    if text.startswith("%"):
        return text
    return quote(text, safe="").replace(".", "%2E")
