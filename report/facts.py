"""What the launcher knows about the run and the database does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RunFacts:
    """Each is optional, and the page says nothing of what is missing.

    title: the page's heading; source: what was read, as the user would name it; seed: of a generated input; hop_ms: log time that
    each hop took in a simulated run, ms; seconds: how long the run took, by the wall clock; engine: what ran it.
    """

    title: str = "Payments"
    source: str | None = None
    seed: int | None = None
    hop_ms: int | None = None
    seconds: float | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError(f"title: should not be empty, got {self.title!r}")
        if self.hop_ms is not None and self.hop_ms < 0:
            raise ValueError(f"hop_ms: should be at least 0, got {self.hop_ms}")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds: should be a positive number, got {self.seconds}")


AdFacts = tuple[str, int, int]
"""A way to choose the auction that is shown, its placements, and how many of those who were shown one bid there after that."""

SignalFacts = tuple[str, int, int, int, int]
"""A signal of fraud; cheats of that kind, and how many of them it found; persons that it named first, and how many of them are honest."""


@dataclass(frozen=True)
class AuctionFacts:
    """The same of auctions. None: nobody looked, or nobody can know.

    mails: what became of notices, by (kind, status); ads: a back-test of placements, the way that is used first; signals: how well each
    did, where it is known who cheats.
    """

    mails: Mapping[tuple[str, str], int] | None = None
    ads: Sequence[AdFacts] | None = None
    signals: Sequence[SignalFacts] | None = None
