"""The trading log: what a user or a bot wrote down about a symbol."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from app.domain.instruments import Symbol
from app.domain.users import UserId

LogId = NewType("LogId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry. `data_json` is the user's own JSON object as text, every digit kept."""

    id: LogId
    user_id: UserId
    symbol: Symbol
    data_json: str
    action: str
    created_at: datetime
    updated_at: datetime
