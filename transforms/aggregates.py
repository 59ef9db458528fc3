"""Aggregates: what a window makes of its values, as pure accumulators.

An aggregate lifts a batch of values into an accumulator, merges accumulators and takes the result out. Merging is
associative and commutative and `lift(a + b) == merge(lift(a), lift(b))`, so a result does not depend on how values
were split into chunks and bundles, nor on their order. An accumulator is a plain value (`transforms.plain`) once
packed: nothing is pickled.

Values of one window have one type. Integers may have any size and are never rounded. `Sum` and `Mean` take integers
only, because a sum of floats depends on its order; money is integers anyway. NaN has no order, and row readers refuse
it.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import nlargest
from itertools import chain, pairwise
from typing import Any

import numpy as np

from transforms.plain import decode_plain, encode_plain
from transforms.scan import Longs

MAX_FLOAT = sys.float_info.max


class Aggregate:
    """Base of all aggregates. Accumulators are never changed in place."""

    @property
    def integers_only(self) -> bool:
        """Whether it refuses other values."""
        return False

    def lift(self, values: Sequence[Any]) -> Any:
        """The accumulator of a batch of values; of an empty batch: the identity."""
        raise NotImplementedError

    def lift_runs(self, values: Longs, firsts: Longs) -> Sequence[Any]:
        """The accumulators of the runs of a column of 64-bit integers. Each begins at one of `firsts`, which begin at 0."""
        listed = values.tolist()
        return [self.lift(listed[i:j]) for i, j in pairwise([*firsts.tolist(), len(listed)])]

    def merge(self, accumulators: Iterable[Any]) -> Any:
        """One accumulator of several; of none: the identity."""
        raise NotImplementedError

    def result(self, accumulator: Any) -> Any:
        """What the window's row carries: a plain value."""
        return accumulator

    def pack(self, accumulator: Any) -> Any:
        """The accumulator as a plain value, equal for equal accumulators."""
        return accumulator

    def unpack(self, packed: Any) -> Any:
        """Inverse of `pack`."""
        return packed

    def encode(self, accumulator: Any) -> bytes:
        """Deterministic bytes."""
        return encode_plain(self.pack(accumulator))

    def decode(self, data: bytes) -> Any:
        """Inverse of `encode`."""
        return self.unpack(decode_plain(data))


def _check_integers(name: str, values: Sequence[Any]) -> None:
    if not {int}.issuperset(map(type, values)):
        bad = next(type(v).__name__ for v in values if type(v) is not int)
        raise TypeError(f"{name} takes integers, got {bad}")


@dataclass(frozen=True)
class Sum(Aggregate):
    """Exact sum of integers."""

    @property
    def integers_only(self) -> bool:
        return True

    def lift(self, values: Sequence[int]) -> int:
        total = sum(values)
        if type(total) is not int or bool in map(type, values):
            _check_integers("Sum", values)
        return total

    def lift_runs(self, values: Longs, firsts: Longs) -> Sequence[int]:
        largest = max(-int(values.min()), int(values.max()))
        if largest * len(values) >= 1 << 63:
            return super().lift_runs(values, firsts)
        sums: list[int] = np.add.reduceat(values, firsts).tolist()
        return sums

    def merge(self, accumulators: Iterable[int]) -> int:
        return sum(accumulators)


@dataclass(frozen=True)
class Count(Aggregate):
    """Number of rows."""

    def lift(self, values: Sequence[Any]) -> int:
        return len(values)

    def lift_runs(self, values: Longs, firsts: Longs) -> Sequence[int]:
        counts: list[int] = np.diff(firsts, append=len(values)).tolist()
        return counts

    def merge(self, accumulators: Iterable[int]) -> int:
        return sum(accumulators)


