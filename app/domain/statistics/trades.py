"""How trades went: each is an order that was bought and sold again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from app.domain.instruments import Symbol
from app.domain.money import EXACT, QUANTUM, ZERO, add, subtract
from app.domain.orders import OrderId
from app.domain.statistics.measures import Measure, Undefined, divide, seconds_of

NO_TRADES: Final = Undefined("no order was closed")
NO_LOSSES: Final = Undefined("no order was closed at a loss")
NO_WINS: Final = Undefined("no order was closed at a profit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A closed order: what it cost and what it brought, as booked."""

    order_id: OrderId
    symbol: Symbol
    opened_at: datetime
    closed_at: datetime
    cost: Decimal
    proceeds: Decimal

    @property
    def profit(self) -> Decimal:
        """Proceeds - cost, exact."""
        return subtract(self.proceeds, self.cost)

    @property
    def holding_time(self) -> timedelta:
        """From the purchase to the sale."""
        return self.closed_at - self.opened_at


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStatistics:
    """Trades together. Sums of money are exact, means rounded once to 20 decimals.

    A trade without profit or loss is neither a win nor a loss. `profit_factor` is gross profit
    / gross loss, `win_rate` wins / trades, and losses are negative.
    """

    count: int
    wins: int
    losses: int
    profit: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    win_rate: Measure
    profit_factor: Measure
    average_profit: Measure
    average_win: Measure
    average_loss: Measure
    best: Measure
    worst: Measure
    holding_seconds_average: Measure
    holding_seconds_longest: Measure


def money_sum(amounts: Sequence[Decimal]) -> Decimal:
    """The exact sum."""
    result = ZERO
    for amount in amounts:
        result = add(result, amount)
    return result


def win_rate(profits: Sequence[Decimal]) -> Measure:
    """Wins / trades."""
    if not profits:
        return NO_TRADES
    return divide(Decimal(sum(profit > ZERO for profit in profits)), Decimal(len(profits)))


def profit_factor(profits: Sequence[Decimal]) -> Measure:
    """The sum of the profits / the sum of the losses, positive."""
    lost = money_sum([profit for profit in profits if profit < ZERO])
    if lost == ZERO:
        return NO_LOSSES if profits else NO_TRADES
    return divide(money_sum([profit for profit in profits if profit > ZERO]), -lost)


def trade_statistics(trades: Sequence[Trade]) -> TradeStatistics:
    """All about these trades, in whatever order."""
    profits = [trade.profit for trade in trades]
    wins = [profit for profit in profits if profit > ZERO]
    losses = [profit for profit in profits if profit < ZERO]
    held = [seconds_of(trade.holding_time) for trade in trades]
    return TradeStatistics(
        count=len(trades),
        wins=len(wins),
        losses=len(losses),
        profit=money_sum(profits),
        gross_profit=money_sum(wins),
        gross_loss=money_sum(losses),
        win_rate=win_rate(profits),
        profit_factor=profit_factor(profits),
        average_profit=_average(profits, NO_TRADES),
        average_win=_average(wins, NO_WINS),
        average_loss=_average(losses, NO_LOSSES),
        best=max(profits) if profits else NO_TRADES,
        worst=min(profits) if profits else NO_TRADES,
        holding_seconds_average=_average(held, NO_TRADES),
        holding_seconds_longest=max(held) if held else NO_TRADES,
    )


def _average(amounts: Sequence[Decimal], otherwise: Undefined) -> Measure:
    if not amounts:
        return otherwise
    return EXACT.quantize(EXACT.divide(money_sum(amounts), Decimal(len(amounts))), QUANTUM)
