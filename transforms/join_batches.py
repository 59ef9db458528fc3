"""Rows of two sides in columns, between chunks and joins (no Beam here).

`RowPacker` takes chunks and gives, for each *bucket* of keys, the rows as bytes; `unpack_batches` puts what came for a
bucket together again. The keys of a bucket share a CRC-32 modulo the number of buckets: Beam sees a few elements per
bundle instead of one per key, and a join has columns that are long enough for numpy. Nothing here depends on how rows
were spread over chunks and packs.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from transforms.chunks import Chunk, unpack_chunk
from transforms.errors import BadRecord
from transforms.join_rows import LEFT, RIGHT, SIDES, LateJoinRow, SideRow, UnmatchedRow
from transforms.plain import decode_plain, encode_plain
from transforms.plain_columns import pack_column, unpack_at
from transforms.rows import Bad, Columns, Rows, checked_row
from transforms.scan import Longs

Numbers = npt.NDArray[np.int64]  # indexes or ranks
_HEAD = struct.Struct("<BI")  # side, rows
MAX_BUCKETS = 1 << 16


class Batch(NamedTuple):
    """Rows of one side.

    keys: encoded keys, distinct; sources: (topic, partition), distinct; the columns key_ids and source_ids are indexes
    into them; times: ms; offsets; values: plain, None for a tombstone of a table.
    """

    keys: Sequence[bytes]
    sources: Sequence[tuple[str, int]]
    key_ids: Numbers
    source_ids: Numbers
    times: Longs
    offsets: Longs
    values: Sequence[Any]

    def take(self, chosen: Numbers) -> "Batch":
        """The rows at these indexes, in this order."""
        columns = (self.key_ids[chosen], self.source_ids[chosen], self.times[chosen], self.offsets[chosen])
        return Batch(self.keys, self.sources, *columns, _pick(self.values, chosen))

    def order(self) -> Numbers:
        """The indexes of the rows in the order of (key, time, topic, partition, offset)."""
        ranks = np.empty(len(self.sources), np.int64)
        ranks[sorted(range(len(self.sources)), key=self.sources.__getitem__)] = np.arange(len(self.sources))
        return np.lexsort((self.offsets, ranks[self.source_ids], self.times, self.key_ids))

    def rows(self) -> list[SideRow]:
        """The rows as elements."""
        sources = _pick(self.sources, self.source_ids)
        places = map(itemgetter(0), sources), map(itemgetter(1), sources)
        columns = zip(*places, self.offsets.tolist(), self.times.tolist(), self.values, strict=True)
        return list(map(partial(tuple.__new__, SideRow), columns))

    def plain_keys(self) -> list[Any]:
        """The key of each row."""
        used, places = np.unique(self.key_ids, return_inverse=True)
        return _pick(list(map(decode_plain, _pick(self.keys, used))), places)

    def unmatched(self, side: int) -> list[UnmatchedRow]:
        """The rows as elements for those without a partner."""
        name = SIDES[side]
        sources = _pick(self.sources, self.source_ids)
        columns = (
            *(repeat(name, len(sources)), map(itemgetter(0), sources), map(itemgetter(1), sources)),
            *(self.offsets.tolist(), self.plain_keys(), self.times.tolist(), self.values),
        )
        return list(map(partial(tuple.__new__, UnmatchedRow), zip(*columns, strict=True)))


def _pick(values: Sequence[Any], chosen: Numbers) -> list[Any]:
    return list(map(values.__getitem__, chosen.tolist()))


def pack_batch(side: int, batch: Batch) -> bytes:
    """The rows of one side as bytes; keys and sources that no row has are left out."""
    used, key_ids = np.unique(batch.key_ids, return_inverse=True)
    if len(batch.sources) == 1:
        known, source_ids = np.zeros(1, np.int64), batch.source_ids
    else:
        known, source_ids = np.unique(batch.source_ids, return_inverse=True)
    return b"".join(
        (
            _HEAD.pack(side, len(batch.times)),
            batch.times.astype("<i8").tobytes(),
            batch.offsets.astype("<i8").tobytes(),
            key_ids.astype("<u4").tobytes(),
            source_ids.astype("<u4").tobytes(),
            pack_column(_pick(batch.keys, used)),
            pack_column(_pick(batch.sources, known)),
            pack_column(batch.values),
        )
    )


def _unpack(data: bytes) -> tuple[int, Batch]:
    side, count = _HEAD.unpack_from(data)
    at = _HEAD.size
    times, offsets = np.frombuffer(data, "<i8", 2 * count, at).reshape(2, count)
    at += 16 * count
    key_ids, source_ids = np.frombuffer(data, "<u4", 2 * count, at).reshape(2, count).astype(np.int64)
    keys, at = unpack_at(data, at + 8 * count)
    sources, at = unpack_at(data, at)
    values, _ = unpack_at(data, at)
    return side, Batch(keys, sources, key_ids, source_ids, times, offsets, values)


def side_of(pack: bytes) -> int:
    """The side whose rows these are."""
    return pack[0]


def without_closed(pack: bytes, grace_ms: int, closed: int) -> tuple[list[LateJoinRow], bytes]:
    """The rows of a pack for which a clock that has reached `closed` is too late, and a pack of the others."""
    side, batch = _unpack(pack)
    late = batch.times + grace_ms < closed
    if not late.any():
        return [], pack
    rows = [
        LateJoinRow(row.side, row.topic, row.partition, row.offset, row.key, row.time, closed, row.value)
        for row in batch.take(np.flatnonzero(late)).unmatched(side)
    ]
    return rows, pack_batch(side, batch.take(np.flatnonzero(~late)))


def unpack_batches(packs: Iterable[bytes]) -> tuple[Batch, Batch]:
    """All rows of each side, with the same numbers for the same keys on both."""
    keys, sources = Numbering(), Numbering()
    sides: tuple[list[Batch], list[Batch]] = ([], [])
    for data in packs:
        side, batch = _unpack(data)
        key_ids = keys.of(batch.keys)[batch.key_ids]
        source_ids = sources.of(batch.sources)[batch.source_ids]
        sides[side].append(batch._replace(key_ids=key_ids, source_ids=source_ids))
    key_list, source_list = list(keys), list(sources)
    return _concatenated(sides[LEFT], key_list, source_list), _concatenated(sides[RIGHT], key_list, source_list)


def _concatenated(batches: Sequence[Batch], keys: Sequence[bytes], sources: Sequence[tuple[str, int]]) -> Batch:
    def column(name: str) -> Any:
        return np.concatenate([np.empty(0, np.int64), *(getattr(batch, name) for batch in batches)])

    columns = column("key_ids"), column("source_ids"), column("times"), column("offsets")
    return Batch(keys, sources, *columns, [value for batch in batches for value in batch.values])


class Numbering(dict[Any, int]):
    """Numbers things as they come, from 0."""

    def __missing__(self, thing: Any) -> int:
        number = self[thing] = len(self)
        return number

    def of(self, things: Sequence[Any]) -> Numbers:
        """The numbers of all these, at the speed of dict look-ups."""
        return np.fromiter(map(self.__getitem__, things), np.int64, len(things))


class RowPacker:
    """Takes chunks of one side, in any order, and gives back their rows as packs.

    tombstone: makes the key of a record without value, which deletes; its time is the append time. None: such records
    have no row.
    """

    def __init__(
        self, rows: Rows, side: int, grace_ms: int, buckets: int, tombstone: Callable[[bytes], Any] | None = None
    ) -> None:
        self._rows, self._side, self._grace, self._buckets = rows, side, grace_ms, buckets
        self._tombstone = tombstone
        self.pending = 0  # rows held
        self._clear()

    def _clear(self) -> None:
        self._keys, self._sources = Numbering(), Numbering()
        self._key_ids: list[Numbers] = []
        self._source_ids: list[Numbers] = []
        self._times: list[Longs] = []
        self._offsets: list[Longs] = []
        self._values: list[Any] = []
        self.pending = 0

    def add(self, chunk: Chunk) -> tuple[list[LateJoinRow], Sequence[Bad]]:
        """Takes the rows of a chunk, except those that it returns."""
        columns = self._rows.read(chunk)
        if self._tombstone is not None and len(columns.keys) + len(columns.bad) < chunk.count:
            columns = _with_tombstones(chunk, columns, self._tombstone)
        keys, times, values, clocks, offsets, bad = columns
        if not len(keys):
            return [], bad
        if isinstance(values, np.ndarray):
            values = values.tolist()
        offsets = np.asarray(offsets, np.int64)
        late = times + self._grace < clocks
        late_rows = []
        if late.any():
            place = SIDES[self._side], chunk.topic, chunk.partition
            for i in np.flatnonzero(late).tolist():
                row = int(offsets[i]), keys[i], int(times[i]), int(clocks[i]), values[i]
                late_rows.append(LateJoinRow(*place, *row))
            chosen = np.flatnonzero(~late)
            keys, values = _pick(keys, chosen), _pick(values, chosen)
            times, offsets = times[chosen], offsets[chosen]
        source = self._sources[chunk.topic, chunk.partition]
        self._key_ids.append(self._keys.of(keys))
        self._source_ids.append(np.full(len(keys), source, np.int64))
        self._times.append(times)
        self._offsets.append(offsets)
        self._values += values
        self.pending += len(keys)
        return late_rows, bad

    def take(self) -> list[tuple[int, int, bytes]]:
        """Everything so far as (bucket, smallest time, pack), in order of bucket; forgotten here."""
        if not self.pending:
            self._clear()
            return []
        keys = list(map(encode_plain, self._keys))
        whole = Batch(
            keys,
            list(self._sources),
            np.concatenate(self._key_ids),
            np.concatenate(self._source_ids),
            np.concatenate(self._times),
            np.concatenate(self._offsets),
            self._values,
        )
        self._clear()
        buckets = np.array([crc32(key) % self._buckets for key in keys], np.int64)[whole.key_ids]
        order = np.argsort(buckets, kind="stable")
        found, starts = np.unique(buckets[order], return_index=True)
        taken = []
        for bucket, chosen in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            batch = whole.take(chosen)
            taken.append((bucket, int(batch.times.min()), pack_batch(self._side, batch)))
        return taken


def _with_tombstones(chunk: Chunk, columns: Columns, key_of: Callable[[bytes], Any]) -> Columns:
    """The rows and, among them in the order of their offsets, one with value None for each record without value."""
    keys, times, values, clocks, offsets, _ = columns
    rows = list(zip(map(int, offsets), keys, times.tolist(), values, clocks.tolist(), strict=True))
    bad = list(columns.bad)
    clock = chunk.clock
    for record in unpack_chunk(chunk):
        if record.value is None:
            try:
                if record.key is None:
                    raise ValueError("a tombstone needs a key")
                key, time, _ = checked_row(key_of(record.key), record.at, 0)
                rows.append((record.offset, key, time, None, clock))
            except (ValueError, BadRecord):
                bad.append(Bad(record.offset, "BAD_TOMBSTONE", "key"))
        clock = max(clock, record.at)
    if not rows:
        return columns._replace(bad=bad)
    places, found, moments, versions, before = zip(*sorted(rows, key=itemgetter(0)), strict=True)
    return Columns(found, np.array(moments, np.int64), versions, np.array(before, np.int64), places, bad)
