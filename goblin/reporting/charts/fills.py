"""The market of one symbol, and where the account bought and sold in it."""

from collections.abc import Sequence

from goblin.models import Candle, Order
from goblin.reporting.charts import (
    BUY,
    GAIN,
    LOSS,
    QUIET,
    SCHEMA,
    SELL,
    WIDTH,
    Spec,
    milliseconds,
    time_axis,
    told,
    value_axis,
    zoom,
)
from goblin.reporting.data import Execution, Market
from goblin.reporting.intervals import SECONDS
from goblin.reporting.text import money, quantity, second


def fills_chart(name: str, market: Market, orders: Sequence[Order]) -> Spec:
    """Candles with a triangle for every fill and a line from each purchase to its sale.

    `name` is its own among all charts that are drawn together.
    """
    length_ms = SECONDS[market.interval] * 1000
    by_id = {order.id: order for order in orders}
    price = value_axis("low", ",~f", scale={"zero": False})
    return {
        "$schema": SCHEMA,
        "description": f"Candles and fills of {market.symbol}",
        "width": WIDTH,
        "height": 300,
        "params": [zoom(name)],
        "layer": [
            *_candles([_candle(each, length_ms) for each in market.candles], price),
            _ways(_pairs(market.executions)),
            _marks(name, [_mark(fill, by_id.get(fill.order_id)) for fill in market.executions]),
        ],
    }


def _candles(rows: list[Spec], price: Spec) -> list[Spec]:
    if not rows:
        return []
    color = {"condition": {"test": "datum.close >= datum.open", "value": GAIN}, "value": LOSS}
    mark = {"opacity": 0.75, "aria": False}
    candles = {
        "data": {"values": rows},
        "encoding": {
            "color": color,
            "tooltip": told(moment="Opened (UTC)", o="Open", h="High", l="Low", c="Close"),
        },
        "layer": [
            {
                "mark": {**mark, "type": "rule"},
                "encoding": {
                    "x": time_axis("middle"),
                    "y": price,
                    "y2": {"field": "high"},
                },
            },
            {
                "mark": {**mark, "type": "rect", "strokeWidth": 1},
                "encoding": {
                    "x": time_axis("begin"),
                    "x2": {"field": "end"},
                    "y": {**price, "field": "open"},
                    "y2": {"field": "close"},
                    "stroke": color,
                },
            },
        ],
    }
    return [candles]


def _candle(candle: Candle, length_ms: int) -> Spec:
    opened = milliseconds(candle.open_time)
    return {
        "begin": opened + length_ms * 0.15,
        "middle": opened + length_ms * 0.5,
        "end": opened + length_ms * 0.85,
        "open": float(candle.open),
        "high": float(candle.high),
        "low": float(candle.low),
        "close": float(candle.close),
        "moment": second(candle.open_time),
        "o": money(candle.open),
        "h": money(candle.high),
        "l": money(candle.low),
        "c": money(candle.close),
    }


def _pairs(fills: Sequence[Execution]) -> list[Spec]:
    bought = {fill.order_id: fill for fill in fills if fill.side == "buy"}
    return [
        {
            "at": milliseconds(bought[fill.order_id].venue_at),
            "price": float(bought[fill.order_id].price),
            "sold_at": milliseconds(fill.venue_at),
            "sold_price": float(fill.price),
        }
        for fill in fills
        if fill.side == "sell" and fill.order_id in bought
    ]


def _ways(rows: list[Spec]) -> Spec:
    return {
        "data": {"values": rows},
        "mark": {"type": "rule", "strokeDash": [3, 3], "color": QUIET, "aria": False},
        "encoding": {
            "x": time_axis("at"),
            "x2": {"field": "sold_at"},
            "y": value_axis("price", ",~f", scale={"zero": False}),
            "y2": {"field": "sold_price"},
        },
    }


def _marks(name: str, rows: list[Spec]) -> Spec:
    sides = ["buy", "sell"]
    legend = {"title": None, "orient": "top", "offset": 2}
    return {
        "name": name,
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 130, "opacity": 1, "stroke": "white"},
        "encoding": {
            "x": time_axis("at"),
            "y": value_axis("price", ",~f", scale={"zero": False}),
            "shape": {
                "field": "side",
                "scale": {"domain": sides, "range": ["triangle-up", "triangle-down"]},
                "legend": legend,
            },
            "fill": {
                "field": "side",
                "scale": {"domain": sides, "range": [BUY, SELL]},
                "legend": legend,
            },
            "description": {"field": "described"},
            "tooltip": told(
                side="Side", order="Order", moment="Venue time (UTC)", price_text="Price",
                quantity="Quantity", amount="Amount", profit="Profit",
            ),
        },
    }  # fmt: skip


def _mark(fill: Execution, order: Order | None) -> Spec:
    is_sale = fill.side == "sell"
    amount = None if order is None else order.proceeds if is_sale else order.cost
    return {
        "at": milliseconds(fill.venue_at),
        "price": float(fill.price),
        "side": fill.side,
        "order": str(fill.order_id),
        "moment": second(fill.venue_at),
        "price_text": money(fill.price),
        "quantity": quantity(fill.quantity),
        "amount": None if amount is None else money(amount),
        "profit": money(order.profit) if order is not None and is_sale else None,
        "described": f"{fill.side} {quantity(fill.quantity)} at {money(fill.price)}",
    }
