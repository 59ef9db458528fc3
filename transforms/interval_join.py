"""Interval join of two streams: the pure part (no Beam here).

A left row and a right row of one key are partners when `left.time - before_ms <= right.time <= left.time + after_ms`.
Partners are found by binary search in the right rows, sorted by (key, time, origin), for all left rows at once.

A row *closes* at its time + the reach of the interval + grace: when the clock is past that, each partner that it may
have has come or is late. Then it is known to be without a partner, and `Keep.FIRST` and `Keep.LAST` know which one they
keep.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from transforms.closing_join import MAX_MS, ClosingJoin, Decided, Stamped, Step
from transforms.join_batches import Batch, Numbers
from transforms.join_rows import LEFT, RIGHT, JoinedRow, JoinMode, Keep
from transforms.scan import Longs

BLOCK = 100_000  # pairs made at a time: a hot key has many, and they leave one after another anyway


def ranks_among(
    right: Batch, order: Numbers, left_keys: Numbers, bounds: Longs, side: Literal["left", "right"]
) -> Numbers:
    """For each (key, time bound): how many of the right rows, in this order, stand before it (`side` as in
    searchsorted).

    Key and time become one number by way of the ranks of the times, so no time is too large.
    """
    times = np.unique(right.times)
    width = len(times) + 1
    placed = right.key_ids[order] * width + np.searchsorted(times, right.times[order])
    wanted = left_keys * width + np.searchsorted(times, bounds, side)
    found: Numbers = np.searchsorted(placed, wanted)
    return found


class Partners(NamedTuple):
    """The partners of left row i are `order[low[i]:high[i]]`, in the order of (time, topic, partition, offset)."""

    order: Numbers
    low: Numbers
    high: Numbers

    @property
    def covered(self) -> Any:
        """For each right row whether it has a partner."""
        count = len(self.order)
        edges = np.bincount(self.low, minlength=count + 1) - np.bincount(self.high, minlength=count + 1)
        covered = np.empty(count, bool)
        covered[self.order] = np.cumsum(edges)[:count] > 0
        return covered


@dataclass(frozen=True)
class IntervalJoin(ClosingJoin):
    """Bounds may be negative: `before_ms=-5000, after_ms=9000` is 5 to 9 s later. keep: which of its partners a left
    row keeps."""

    before_ms: int
    after_ms: int
    keep: Keep

    name = "JoinByInterval"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_kind("keep", self.keep, Keep)
        self._check_ms("before_ms", self.before_ms, -MAX_MS)
        self._check_ms("after_ms", self.after_ms, -MAX_MS)
        if self.before_ms + self.after_ms < 0:
            raise ValueError(f"{self.name}: -before_ms {-self.before_ms} must not exceed after_ms {self.after_ms}")

    @property
    def pairs_at_once(self) -> bool:  # type: ignore[override]
        return self.keep is Keep.ALL

    def closes(self, side: int, times: Any) -> Any:
        return times + (max(self.after_ms if side == LEFT else self.before_ms, 0) + self.grace_ms)

    def _needed_until(self, times: Any) -> Any:
        """When each row that may have this one as a partner has closed."""
        return times + (max(self.before_ms, 0) + max(self.after_ms, 0) + self.grace_ms)

    def partners(self, left: Batch, right: Batch) -> Partners:
        """Who belongs together."""
        order = right.order()
        low = ranks_among(right, order, left.key_ids, left.times - self.before_ms, "left")
        high = ranks_among(right, order, left.key_ids, left.times + self.after_ms, "right")
        return Partners(order, low, np.maximum(low, high))

    def whole(self, left: Batch, right: Batch) -> Decided:
        partners = self.partners(left, right)
        every = np.ones(len(left.times), bool), np.ones(len(right.times), bool)
        return self._decide(left, right, partners, *every, pairs=True)

    def arrived(self, left: Batch, right: Batch) -> Iterable[Stamped]:
        """All pairs; with FIRST and LAST none, they wait until the left row closes."""
        if not self.pairs_at_once or not len(left.times) or not len(right.times):
            return ()
        return chain.from_iterable(_pairs(left, right, self.partners(left, right)))

    def close(self, left: Batch, right: Batch, since: int, until: int) -> Step:
        partners = self.partners(left, right)
        closings = [self.closes(side, batch.times) for side, batch in ((LEFT, left), (RIGHT, right))]
        closing = [(since <= times) & (times < until) for times in closings]
        decided = self._decide(left, right, partners, closing[LEFT], closing[RIGHT], pairs=self.keep is not Keep.ALL)
        kept = [b.take(np.flatnonzero(self._needed_until(b.times) >= until)) for b in (left, right)]
        return Step(decided, kept[LEFT], kept[RIGHT])

    def due(self, left: Batch, right: Batch, since: int) -> list[int]:
        """The closings to come, and for rows that are closed already when they can be dropped."""
        found: list[int] = []
        for side, batch in ((LEFT, left), (RIGHT, right)):
            closings = self.closes(side, batch.times)
            found += np.where(closings >= since, closings, self._needed_until(batch.times)).tolist()
        return found

    def _decide(
        self, left: Batch, right: Batch, partners: Partners, closing_left: Any, closing_right: Any, pairs: bool
    ) -> Decided:
        lonely_left = left.take(np.flatnonzero(closing_left & (partners.low == partners.high)))
        lonely_right = right.take(np.flatnonzero(closing_right & ~partners.covered))
        results: list[Iterable[Stamped]] = []
        if pairs:
            results.append(self._kept_pairs(left, right, partners, closing_left))
        others: list[Iterable[Stamped]] = []
        for side, lonely, is_result in (
            (LEFT, lonely_left, self.mode is not JoinMode.INNER),
            (RIGHT, lonely_right, self.mode is JoinMode.OUTER),
        ):
            if len(lonely.times):
                moments = self.moments(side, lonely.times)
                (results if is_result else others).append(
                    zip(moments, alone(lonely, side) if is_result else lonely.unmatched(side), strict=True)
                )
        return Decided(chain.from_iterable(results), chain.from_iterable(others))

    def _kept_pairs(self, left: Batch, right: Batch, partners: Partners, closing: Any) -> Iterable[Stamped]:
        order, low, high = partners
        if self.keep is Keep.ALL:
            return chain.from_iterable(_pairs(left, right, partners))
        chosen = np.flatnonzero(closing & (low < high))
        kept = order[low[chosen] if self.keep is Keep.FIRST else high[chosen] - 1]
        moments = self.moments(LEFT, left.times[chosen])
        return zip(moments, joined_rows(left, right, chosen, kept), strict=True)


def _pairs(left: Batch, right: Batch, partners: Partners) -> Iterator[Iterable[Stamped]]:
    """All pairs, stamped with the later of the two times; made a block at a time."""
    order, low, high = partners
    counts = high - low
    ends = np.cumsum(counts)
    first = 0
    while first < len(ends):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + BLOCK, "right")))
        some = counts[first:last]
        lefts = np.repeat(np.arange(first, last), some)
        starts = np.repeat(low[first:last] - (ends[first:last] - some - done), some)
        rights = order[starts + np.arange(len(lefts))]
        times = np.maximum(left.times[lefts], right.times[rights]).tolist()
        yield zip(times, joined_rows(left, right, lefts, rights), strict=True)
        first = last


def joined_rows(left: Batch, right: Batch, lefts: Numbers, rights: Numbers) -> Iterator[JoinedRow]:
    """The results of these pairs of indexes; a row of several pairs is made once."""
    used, left_places = np.unique(lefts, return_inverse=True)
    batch = left.take(used)
    keys, rows, at = batch.plain_keys(), batch.rows(), left_places.tolist()
    used, right_places = np.unique(rights, return_inverse=True)
    others = right.take(used).rows()
    columns = (map(keys.__getitem__, at), map(rows.__getitem__, at), map(others.__getitem__, right_places.tolist()))
    return map(partial(tuple.__new__, JoinedRow), zip(*columns, strict=True))


def alone(batch: Batch, side: int) -> Iterator[JoinedRow]:
    """Rows of one side as results without the other."""
    for key, row in zip(batch.plain_keys(), batch.rows(), strict=True):
        yield JoinedRow(key, row, None) if side == LEFT else JoinedRow(key, None, row)
