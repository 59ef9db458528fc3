"""Fold on the log: a shard is one partition, its state a pure function of that partition's records.

This module is the whole engine; it knows neither Beam nor Kafka. A driver (see `docs/architecture.md`) feeds it the records of one
partition in offset order and carries away what it gives back. The numbers in comments are the lines of the determinism contract.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, ClassVar, NamedTuple
from zlib import crc32

from schemas.rails import DeadLetter, Origin, Position, Record, Rule, Source, Tick, Version
from transforms.errors import BadRecord
from transforms.murmur2 import partition_of


class ContractError(Exception):
    """The determinism contract is broken; the shard stops, because going on would make results that no replay repeats."""


class Gap(ContractError):
    """The input has a hole, or it is not the log that the shard has folded so far (8)."""


class MissingRecord(ContractError):
    """A writer's output never arrived: `prev` names one that the reader has not seen (6)."""


class ForkedWriter(ContractError):
    """A writer's output names a `prev` older than what was seen of it: two histories of one shard (6)."""


class UnknownVersion(ContractError):
    """The log asks for rules that this code does not know (11)."""


class WrongState(ContractError):
    """A processor refused a record after it had already done something about it (10)."""


@dataclass(frozen=True)
class Topic:
    """A topic that a processor writes. `id` tells a topic from another of the same name; empty means the name itself."""

    name: str
    partitions: int = 16
    id: str = ""

    def __post_init__(self) -> None:
        if self.partitions < 1:
            raise ValueError(f"topic {self.name}: partitions must be at least 1, got {self.partitions}")

    @property
    def topic_id(self) -> str:
        return self.id or self.name

    def partition_of(self, key: bytes | None) -> int:
        """Where a record with this key belongs. Without a key: partition 0, fixed, because no stage accepts such a record."""
        return 0 if key is None else partition_of(key, self.partitions)


class Output(NamedTuple):
    """What a fold gives back: a record for `partition` of `topic`, not yet appended.

    A log output has an origin, its identity (5). An upsert has a `version` instead: the newest per key wins.
    """

    topic: str
    partition: int
    key: bytes | None
    event: Any
    origin: Origin | None
    version: int | None = None


Emitted = tuple[str, int, bytes | None, Any, int, int, int | None]
"""What a processor has written: topic, partition, key, event, offset of the record, index (of a log output), version (of an upsert).
`Shard.identify` makes an Output of it.
"""


@dataclass(slots=True)
class Counts:
    """Where the records of a shard went; together they are its offset (invariant 3)."""

    applied: int = 0
    dead_lettered: int = 0
    duplicate: int = 0
    late: int = 0
    ticks: int = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class Processor:
    """Base of all processors: a plain class whose methods are pure functions of their arguments and of the state they are given.

    `on_event` gets the entity of the event's key (None if there is none) and returns the entity as it is afterwards; None forgets it, with
    its deadlines. It raises `BadRecord` for a record that it cannot accept, before it emits or changes anything; any other exception stops
    the shard.
    """

    stage: ClassVar[str]  # a constant for ever: it is part of the identity of every output
    reads: ClassVar[tuple[type, ...]]  # event types of its topic; others are dead letters
    versions: ClassVar[tuple[int, ...]] = (1,)  # rules that this code knows; the first is in force before any Version
    from_clients: ClassVar[bool] = False  # clients may write its topic: origins there prove nothing and are ignored (6)
    carries_clock: ClassVar[bool] = (
        False  # its clock is that of another topic, handed on in its events: see `carried_time` (2)
    )
    entity_codec: Any = None  # encodes an entity for snapshots
    shared_codec: Any = None  # encodes what `new_shared` makes

    def key(self, event: Any) -> str | None:
        """Id of the entity that the event is about: the record's key must be the same. None: a broadcast, without key."""
        raise NotImplementedError

    def carried_time(self, event: Any) -> int:
        """Where `carries_clock`: the time (ms) that the event hands on, -1 if it carries none; it is the clock instead of the append time.

        For a topic whose records one stage hands on from another topic, partition by partition and in order: so the clock is that of the
        first topic, however late a record is handed on. An event that carries a time must not be refused (BadRecord).
        """
        raise NotImplementedError

    def on_event(self, key: str, entity: Any, event: Any, context: "Context") -> Any:
        raise NotImplementedError

    def on_broadcast(self, event: Any, context: "Context") -> None:
        """An event without key that stands on every partition, such as a Rule."""
        raise BadRecord("NO_KEY", "the event names no entity, and the stage takes no broadcasts")

    def on_deadline(self, key: str, entity: Any, deadline: str, context: "Context") -> Any:
        """`deadline` is the name it was set by. Returns the entity as `on_event` does. Must not raise BadRecord.

        `context.at`, `offset` and `value` are those of the record that moved the clock.
        """
        raise NotImplementedError

    def new_shared(self) -> Any:
        """State that belongs to the shard and to no key, such as rules or the in-transit accounts; changed in place."""
        return None


