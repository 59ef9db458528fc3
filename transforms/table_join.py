"""Joins with tables: the pure part (no Beam here).

A table is a changelog: each row is a *version* of its key from its time on, a record without value a tombstone, which
ends the key. Versions stand in the order of (time, topic, partition, offset); of the same time the last one in that
order is what stood.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

import numpy as np

from transforms.closing_join import ClosingJoin, Decided, Stamped, Step
from transforms.interval_join import alone, joined_rows, ranks_among
from transforms.join_batches import Batch, Numbers
from transforms.join_rows import LEFT, RIGHT, SIDES, JoinedRow, JoinMode, Keep, SideRow, UnmatchedRow
from transforms.plain import decode_plain


def _lasts(batch: Batch, order: Numbers) -> Numbers:
    """The index of the newest row of each key, `order` being that of (key, time, origin)."""
    keys = batch.key_ids[order]
    return order[np.append(keys[1:] != keys[:-1], True)] if len(order) else order


def _standing(batch: Batch) -> Any:
    """For each row whether it is no tombstone."""
    return np.fromiter((value is not None for value in batch.values), bool, len(batch.values))


class _ByClock(ClosingJoin):
    """A row is decided when the clock is past its time and grace: all rows before it are there then, or late."""

    def _open(self, batch: Batch, until: int) -> Any:
        return batch.times + self.grace_ms >= until

    def due(self, left: Batch, right: Batch, since: int) -> list[int]:
        """The closings to come, of versions too: those that they overtake can be dropped."""
        closings = np.concatenate((left.times, right.times)) + self.grace_ms
        return list(closings[closings >= since].tolist())


@dataclass(frozen=True)
class AsOfJoin(_ByClock):
    """Each left row with the version of its key that stood at its time: the newest with `version.time <= row.time`."""

    name = "JoinTableAsOf"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode is JoinMode.OUTER:
            raise ValueError(f"{self.name}: mode must be INNER or LEFT, got OUTER: a version need not meet any row")

    def whole(self, left: Batch, right: Batch) -> Decided:
        """A row without a version is unmatched (INNER), or a result with None (LEFT)."""
        order = right.order()
        if len(order):
            found = ranks_among(right, order, left.key_ids, left.times, "right") - 1
            versions = order[found]  # -1 is the last one, of another key or too new, and refused with the others
            hit = (found >= 0) & (right.key_ids[versions] == left.key_ids) & _standing(right)[versions]
        else:
            versions = np.empty(len(left.times), np.int64)
            hit = np.zeros(len(left.times), bool)
        matched, lonely = np.flatnonzero(hit), left.take(np.flatnonzero(~hit))
        pairs = joined_rows(left, right, matched, versions[matched])
        results: list[Iterable[Stamped]] = [zip(self.moments(LEFT, left.times[matched]), pairs, strict=True)]
        others: list[Iterable[Stamped]] = []
        if self.mode is JoinMode.LEFT:
            results.append(zip(self.moments(LEFT, lonely.times), alone(lonely, LEFT), strict=True))
        else:
            others.append(zip(self.moments(LEFT, lonely.times), lonely.unmatched(LEFT), strict=True))
        return Decided(chain.from_iterable(results), chain.from_iterable(others))

    def close(self, left: Batch, right: Batch, since: int, until: int) -> Step:
        """Decides the left rows that close before `until`; of the versions before that, the newest of each key is still
        needed."""
        still_open = self._open(left, until)
        decided = self.whole(left.take(np.flatnonzero(~still_open)), right)
        old = np.flatnonzero(~self._open(right, until))
        old = old[_lasts(right.take(old), right.take(old).order())]
        old = old[_standing(right.take(old))]
        kept = np.sort(np.concatenate((old, np.flatnonzero(self._open(right, until)))))
        return Step(decided, left.take(np.flatnonzero(still_open)), right.take(kept))


Version = tuple[int, int, SideRow]  # (time, side, row): the versions of a key follow one another in this order


@dataclass(frozen=True)
class TableJoin(_ByClock):
    """Two tables as one: per key the version of either side that stands, shown if the mode asks for no more than there
    is.

    keep: LAST, the state at last; ALL, each state that stood, one after another; FIRST, as LAST, but of either side
    only the first version counts. A key that is shown no longer gets a result of None and None.
    """

    keep: Keep

    name = "JoinTables"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_kind("keep", self.keep, Keep)

    def whole(self, left: Batch, right: Batch) -> Decided:
        """Unmatched is what stands at the end and is not shown."""
        results: list[Stamped] = []
        others: list[Stamped] = []
        for key, versions in _by_key(left, right):
            revisions, state = self._revisions(key, versions, None)
            results += revisions
            if not self._shows(state):
                others += (self._unmatched(key, side, row) for side, row in enumerate(state) if row is not None)
        return Decided(results, others)

    def close(self, left: Batch, right: Batch, since: int, until: int) -> Step:
        """Applies the versions that close from `since` up to before `until`, on top of those before. Nothing is
        unmatched: a partner may come."""
        closed = [batch.take(np.flatnonzero(~self._open(batch, until))) for batch in (left, right)]
        results: list[Stamped] = []
        for key, versions in _by_key(closed[LEFT], closed[RIGHT]):
            results += self._revisions(key, versions, since)[0]
        return Step(Decided(results, ()), self._needed(left, until), self._needed(right, until))

    def _needed(self, batch: Batch, until: int) -> Batch:
        """What is open, and what later versions build on."""
        still_open = self._open(batch, until)
        old = np.flatnonzero(~still_open)
        return batch.take(np.concatenate((old[self._base(batch.take(old))], np.flatnonzero(still_open))))

    def _base(self, batch: Batch) -> Numbers:
        """The versions, all closed, that later ones build on."""
        order = batch.order()
        if self.keep is not Keep.FIRST:
            last = _lasts(batch, order)
            standing: Numbers = last[_standing(batch)[last]]
            return standing
        order = order[_standing(batch)[order]]
        return _lasts(batch, order[::-1])

    def _shows(self, state: Sequence[SideRow | None]) -> bool:
        left, right = state
        if self.mode is JoinMode.INNER:
            return left is not None and right is not None
        return left is not None or (self.mode is JoinMode.OUTER and right is not None)

    def _revisions(
        self, key: Any, versions: Sequence[Version], since: int | None
    ) -> tuple[list[Stamped], list[SideRow | None]]:
        """What the versions that close from `since` on make of the ones before, and the state after them."""
        state: list[SideRow | None] = [None, None]
        shown = shown_before = False
        found: list[Stamped] = []
        for time, side, row in versions:
            version = row if row.value is not None else None
            if self.keep is Keep.FIRST and (version is None or state[side] is not None):
                continue
            unchanged = version is None and state[side] is None
            state[side] = version
            shows = self._shows(state)
            if since is not None and self.closes(side, time) < since:
                shown_before = shows
            elif (shows or shown) and not unchanged:
                moment = self.moment(self.closes(side, time))
                found.append((moment, JoinedRow(key, *state) if shows else JoinedRow(key, None, None)))
            shown = shows
        if self.keep is not Keep.ALL:
            found = found[-1:] if shown or shown_before else []
        return found, state

    def _unmatched(self, key: Any, side: int, row: SideRow) -> Stamped:
        place = (SIDES[side], row.topic, row.partition, row.offset)
        return self.moment(self.closes(side, row.time)), UnmatchedRow(*place, key, row.time, row.value)


def _by_key(left: Batch, right: Batch) -> Iterator[tuple[Any, list[Version]]]:
    """The versions of each key in their order, by key."""
    every = []
    for side, batch in ((LEFT, left), (RIGHT, right)):
        batch = batch.take(batch.order())
        rows = zip(batch.key_ids.tolist(), batch.times.tolist(), batch.rows(), strict=True)
        every += [(key, time, side, i, row) for i, (key, time, row) in enumerate(rows)]
    for key, versions in groupby(sorted(every), itemgetter(0)):
        yield decode_plain(left.keys[key]), [(time, side, row) for _, time, side, _, row in versions]