@dataclass(frozen=True)
class Min(Aggregate):
    """Smallest value. The accumulator is a tuple of it, empty for no value (the result is then None)."""

    def lift(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return (min(values),) if values else ()

    def lift_runs(self, values: Longs, firsts: Longs) -> Sequence[tuple[int]]:
        return [(value,) for value in np.minimum.reduceat(values, firsts).tolist()]

    def merge(self, accumulators: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
        return self.lift(tuple(chain.from_iterable(accumulators)))

    def result(self, accumulator: tuple[Any, ...]) -> Any:
        return accumulator[0] if accumulator else None


@dataclass(frozen=True)
class Max(Min):
    """Largest value, as `Min` does the smallest."""

    def lift(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return (max(values),) if values else ()

    def lift_runs(self, values: Longs, firsts: Longs) -> Sequence[tuple[int]]:
        return [(value,) for value in np.maximum.reduceat(values, firsts).tolist()]


@dataclass(frozen=True)
class Mean(Aggregate):
    """Arithmetic mean of integers: the accumulator is the exact (sum, count), the result one division, correctly rounded to a float.

    No value: None. Beyond the range of floats: infinity of the right sign.
    """

    @property
    def integers_only(self) -> bool:
        return True

    def lift(self, values: Sequence[int]) -> tuple[int, int]:
        _check_integers("Mean", values)
        return sum(values), len(values)

    def lift_runs(self, values: Longs, firsts: Longs) -> Sequence[tuple[int, int]]:
        return list(zip(Sum().lift_runs(values, firsts), Count().lift_runs(values, firsts), strict=True))

    def merge(self, accumulators: Iterable[tuple[int, int]]) -> tuple[int, int]:
        total = count = 0
        for t, n in accumulators:
            total += t
            count += n
        return total, count

    def result(self, accumulator: tuple[int, int]) -> float | None:
        total, count = accumulator
        if not count:
            return None
        try:
            return total / count
        except OverflowError:
            return float("inf") if total > 0 else float("-inf")


@dataclass(frozen=True)
class TopN(Aggregate):
    """The `n` largest values, largest first, equal values as often as they come.

    To break ties by something, make it part of the value: (amount, id).
    """

    n: int

    def __post_init__(self) -> None:
        if type(self.n) is not int or self.n < 1:
            raise ValueError(f"TopN: n must be a whole number of at least 1, got {self.n!r}")

    def lift(self, values: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(nlargest(self.n, values))

    def merge(self, accumulators: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
        return self.lift(chain.from_iterable(accumulators))


@dataclass(frozen=True)
class Distinct(Aggregate):
    """Number of different values, exact: the accumulator holds each of them once, so it grows with the result."""

    def lift(self, values: Sequence[Any]) -> frozenset[Any]:
        return frozenset(values)

    def merge(self, accumulators: Iterable[frozenset[Any]]) -> frozenset[Any]:
        return frozenset().union(*accumulators)

    def result(self, accumulator: frozenset[Any]) -> int:
        return len(accumulator)

    def pack(self, accumulator: frozenset[Any]) -> tuple[bytes, ...]:
        return tuple(sorted(map(encode_plain, accumulator)))

    def unpack(self, packed: tuple[bytes, ...]) -> frozenset[Any]:
        return frozenset(map(decode_plain, packed))


@cache
def _bins(relative_error: float) -> Any:
    """The library's mapping between values and bins."""
    from ddsketch.mapping import LogarithmicMapping  # imported here: a job without quantiles does not need the library

    return LogarithmicMapping(relative_error)


@dataclass(frozen=True)
class Quantiles(Aggregate):
    """Approximate quantiles by DDSketch (Masson, Rim, Lee, VLDB 2019): each is within `relative_error` of the exact
    value at rank floor(q (n − 1)).

    The result is a tuple of floats in the order of `quantiles`, None for no value. The accumulator counts values per bin,
    so merging is exact and its order does not matter; its size grows with the logarithm of the values' range. What is
    larger than the largest float divided by (1 + error)²/(1 - error)² counts as that.
    """

    quantiles: tuple[float, ...]
    relative_error: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantiles", tuple(self.quantiles))
        if not self.quantiles:
            raise ValueError("Quantiles: quantiles must not be empty")
        for q in self.quantiles:
            if not 0 <= q <= 1:
                raise ValueError(f"Quantiles: a quantile must lie between 0 and 1, got {q}")
        if not 0 < self.relative_error < 1:
            raise ValueError(f"Quantiles: relative_error must lie between 0 and 1, got {self.relative_error}")

    def _bin(self, value: float) -> tuple[int, int]:
        """(sign, bin number) of a value; zero and what is too small for the library is (0, 0)."""
        mapping = _bins(self.relative_error)
        try:
            size = abs(float(value))
        except OverflowError:  # an integer beyond the range of floats
            size = MAX_FLOAT
        size = min(size, MAX_FLOAT / mapping.gamma**2)  # the library overflows in the last bins
        if size <= mapping.min_possible:
            return 0, 0
        return (1 if value > 0 else -1), mapping.key(size)

    def lift(self, values: Sequence[float]) -> dict[tuple[int, int], int]:
        bins: Counter[tuple[int, int]] = Counter()
        for value, n in Counter(values).items():
            bins[self._bin(value)] += n
        return dict(bins)

    def merge(self, accumulators: Iterable[dict[tuple[int, int], int]]) -> dict[tuple[int, int], int]:
        bins: Counter[tuple[int, int]] = Counter()
        for accumulator in accumulators:
            bins.update(accumulator)
        return dict(bins)

    def result(self, accumulator: dict[tuple[int, int], int]) -> tuple[float, ...] | None:
        if not accumulator:
            return None
        from ddsketch import DDSketch

        sketch, mapping = DDSketch(self.relative_error), _bins(self.relative_error)
        for (sign, number), n in sorted(accumulator.items()):
            sketch.add(sign * mapping.value(number) if sign else 0.0, n)
        return tuple(float(sketch.get_quantile_value(q)) for q in self.quantiles)

    def pack(self, accumulator: dict[tuple[int, int], int]) -> tuple[tuple[int, int, int], ...]:
        return tuple((sign, number, n) for (sign, number), n in sorted(accumulator.items()))

    def unpack(self, packed: tuple[tuple[int, int, int], ...]) -> dict[tuple[int, int], int]:
        return {(sign, number): n for sign, number, n in packed}


class Several(Aggregate):
    """Some aggregates of the same values at once: `Several(total=Sum(), n=Count())`. The result is a dict by name, in the order given."""

    def __init__(self, **aggregates: Aggregate) -> None:
        if not aggregates:
            raise ValueError("Several: at least one aggregate is needed")
        for name, aggregate in aggregates.items():
            if not isinstance(aggregate, Aggregate):
                raise ValueError(f"Several: {name} must be an aggregate, got {aggregate!r}")
        self.names = tuple(aggregates)
        self.aggregates = tuple(aggregates.values())

    @property
    def integers_only(self) -> bool:
        return any(a.integers_only for a in self.aggregates)

    def __repr__(self) -> str:
        return f"Several({', '.join(f'{n}={a!r}' for n, a in zip(self.names, self.aggregates, strict=True))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Several) and (self.names, self.aggregates) == (other.names, other.aggregates)

    def __hash__(self) -> int:
        return hash((self.names, self.aggregates))

    def lift(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(a.lift(values) for a in self.aggregates)

    def lift_runs(self, values: Longs, firsts: Longs) -> Sequence[tuple[Any, ...]]:
        return list(zip(*(a.lift_runs(values, firsts) for a in self.aggregates), strict=True))

    def merge(self, accumulators: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
        several = tuple(accumulators)
        return tuple(a.merge(x[i] for x in several) for i, a in enumerate(self.aggregates))

    def result(self, accumulator: tuple[Any, ...]) -> dict[str, Any]:
        return {n: a.result(x) for n, a, x in zip(self.names, self.aggregates, accumulator, strict=True)}

    def pack(self, accumulator: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(a.pack(x) for a, x in zip(self.aggregates, accumulator, strict=True))

    def unpack(self, packed: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(a.unpack(x) for a, x in zip(self.aggregates, packed, strict=True))