class Context:
    """What a processor may see and do while it handles one record. Belongs to its shard, and is used again for each record."""

    __slots__ = (
        "_counted",
        "_emitted",
        "_index",
        "_key",
        "_partitions",
        "_raw",
        "_run",
        "_shard",
        "_value",
        "at",
        "clock",
        "offset",
        "partition",
        "shared",
        "version",
    )

    def __init__(self, shard: "Shard") -> None:
        self._shard = shard
        self._emitted: list[Emitted] = []
        self._index = 0
        self._key: str | None = None
        self._raw: bytes | None = None  # the key of the record, where `_key` is its entity
        self._partitions = 0  # of the topic that is read, where `_raw` holds; else 0
        self.partition = shard.source.partition
        self._counted = ""
        self.shared = shard.shared
        self.clock = shard.clock  # ms: largest append time of the partition so far, or time handed on (2)
        self.at = 0  # ms: append time of this record
        self.offset = 0
        self.version = shard.version
        self._value: bytes | None = None
        self._run: Run | None = None

    @property
    def value(self) -> bytes | None:
        """The record's bytes as they stood on the topic."""
        run = self._run
        return self._value if run is None else run.record(self.offset).value

    @property
    def place(self) -> str:
        """Where this record stands: topic id/partition/offset."""
        source = self._shard.source
        return f"{source.topic}/{source.partition}/{self.offset}"

    def emit(self, topic: Topic, key: str, event: Any) -> None:
        """Writes a log output to the partition of `key` (5)."""
        raw, partition = self._place(topic, key)
        index = self._index
        self._index = index + 1
        self._emitted.append((topic.name, partition, raw, event, self.offset, index, None))

    def emit_beside(self, topic: Topic, event: Any) -> None:
        """Writes a log output without a key to the partition of this partition's number: what is handed on to all that stand there."""
        index = self._index
        self._index = index + 1
        self._emitted.append((topic.name, self.partition % topic.partitions, None, event, self.offset, index, None))

    def upsert(self, topic: Topic, key: str, event: Any, version: int) -> None:
        """Writes a new state of `key`: readers keep the highest version, drivers may leave out what is overtaken."""
        raw, partition = self._place(topic, key)
        self._emitted.append((topic.name, partition, raw, event, self.offset, 0, version))

    def _place(self, topic: Topic, key: str) -> tuple[bytes | None, int]:
        """The bytes of a key and its partition."""
        if key == self._key and topic.partitions == self._partitions:
            # The shard's own entity: on as many partitions it has the same number, and the record has its bytes (1).
            return self._raw, self.partition
        raw = key.encode()
        return raw, partition_of(raw, topic.partitions)

    def set_deadline(self, name: str, at: int) -> None:
        """Calls `on_deadline` for this entity with the first record whose clock reaches `at` (ms); replaces one of that name.

        One that is due already fires with the next record, or at once when a deadline sets it.
        """
        if self._key is None:
            raise WrongState(f"{self.place}: a broadcast has no entity, so it cannot set a deadline")
        self._shard.set_deadline(self._key, name, at)

    def clear_deadline(self, name: str) -> None:
        if self._key in self._shard.deadlines:
            self._shard.clear_deadline(self._key, name)

    def count_as_duplicate(self) -> None:
        """The record repeats another one, recognised by its id."""
        self._counted = "duplicate"

    def count_as_late(self) -> None:
        """The record came too late to be applied."""
        self._counted = "late"


