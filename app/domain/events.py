"""What happened to a user, numbered without a gap from one."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.users import UserId


class EventType(StrEnum):
    """Everything that is told."""

    ACCOUNT_OPENED = "account_opened"
    DEPOSITED = "deposited"
    WITHDRAWN = "withdrawn"
    ORDER_OPENED = "order_opened"
    ORDER_CLOSED = "order_closed"
    ACCOUNT_RESET = "account_reset"
    TRANSFER_REVERSED = "transfer_reversed"
    SYMBOL_WATCHED = "symbol_watched"
    SYMBOL_UNWATCHED = "symbol_unwatched"
    LOG_CREATED = "log_created"
    STRATEGY_CREATED = "strategy_created"
    STRATEGY_CHANGED = "strategy_changed"
    STRATEGY_DELETED = "strategy_deleted"
    TRADE_STRATEGY_CREATED = "trade_strategy_created"
    TRADE_STRATEGY_CHANGED = "trade_strategy_changed"
    TRADE_STRATEGY_DELETED = "trade_strategy_deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedEvent:
    """One event. `data_json` is a JSON object as text, money in it as decimal strings."""

    user_id: UserId
    number: int
    type: EventType
    epoch: int
    data_json: str
    request_id: str
    event_at: datetime | None = None
