"""De-duplication of records by the id of their event, for a time on the log's clock.

A client that gets no answer sends again, so the same event may stand in a log twice; its id tells. Which record is a
repeat is a pure function of its partition: it comes while the id of an earlier one is remembered, `ttl_ms` of the
partition's clock from that one on. Events with the same id have to lie on the same partition (key the topic by the id,
or by what the id belongs to). Repeats of *outputs of stages* carry their origin instead: `transforms.origin_filter`.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import coders, pvalue
from apache_beam.transforms.core import DoFn
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec

from schemas.rails import Record
from transforms.chunks import Chunk, encode_record, unpack_chunk
from transforms.errors import BadRecord
from transforms.fold import Gap
from transforms.id_memory import MAX_MS, IdMemory, digest_of
from transforms.plain import PlainTupleCoder
from transforms.windows import BadRow

IdOf = Callable[[Record], bytes | str | None]


class Repeat(NamedTuple):
    """A record that was dropped, and the offset of the one that it repeats. at: its append time, ms. Each is here
    exactly once."""

    topic: str
    partition: int
    offset: int
    first_offset: int
    at: int


class RepeatCoder(PlainTupleCoder):
    kind = Repeat


coders.registry.register_coder(Repeat, RepeatCoder)


class Filtered(NamedTuple):
    """What became of a chunk: the chunk of what is kept (None if nothing is), repeats, records whose id cannot be read,
    and what the memory has more than before: (digest, offset, clock)."""

    kept: Chunk | None
    repeats: list[Repeat]
    bad: list[BadRow]
    ids: list[tuple[bytes, int, int]]


class RepeatFilter:
    """One partition's memory: takes its chunks in order.

    What is kept is a log of its own, with holes: records keep their offsets, and the clock of a chunk is the largest
    append time of what was kept before.
    """

    def __init__(self, id_of: IdOf, ttl_ms: int) -> None:
        self._id_of = id_of
        self.memory = IdMemory(ttl_ms)
        self.offset = -1  # the next one, -1 before the first chunk
        self.clock = self.kept_clock = -1

    def step(self, chunk: Chunk) -> Filtered:
        """Filters a chunk; Gap if it does not follow the one before. After an exception the filter is of no use."""
        if self.offset < 0:
            self.clock = self.kept_clock = chunk.clock
        elif chunk.offset != self.offset:
            raise Gap(f"DropRepeats: {chunk.topic}/{chunk.partition}/{self.offset}: expected this, got {chunk.offset}")
        topic, partition, recall, id_of = chunk.topic, chunk.partition, self.memory.recall, self._id_of
        kept: list[Record] = []
        repeats: list[Repeat] = []
        bad: list[BadRow] = []
        ids: list[tuple[bytes, int, int]] = []
        records = unpack_chunk(chunk)
        for record in records:
            self.clock = max(self.clock, record.at)
            try:
                found = id_of(record)
            except BadRecord as error:
                bad.append(BadRow(topic, partition, record.offset, error.code, error.detail))
                continue
            if found is not None:
                digest = digest_of(found.encode() if isinstance(found, str) else found)
                first = recall(digest, record.offset, self.clock)
                if first is not None:
                    repeats.append(Repeat(topic, partition, record.offset, first, record.at))
                    continue
                ids.append((digest, record.offset, self.clock))
            kept.append(record)
        if records:
            self.offset = records[-1].offset + 1
        if not kept:
            return Filtered(None, repeats, bad, ids)
        out = chunk._replace(offset=kept[0].offset, clock=self.kept_clock, count=len(kept))
        if len(kept) < len(records):
            out = out._replace(payload=b"".join(map(encode_record, kept)))
        self.kept_clock = max(self.kept_clock, *(record.at for record in kept))
        return Filtered(out, repeats, bad, ids)


class Deduplicated(NamedTuple):
    """What `DropRepeats` gives. (A NamedTuple: Beam records its fields as the named outputs of the step.)

    records: PCollection[Chunk], what is kept; repeats: PCollection[Repeat], so their count is exact; bad:
    PCollection[BadRow]. Each record is in one of them.
    """

    records: Any
    repeats: Any
    bad: Any


class DropRepeats(beam.PTransform):
    """Drops records whose event id was seen on their partition within `ttl_ms` of its clock, counted from the first
    record with the id.

    PCollection[Chunk] -> `Deduplicated`. id_of: a pure function of the record that gives the id (bytes or text), None
    for a record that has none and is kept; BadRecord makes it bad. The records of a partition must come without holes
    between chunks, from any offset on.

    Bounded, a partition's chunks may come in any order. Unbounded they must come in order, as they do from a source
    that reads a partition in one place; else Gap stops the job. Ids are kept in Beam's state of the partition and in
    memory; memory is used only when it stands at the offset that the state has, so a bundle that is tried again,
    anywhere, gives the same.
    """

    def __init__(self, id_of: IdOf, ttl_ms: int) -> None:
        super().__init__()
        if not callable(id_of):
            raise ValueError(f"DropRepeats: id_of must be a function of the record, got {id_of!r}")
        if type(ttl_ms) is not int or not 1 <= ttl_ms <= MAX_MS:
            raise ValueError(f"DropRepeats: ttl_ms must be whole milliseconds from 1 to {MAX_MS}, got {ttl_ms!r}")
        self._id_of, self._ttl = id_of, ttl_ms

    def expand(self, chunks: Any) -> Any:
        keyed = chunks | "By partition" >> beam.Map(_by_partition).with_output_types(tuple[str, Chunk])
        if chunks.is_bounded:
            keyed = keyed | "Group" >> beam.GroupByKey()
            drop: DoFn = _DropFromWhole(self._id_of, self._ttl)
        else:
            drop = _DropInState(self._id_of, self._ttl)
        step = beam.ParDo(drop).with_output_types(Chunk, repeats=Repeat, bad=BadRow)
        dropped = keyed | "Drop" >> step.with_outputs("repeats", "bad", main="records")
        return Deduplicated(dropped.records, dropped.repeats, dropped.bad)


def _by_partition(chunk: Chunk) -> tuple[str, Chunk]:
    return f"{chunk.topic}/{chunk.partition}", chunk


def _outputs(filtered: Filtered) -> Iterator[Any]:
    if filtered.kept is not None:
        yield filtered.kept
    for repeat in filtered.repeats:
        yield pvalue.TaggedOutput("repeats", repeat)
    for row in filtered.bad:
        yield pvalue.TaggedOutput("bad", row)


class _DropFromWhole(DoFn):
    """(partition, its chunks) -> chunks."""

    def __init__(self, id_of: IdOf, ttl_ms: int) -> None:
        self._id_of, self._ttl = id_of, ttl_ms

    def process(self, element: tuple[str, Iterable[Chunk]]) -> Iterator[Any]:
        one = RepeatFilter(self._id_of, self._ttl)
        for chunk in sorted(element[1], key=lambda chunk: chunk.offset):
            yield from _outputs(one.step(chunk))


_PLACE = struct.Struct("<qqqq")  # next offset, clock, clock of what was kept, entries in the bag
_ENTRY = struct.Struct("<16sqq")  # digest, offset, clock
SPARE = 10_000  # forgotten entries that the bag may hold beside as many as are remembered


class _DropInState(DoFn):
    """(partition, chunk) -> chunk. State: where the partition stands, and the ids as a bag of entries to which each
    chunk adds its own."""

    PLACE = ReadModifyWriteStateSpec("place", coders.BytesCoder())
    IDS = BagStateSpec("ids", coders.BytesCoder())

    def __init__(self, id_of: IdOf, ttl_ms: int) -> None:
        self._id_of, self._ttl = id_of, ttl_ms

    def setup(self) -> None:
        self._held: dict[str, tuple[bytes, RepeatFilter]] = {}

    def process(
        self, element: tuple[str, Chunk], place: Any = DoFn.StateParam(PLACE), ids: Any = DoFn.StateParam(IDS)
    ) -> Iterator[Any]:
        key, chunk = element
        stands = place.read() or b""
        # taken out: if anything fails below, it is made anew from the state
        known, one = self._held.pop(key, (None, None))
        if one is None or known != stands:
            one = self._restored(stands, ids)
        written = _PLACE.unpack(stands)[3] if stands else 0
        filtered = one.step(chunk)
        new = filtered.ids
        written += len(new)
        if written > 2 * len(one.memory) + SPARE:
            ids.clear()
            new = list(one.memory.entries())
            written = len(new)
        if new:
            ids.add(b"".join(_ENTRY.pack(*entry) for entry in new))
        stands = _PLACE.pack(one.offset, one.clock, one.kept_clock, written)
        place.write(stands)
        yield from _outputs(filtered)
        self._held[key] = stands, one

    def _restored(self, stands: bytes, ids: Any) -> RepeatFilter:
        one = RepeatFilter(self._id_of, self._ttl)
        if stands:
            one.offset, one.clock, one.kept_clock, _ = _PLACE.unpack(stands)
            entries = [entry for part in ids.read() for entry in _ENTRY.iter_unpack(part)]
            one.memory.put_all(sorted(entries, key=lambda entry: entry[1]))
        return one