class Run:
    """Consecutive records of a partition, by column: all with a value, none with headers, their events known.

    `record` gives any of them as a Record, by its offset.
    """

    __slots__ = ("events", "first", "keys", "origins", "times", "value")

    def __init__(
        self,
        first: int,
        times: list[int],
        keys: list[bytes] | list[bytes | None],
        events: list[Any],
        value: Callable[[int], bytes],
        origins: list[Origin | None] | None = None,
    ) -> None:
        """`first` is the offset of the first record; `value` gives the bytes of the n-th; no `origins`: none has one."""
        self.first, self.times, self.keys, self.events, self.value = first, times, keys, events, value
        self.origins = [None] * len(times) if origins is None else origins

    def record(self, offset: int) -> Record:
        n = offset - self.first
        return Record(offset, self.times[n], self.keys[n], self.value(n), self.origins[n], ())


_new = tuple.__new__  # builds the records of the hot path without a call of their own constructors

_NONE: dict[str, int] = {}
_CROWDED = 1_000  # entries for deadlines, below which it does not matter how many are of no use

DEAD_LETTERS = Topic("rails.deadletters")


class Shard:
    """One partition as one stage sees it: state, clock, marks and offset, nothing else."""

    def __init__(
        self,
        processor: Processor,
        topic: str,
        partition: int,
        partitions: int,
        decode: Callable[[bytes], Any],
        dead_letters: Topic = DEAD_LETTERS,
    ) -> None:
        """`topic` is the topic id, `partitions` how many the topic has, `decode` makes events of values or raises BadRecord."""
        self.processor = processor
        self._key, self._on_event, self._reads = processor.key, processor.on_event, processor.reads
        self._proven = not processor.from_clients  # origins on the topic are those of stages
        self._carried = processor.carries_clock
        self.source = Source(processor.stage, topic, partition)
        self.partitions = partitions
        self.decode = decode
        self.dead_letters = dead_letters
        self.offset = 0
        self.clock = -1
        self.version = processor.versions[0]
        self.entities: dict[str, Any] = {}
        self.shared = processor.new_shared()
        self.deadlines: dict[str, dict[str, int]] = {}  # entity → name → when it is due
        self.marks: dict[Source, tuple[int, int]] = {}
        self.prevs: dict[tuple[str, int], Position] = {}
        self.counts = Counts()
        self.checksum = 0  # of the record before `offset`
        self._last: Record | None = None
        self._heap: list[tuple[int, str, str]] = []
        self._crowded = _CROWDED
        self.renew_context()

    def renew_context(self) -> None:
        """To be called when state was put into the shard from outside."""
        self._context = Context(self)

    def set_deadline(self, key: str, name: str, at: int) -> None:
        names = self.deadlines.get(key)
        if names is None:
            names = self.deadlines[key] = {}
        held = names.get(name)
        names[name] = at
        # The heap holds an entry at or before each deadline; one that moves later is entered anew when the old time comes.
        if held is None or at < held:
            heappush(self._heap, (at, key, name))
            if len(self._heap) > self._crowded:
                self._tidy()

    def _tidy(self) -> None:
        """Leaves one entry for each deadline: those that were cleared long before their time would stay until it comes."""
        heap = self._heap
        heap[:] = [(at, key, name) for key, names in self.deadlines.items() for name, at in names.items()]
        heapify(heap)
        self._crowded = max(_CROWDED, 2 * len(heap))

    def clear_deadline(self, key: str, name: str) -> None:
        names = self.deadlines[key]
        names.pop(name, None)
        if not names:
            del self.deadlines[key]

    @property
    def next_deadline(self) -> int | None:
        """Time (ms) of the earliest deadline; it then stands first in the heap."""
        heap = self._heap
        while heap:
            at, key, name = heap[0]
            due = self.deadlines.get(key, _NONE).get(name)
            if due == at:
                return at
            if due is None or due < at:  # cleared, fired or moved before
                heappop(heap)
            else:
                heapreplace(heap, (due, key, name))
        return None

    def position_checksum(self) -> int:
        """Checksum of the record before `offset`, 0 at the start: tells this log from a re-created one (8)."""
        if self._last is not None:
            self.checksum = record_checksum(self._last)
        return self.checksum

    def check_before(self, record: Record) -> None:
        """`record` claims to stand just before `offset`; raises Gap if it is not the one that was folded (8)."""
        if record.offset != self.offset - 1 or record_checksum(record) != self.position_checksum():
            raise Gap(
                f"{self._here(self.offset)}: the record before it is another one: the topic was re-created or cut"
            )

    def step(self, record: Record, event: Any = None) -> list[Output]:
        """Folds one record. `event` is what `record.value` decodes to, where the driver knows it already.

        After an exception the shard is of no use: throw it away and restore it.
        """
        emitted: list[Emitted] = []
        self.emit_step(record, emitted, event)
        return self.identify(emitted) if emitted else []

    def emit_step(self, record: Record, emitted: list[Emitted], event: Any = None) -> None:
        """`step` for a driver that gives outputs their identity later, but before it takes a snapshot; adds them to `emitted`."""
        offset, at, raw, value, origin, _ = record
        if offset != self.offset:
            raise Gap(f"{self._here(self.offset)}: expected this offset, got {offset}")
        context = self._context
        context._emitted, context._index, context._counted, context._partitions = emitted, 0, "", 0
        context.offset, context.at, context._value = offset, at, value
        if self._carried:
            event, at = self._look_ahead(value, event)
        # Every record moves the clock, repeats too (2), and fires what is due before it is looked at (3).
        if at > self.clock:
            self.clock = context.clock = at
        if self._heap and self._heap[0][0] <= self.clock:
            self._fire(context)
            context._counted = ""
        self._last = record
        self.offset = offset + 1
        if origin is not None and self._proven and self._is_repeat(origin):
            self.counts.duplicate += 1
            return
        before = len(emitted)  # what deadlines gave stands, whatever becomes of the record
        try:
            if event is None:
                if not value:
                    raise BadRecord("EMPTY_VALUE")
                event = self.decode(value)
            if type(event) in self._reads:
                key = self._key(event)
                if key is None:
                    context._key = None
                    self.processor.on_broadcast(event, context)
                else:
                    entities = self.entities
                    entity = entities.get(key)
                    # An entity that exists has passed the partition check already (1).
                    if raw is None or raw != key.encode():
                        raise BadRecord("WRONG_KEY", "the record's key is not the id of its entity")
                    if entity is None and partition_of(raw, self.partitions) != self.source.partition:
                        raise BadRecord("WRONG_PARTITION", "the key does not belong to this partition")
                    context._key, context._raw, context._partitions = key, raw, self.partitions
                    after = self._on_event(key, entity, event, context)
                    if after is not None:
                        if after is not entity:
                            entities[key] = after
                    elif entity is not None or self.deadlines:
                        self._forget(key)
            else:
                self._pass_by(event, context)
        except BadRecord as error:
            self._refuse(record, error, context, before)
        if context._counted:
            self._count(context._counted)
        else:
            self.counts.applied += 1

    def _look_ahead(self, value: bytes | None, event: Any) -> tuple[Any, int]:
        """The event, and the time that it carries (2). A repeat carries what its first appearance carried, so it moves nothing."""
        if event is None:
            try:
                event = self.decode(value or b"")
            except BadRecord:  # the caller makes a dead letter of it
                return None, -1
        return event, self.processor.carried_time(event)

    def identify(self, emitted: Iterable[Emitted]) -> list[Output]:
        """Gives what was emitted its identity (5). What goes to one partition comes in the order in which it was emitted."""
        outputs: list[Output] = []
        source, follow = self.source, self.follow
        for topic, partition, key, event, offset, index, version in emitted:
            origin = None
            if version is None:
                position = _new(Position, (offset, index))
                origin = _new(Origin, (source, offset, index, follow((topic, partition), position)))
            outputs.append(_new(Output, (topic, partition, key, event, origin, version)))
        return outputs

    def follow(self, target: tuple[str, int], position: Position) -> Position | None:
        """`position` is now the last output to that topic and partition; gives the one before it, its `prev`."""
        prev = self.prevs.get(target)
        self.prevs[target] = position
        return prev

    def fold_run(self, run: Run) -> tuple[list[int], list[Emitted]]:
        """Folds the records of `run` as `step` does, one after another; gives what all have emitted, and for each its record's append time.

        Only what is frequent is done here, everything else by `step`. To be given an identity before the shard goes into a snapshot.
        """
        context, entities, heap = self._context, self.entities, self._heap
        key_of, on_event, reads, carried_time = self._key, self._on_event, self._reads, self.processor.carried_time
        partitions, number, carried, proven = self.partitions, self.source.partition, self._carried, self._proven
        if run.first != self.offset:
            raise Gap(f"{self._here(self.offset)}: expected this offset, got {run.first}")
        emitted: list[Emitted] = []
        caused: list[int] = []
        context._emitted, context._run, context._counted, context._partitions = emitted, run, "", partitions
        clock, offset, applied, end = self.clock, run.first - 1, 0, 0
        for at, raw, event, origin in zip(run.times, run.keys, run.events, run.origins, strict=True):
            offset += 1
            key, moved = None, at
            if type(event) in reads:
                if carried:
                    moved = carried_time(event)
                if not (heap and (heap[0][0] <= moved or heap[0][0] <= clock)):
                    try:
                        key = key_of(event)
                    except BadRecord:
                        key = None  # `step` makes a dead letter of it
            entity = entities.get(key)  # type: ignore[arg-type]
            if key is None or raw != key.encode() or (entity is None and partition_of(raw, partitions) != number):
                self.offset = offset
                self.emit_step(run.record(offset), emitted, event)
                context._counted, context._partitions, clock = "", partitions, self.clock
            else:
                if moved > clock:
                    clock = self.clock = context.clock = moved
                if origin is not None and proven:
                    self.offset = offset + 1
                    if self._is_repeat(origin):
                        self.counts.duplicate += 1
                        continue
                context._index, context._key, context._raw, context.offset, context.at = 0, key, raw, offset, at
                try:
                    after = on_event(key, entity, event, context)
                    if after is not None:
                        if after is not entity:
                            entities[key] = after
                    elif entity is not None or self.deadlines:
                        self.offset = offset + 1
                        self._forget(key)
                except BadRecord as error:
                    self._refuse(run.record(offset), error, context, end)
                if context._counted:
                    self._count(context._counted)
                    context._counted = ""
                else:
                    applied += 1
            while end < len(emitted):
                caused.append(at)
                end += 1
        self.counts.applied += applied
        self.offset, self._last, context._run = offset + 1, run.record(offset), None
        return caused, emitted

    def _count(self, where: str) -> None:
        setattr(self.counts, where, getattr(self.counts, where) + 1)

    def _pass_by(self, event: Any, context: Context) -> None:
        """What stands on every partition for whom it may concern; rules of other stages too.

        Whoever may write a client topic could stop or change a stage by them, so there they count only if the stage reads that type.
        """
        kind = type(event)
        if self.processor.from_clients:
            raise BadRecord("UNEXPECTED_TYPE", f"{kind.__name__} is not taken from clients by {self.processor.stage}")
        if kind is Tick:
            context._counted = "ticks"
        elif kind is Version:
            self._pin(event, context)
        elif kind is not Rule:
            raise BadRecord("UNEXPECTED_TYPE", f"{kind.__name__} is not read by {self.processor.stage}")

    def _fire(self, context: Context) -> None:
        """Fires what is due in (time, key, name) order until none is left (3)."""
        entities = self.entities
        while (at := self.next_deadline) is not None and at <= self.clock:
            _, key, name = heappop(self._heap)
            self.clear_deadline(key, name)
            context._key, entity = key, entities[key]
            try:
                after = self.processor.on_deadline(key, entity, name, context)
            except BadRecord as error:
                raise WrongState(f"{self._here(context.offset)}: deadline {name} raised {error.code}") from error
            if after is None:
                self._forget(key)
            elif after is not entity:
                entities[key] = after

    def _forget(self, key: str) -> None:
        """An entity goes with its deadlines, so a deadline always finds its entity."""
        if self.entities.pop(key, None) is not None:
            self.deadlines.pop(key, None)
        elif key in self.deadlines:
            raise WrongState(f"{self._here(self.offset - 1)}: a deadline was set without an entity")

    def _is_repeat(self, origin: Origin) -> bool:
        """Contract line 6; the mark moves before the record is decoded, so that a dead letter is not read twice either."""
        source, offset, index, prev = origin
        mark = self.marks.get(source)
        if mark is not None and (offset, index) <= mark:
            return True
        if prev != mark:
            missing = prev is not None and (mark is None or prev > mark)
            raise (MissingRecord if missing else ForkedWriter)(
                f"{self._here(self.offset - 1)}: {source.stage}/{source.topic}/{source.partition} wrote {offset}.{index} "
                f"after {prev}, but the last that arrived is {mark}"
            )
        self.marks[source] = (offset, index)
        return False

    def _pin(self, version: Version, context: Context) -> None:
        """Contract line 11."""
        if version.stage != self.processor.stage:
            return
        if version.number not in self.processor.versions:
            raise UnknownVersion(
                f"{self._here(self.offset - 1)}: needs rules {version.number}, this code knows {self.processor.versions}; "
                "run the release that has them"
            )
        if version.number <= self.version:
            context.count_as_duplicate()
        else:
            self.version = context.version = version.number

    def _refuse(self, record: Record, error: BadRecord, context: Context, before: int) -> None:
        """Makes a dead letter of a record about which nothing was done: nothing emitted after the first `before`, no deadline (10)."""
        held = context._key
        if len(context._emitted) > before or (held in self.deadlines and held not in self.entities):
            raise WrongState(f"{self._here(record.offset)}: {error.code} raised after something was done") from error
        context._counted = "dead_lettered"
        self._bury(record, error, context)

    def _bury(self, record: Record, error: BadRecord, context: Context) -> None:
        """The dead letter stands where the record's key would put it; without a key, in the record's own partition number."""
        letter, partition = dead_letter(self.source, record, error), self.source.partition
        key, count = record.key, self.dead_letters.partitions
        target = partition % count if key is None else partition_of(key, count)
        context._emitted.append((self.dead_letters.name, target, key, letter, record.offset, context._index, None))

    def _here(self, offset: int) -> str:
        stage, topic, partition = self.source
        return f"{stage}: {topic}/{partition}/{offset}"


