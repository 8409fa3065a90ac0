"""What is found where the books contradict each other, and what follows from it."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.errors import Unavailable
from app.domain.users import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """Two statements of the books that cannot both be true."""

    user_id: UserId
    subject: str
    """What they are about, for example `account cash USD (id 3, epoch 1)`."""
    found: str
    expected: str

    @property
    def text(self) -> str:
        """One line for people."""
        return f"user {self.user_id}, {self.subject}: {self.found}, but {self.expected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerAlarm:
    """A discrepancy that stands: found at an instant, and not yet seen put right."""

    raised_at: datetime
    discrepancy: str


class LedgerStopped(Unavailable):
    """The reconciler found a discrepancy; wrong data is worse than none."""

    code = "ledger_stopped"

    def __init__(self) -> None:
        super().__init__(
            "the ledger of this installation disagrees with itself: nothing is booked until its "
            "owner has put it right (python -m app audit names every discrepancy)"
        )
