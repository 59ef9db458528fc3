"""Whether a measured quantity has grown: medians of the first and the last part of a series. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Growth(NamedTuple):
    """The medians of the first and the last part of a series, and how much more is still flat."""

    name: str
    first: float
    last: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether the end is no larger than the beginning, but for what is allowed."""
        return self.last <= self.first + self.allowed


def ends(values: Sequence[float], parts: int) -> tuple[float, float]:
    """The medians of the first and the last of so many equal parts (of one value at least); ValueError for no values."""
    if not values:
        raise ValueError("there is nothing to compare")
    size = max(1, len(values) // parts)
    return median(values[:size]), median(values[-size:])
