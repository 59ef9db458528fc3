"""Quantiles of the latency of many records, from a few of them: those of a step stand in the order of their append times."""

from collections.abc import Sequence

_SAMPLES = 16  # of the records of one partition in one step


class Latencies:
    """Milliseconds from append to now, weighted samples."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []

    def add(self, now: float, times: Sequence[int]) -> None:
        """Records of one partition with these append times, in log order, done at `now` (ms)."""
        count = len(times)
        if count <= _SAMPLES:
            self._samples += [(now - at, 1) for at in times]
            return
        weight = count / _SAMPLES
        self._samples += [(now - times[i * (count - 1) // (_SAMPLES - 1)], weight) for i in range(_SAMPLES)]

    def figures(self) -> tuple[int, int, int]:
        """(p50, p99, largest), 0 each without records; clocks that disagree do not make them negative."""
        samples = sorted(self._samples)
        if not samples:
            return 0, 0, 0
        total = sum(weight for _, weight in samples)
        return _at(samples, total * 0.5), _at(samples, total * 0.99), max(0, round(samples[-1][0]))


def _at(samples: Sequence[tuple[float, float]], wanted: float) -> int:
    reached = 0.0
    for value, weight in samples:
        reached += weight
        if reached >= wanted:
            return max(0, round(value))
    return max(0, round(samples[-1][0]))  # the weights' sum is not exact