def dead_letter(source: Source, record: Record, error: BadRecord, attempt: int = 0) -> DeadLetter:
    """The dead letter of a record of that partition, as the stage refuses it for the time after `attempt`."""
    stage, topic, partition = source
    return DeadLetter(
        id=f"{stage}/{topic}/{partition}/{record.offset}",
        stage=stage,
        topic=topic,
        partition=partition,
        offset=record.offset,
        at=record.at,
        code=error.code,
        detail=error.detail,
        attempt=attempt,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


Newest = dict[tuple[str, bytes | None], tuple[int, Emitted]]
"""The upserts of a shard that no other has overtaken: topic and key → append time of the cause, upsert."""


def split_by_place(
    times: list[int], emitted: list[Emitted], newest: Newest
) -> dict[tuple[str, int], tuple[list[int], list[Emitted]]]:
    """The log outputs among what was emitted, by target topic and partition, in order, each with its time; upserts go to `newest`."""
    split: dict[tuple[str, int], tuple[list[int], list[Emitted]]] = {}
    for at, one in zip(times, emitted, strict=True):
        version = one[6]
        if version is not None:
            target = (one[0], one[2])
            held = newest.get(target)
            if held is None or version > held[1][6]:  # type: ignore[operator] # it is an upsert, so it has a version
                newest[target] = at, one
            continue
        place = (one[0], one[1])
        lists = split.get(place)
        if lists is None:
            lists = split[place] = [], []
        caused, written = lists
        caused.append(at)
        written.append(one)
    return split


def record_checksum(record: Record) -> int:
    """CRC-32 over append time, key and value."""
    return crc32(repr((record.at, record.key, record.value)).encode())


def fold(shard: Shard, records: Iterable[Record]) -> list[Output]:
    """Folds `records` into `shard` and gives back their outputs in order."""
    outputs: list[Output] = []
    for record in records:
        outputs += shard.step(record)
    return outputs
