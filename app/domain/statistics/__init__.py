"""What an account's history amounts to: equity, returns, risk, and how its trades went.

Everything is Decimal: money is exact, ratios have 34 digits and become floats on the wire. What
has no value (a mean of nothing, a division by zero, a risk estimated from three days) is
`Undefined` with the reason, never an infinity.
"""

from app.domain.statistics.account import (
    AccountStatistics,
    Day,
    Month,
    SymbolStatistics,
    account_statistics,
)
from app.domain.statistics.history import (
    History,
    Movement,
    OpenOrder,
    TimeRangeEmpty,
    TooManyMovements,
)
from app.domain.statistics.holding import KnownPrices
from app.domain.statistics.marks import (
    ClosingSeries,
    Mark,
    MarkPlan,
    TooManyMarks,
    plan_marks,
)
from app.domain.statistics.measures import (
    Measure,
    Undefined,
    annual_return,
    calmar,
    cumulative_return,
    max_drawdown,
    sharpe,
    sortino,
    volatility,
)
from app.domain.statistics.trades import Trade, TradeStatistics

__all__ = [
    "AccountStatistics",
    "ClosingSeries",
    "Day",
    "History",
    "KnownPrices",
    "Mark",
    "MarkPlan",
    "Measure",
    "Month",
    "Movement",
    "OpenOrder",
    "SymbolStatistics",
    "TimeRangeEmpty",
    "TooManyMarks",
    "TooManyMovements",
    "Trade",
    "TradeStatistics",
    "Undefined",
    "account_statistics",
    "annual_return",
    "calmar",
    "cumulative_return",
    "max_drawdown",
    "plan_marks",
    "sharpe",
    "sortino",
    "volatility",
]
