"""Figures as people read them: medians of rounds, ratios, and whether an aim was met.

Rounds are interleaved and a ratio is the median of the rounds' own ratios: what else runs on
the machine slows both sides of one round alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.load import Run

Rounds = Sequence[Run]

CLIENT_SHARE_MAX: Final = 0.8
"""Of one core; above it the client and not the server may set the pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a figure should be, and what it was."""

    text: str
    measured: float
    wanted_min: float

    @property
    def is_met(self) -> bool:
        """Whether the figure is at least what was wanted."""
        return self.measured >= self.wanted_min


def per_second(rounds: Rounds) -> float:
    """The median of the rounds' answers a second."""
    return median(run.per_second for run in rounds)


def ratio(rounds: Rounds, to: Rounds) -> float:
    """The median of the rounds' ratios of answers a second."""
    return median(a.per_second / b.per_second for a, b in zip(rounds, to, strict=True))


def latency_ms(rounds: Rounds, share: float) -> float:
    """The median of the rounds' latencies at this share."""
    return median(run.latency_ms(share) for run in rounds)


def print_rates(title: str, measured: dict[str, Rounds], *, of: str) -> None:
    """A table of rates, each also as a share of the row named `of`."""
    print(f"\n{title}")
    print(f"  {'':<52}{'per second':>11}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}{'client':>8}")
    for name, rounds in measured.items():
        shares = [run.client_share for run in rounds if run.client_share is not None]
        print(
            f"  {name:<52}{per_second(rounds):>11,.0f}{ratio(rounds, measured[of]):>8.2f}"
            f"{latency_ms(rounds, 0.5):>9.2f}{latency_ms(rounds, 0.99):>9.2f}"
            + (f"{median(shares):>8.0%}" if shares else "")
        )
        if shares and max(shares) > CLIENT_SHARE_MAX:
            print("    the load client was the bottleneck: this rate is its own")


def print_aims(aims: Sequence[Aim]) -> None:
    """Each aim, met or missed."""
    print("\nAims")
    for aim in aims:
        verdict = "met" if aim.is_met else "MISSED"
        print(f"  {aim.text:<74}{aim.measured:>9.2f}  {verdict}")
