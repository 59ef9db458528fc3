"""The in-memory loop: topics in memory, stages that read and write them, one clock.

It runs a whole event-driven system, loops included, over a bounded input, and its result depends on nothing but that input. Every
hop takes `hop_ms` of log time: what a record causes at time t is appended at t + hop_ms. Records are appended in order of time, so each
partition's clock is simply the time. The logs that it leaves behind are what a broker would have held.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.rails import Header, Origin, Record, Tick
from transforms.chunks import CHUNK_RECORDS, Chunk, encode_record
from transforms.fold import DEAD_LETTERS, Output, Processor, Shard, Topic
from transforms.registry import Registry

_new = tuple.__new__  # builds records without a call of their own constructor


@dataclass(frozen=True)
class Stage:
    """A processor and the topic that it reads."""

    processor: Processor
    topic: Topic
    dead_letters: Topic = DEAD_LETTERS


class _Partition:
    """One partition: how far it is written, the records not yet handed on, and the shards that read it."""

    __slots__ = ("chunk_clock", "clock", "encoded", "offset", "shards")

    def __init__(self) -> None:
        self.offset = 0
        self.clock = self.chunk_clock = -1
        self.encoded: list[bytes] = []
        self.shards: list[Shard] = []


class Loop:
    """Runs `stages` over in-memory topics.

    `entry` says where a client's record is appended, as (topic name, partition) pairs: one, or all partitions for a broadcast.
    `ticked` are the topics that get a tick on every partition each `tick_ms`.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        registry: Registry,
        entry: Callable[[Record], Iterable[tuple[str, int]]],
        ticked: Sequence[Topic] = (),
        hop_ms: int = 5,
        tick_ms: int = 1000,
        chunk_records: int = CHUNK_RECORDS,
    ) -> None:
        if hop_ms < 0 or tick_ms < 1 or chunk_records < 1:
            raise ValueError(
                f"hop_ms must be >= 0, tick_ms and chunk_records >= 1, got {hop_ms}, {tick_ms}, {chunk_records}"
            )
        self.registry, self.entry, self.ticked = registry, entry, tuple(ticked)
        self._encoders = {kind: (registry.frame(kind), registry.codec(kind).encode_behind) for kind in registry.kinds}
        self.hop_ms, self.tick_ms, self.chunk_records = hop_ms, tick_ms, chunk_records
        self._partitions: dict[tuple[str, int], _Partition] = {}
        # (time of append, what one record caused); times never fall, so it is a queue
        self._pending: deque[tuple[int, list[Output]]] = deque()
        self._upserts: dict[tuple[str, int, bytes], tuple[int, Output]] = {}
        self._ready: list[Chunk] = []
        self._next_tick: int | None = None
        for stage in stages:
            topic = stage.topic
            for number in range(topic.partitions):
                shard = Shard(
                    stage.processor, topic.topic_id, number, topic.partitions, registry.decode, stage.dead_letters
                )
                self._partition(topic.name, number).shards.append(shard)

    @property
    def shards(self) -> list[Shard]:
        """All shards, for their counts and states, in order of topic and partition."""
        return [shard for _, partition in sorted(self._partitions.items()) for shard in partition.shards]

    def run(self, inputs: Iterable[Record]) -> Iterator[Chunk]:
        """Appends the clients' records, which come in order of `at` (else ValueError), and gives back every partition in chunks of
        `chunk_records`.

        Offsets and origins of the inputs are not looked at: the loop's topics number their own. The end of the input fires nothing:
        what waits for a deadline goes on waiting (contract line 3).
        """
        now = -1
        for record in inputs:
            if record.at < now:
                raise ValueError(f"a record of {record.at} ms after one of {now} ms: the loop appends in order of time")
            now = record.at
            self._advance(now)
            for topic, number in self.entry(record):
                self._append(record.at, topic, number, record.key, record.value, None, None, record.headers)
            if self._ready:
                yield from self._take()
        while self._pending:
            self._advance(self._pending[0][0])
            yield from self._take()
        for due, output in sorted(self._upserts.values(), key=lambda item: (item[0], item[1].key or b"")):
            self._append_outputs(due, (output._replace(version=None),))
        for (topic_name, number), partition in sorted(self._partitions.items()):
            self._close_chunk(topic_name, number, partition)
        yield from self._take()

    def _partition(self, topic: str, number: int) -> _Partition:
        partition = self._partitions.get((topic, number))
        if partition is None:
            partition = self._partitions[topic, number] = _Partition()
        return partition

    def _take(self) -> list[Chunk]:
        ready, self._ready = self._ready, []
        return ready

    def _advance(self, now: int) -> None:
        """Appends all that is due up to `now`, ticks first where times are equal."""
        if self._next_tick is None:
            self._next_tick = now - now % self.tick_ms + self.tick_ms
        pending, append = self._pending, self._append_outputs
        while True:
            while pending and (due := pending[0][0]) <= now and due < self._next_tick:
                append(due, pending.popleft()[1])
            if self._next_tick > now:
                return
            self._tick(self._next_tick)
            self._next_tick += self.tick_ms

    def _tick(self, at: int) -> None:
        tick = Tick(at)
        value = self.registry.encode(tick)
        for topic in self.ticked:
            for number in range(topic.partitions):
                self._append(at, topic.name, number, None, value, tick, None, ())

    def _append_outputs(self, at: int, outputs: Iterable[Output]) -> None:
        """Appends what one record caused; of upserts the newest version per key is kept for the end, as they may be coalesced."""
        encoders, append, upserts = self._encoders, self._append, self._upserts
        for output in outputs:
            topic, number, key, event, origin, version = output
            if version is None:
                frame, encode = encoders[type(event)]
                append(at, topic, number, key, encode(frame, event), event, origin, ())
                continue
            place = (topic, number, key or b"")
            held = upserts.get(place)
            if held is None or version > (held[1].version or 0):
                upserts[place] = at, output

    def _append(
        self,
        at: int,
        topic: str,
        number: int,
        key: bytes | None,
        value: bytes | None,
        event: Any,
        origin: Origin | None,
        headers: tuple[Header, ...],
    ) -> None:
        """Appends one record and lets the stages of the topic fold it; `event` is its decoded value if it is known."""
        partition = self._partitions.get((topic, number)) or self._partition(topic, number)
        offset, encoded = partition.offset, partition.encoded
        record = _new(Record, (offset, at, key, value, origin, headers))
        partition.offset = offset + 1
        if not encoded:
            partition.chunk_clock = partition.clock
        encoded.append(encode_record(record))
        if at > partition.clock:
            partition.clock = at
        if len(encoded) == self.chunk_records:
            self._close_chunk(topic, number, partition)
        for shard in partition.shards:
            outputs = shard.step(record, event)
            if outputs:
                self._pending.append((at + self.hop_ms, outputs))

    def _close_chunk(self, topic: str, number: int, partition: _Partition) -> None:
        encoded = partition.encoded
        if encoded:
            first = partition.offset - len(encoded)
            self._ready.append(Chunk(topic, number, first, partition.chunk_clock, len(encoded), b"".join(encoded)))
            partition.encoded = []
