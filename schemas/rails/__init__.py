"""Typed records of the domain `rails`. Generated from the .avsc files by `schemas.generate`."""

from typing import Any, NamedTuple


class Header(NamedTuple):
    """One Kafka header.

    key: Name.
    value: Value as it stood on the topic.
    """

    key: str
    value: bytes


class DeadLetter(NamedTuple):
    """A record that pure code refused, with all that is needed to look at it and to send it again.

    id: stage/topic/partition/offset of the refused record: its identity.
    stage: Stage that refused it.
    topic: Topic id it was read from.
    partition: Partition.
    offset: Offset.
    at: Append time of the refused record.
    code: Error code, upper case; one of the lists in docs.
    detail: What was wrong, in names and positions; never values of the record.
    attempt: Number of redrives that the record has behind it, from 0.
    key: Original key.
    value: Original bytes.
    headers: Original headers.
    """

    id: str
    stage: str
    topic: str
    partition: int
    offset: int
    at: int
    code: str
    detail: str
    attempt: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


class Deadline(NamedTuple):
    """A deadline that has not fired.

    at: When it is due on the clock of the log.
    key: Entity.
    name: Name it was set by.
    """

    at: int
    key: str
    name: str


class Entity(NamedTuple):
    """State of one entity.

    key: Id.
    state: As the codec of the processor writes it.
    """

    key: str
    state: bytes


class Source(NamedTuple):
    """Who wrote a record, and from where: one shard of one stage.

    stage: Stage id, a constant for ever.
    topic: Topic id of the topic that the stage reads.
    partition: Partition of that topic.
    """

    stage: str
    topic: str
    partition: int


class Position(NamedTuple):
    """A place among the outputs of a shard.

    offset: Offset of the input record that caused the output.
    index: Number of the output among all log outputs of that input record, over all topics, from 0.
    """

    offset: int
    index: int  # type: ignore[assignment]


class Mark(NamedTuple):
    """Highest position seen of one writing shard.

    source: The shard that writes.
    position: Highest position seen of it.
    """

    source: Source
    position: Position


class Origin(NamedTuple):
    """Identity of a log output: where it came from (contract line 5).

    source: The shard that wrote the record.
    offset: Offset of the input record that caused it.
    index: Number among the log outputs of that input record, from 0.
    prev: Position of the last output of this shard to this target partition before this one; null for the
    first.
    """

    source: Source
    offset: int
    index: int  # type: ignore[assignment]
    prev: Position | None = None


class Record(NamedTuple):
    """One record of a log partition as Kafka holds it; a topic on disk is one Avro container of these per
    partition.

    offset: Offset in the partition, without gaps.
    at: Append time: the log clock, milliseconds since 1970 UTC.
    key: Kafka key.
    value: Kafka value: Confluent frame (0, schema id) and Avro bytes, or whatever a client sent.
    origin: Identity of a record that a stage wrote; null on records of clients, admin and ticker.
    headers: Other Kafka headers.
    """

    offset: int
    at: int
    key: bytes | None
    value: bytes | None
    origin: Origin | None
    headers: tuple[Header, ...]


class Rule(NamedTuple):
    """A rule as an event: thresholds that change a running stage; written to every partition.

    id: Id of the administrative action.
    name: What the rule rules, a name that the stage knows.
    version: Version of this rule; a lower or equal one than that in force is ignored.
    active: False takes the rule out of force.
    parameters: Thresholds by name, integers in the unit that the name says.
    """

    id: str
    name: str
    version: int
    active: bool
    parameters: dict[str, int]


class Target(NamedTuple):
    """Last output of this shard to one target partition.

    topic: Topic written.
    partition: Its partition.
    position: Position of the last output to it.
    """

    topic: str
    partition: int
    position: Position


class Snapshot(NamedTuple):
    """Everything that a shard is after the records before `offset`.

    stage: Stage.
    topic: Topic id.
    partition: Partition.
    partitions: Partition count of the topic.
    offset: Next offset to fold.
    checksum: CRC-32 of the record before it; 0 at the start.
    clock: Clock of the shard.
    version: Rules in force.
    counts: Where the records went.
    marks: Filter of repeats.
    targets: Last outputs.
    deadlines: Pending, in the order of (at, key, name).
    entities: In the order in which the shard holds them.
    shared: State without key.
    """

    stage: str
    topic: str
    partition: int
    partitions: int
    offset: int
    checksum: int
    clock: int
    version: int
    counts: dict[str, int]
    marks: tuple[Mark, ...]
    targets: tuple[Target, ...]
    deadlines: tuple[Deadline, ...]
    entities: tuple[Entity, ...]
    shared: bytes | None


class Tick(NamedTuple):
    """Written to every partition each second so that deadlines fire on quiet partitions (contract line 3).

    at: The ticker's own time; data only, the clock is the append time.
    """

    at: int


class Version(NamedTuple):
    """Pins the rules of a stage from where it stands on the partition (contract line 11).

    stage: The stage that it is for; other readers of the partition pass it by.
    number: Number of the rules; only rises.
    id: Id of the administrative action.
    """

    stage: str
    number: int
    id: str


RECORDS: dict[str, type[Any]] = {
    "rails.Header": Header,
    "rails.DeadLetter": DeadLetter,
    "rails.Deadline": Deadline,
    "rails.Entity": Entity,
    "rails.Source": Source,
    "rails.Position": Position,
    "rails.Mark": Mark,
    "rails.Origin": Origin,
    "rails.Record": Record,
    "rails.Rule": Rule,
    "rails.Target": Target,
    "rails.Snapshot": Snapshot,
    "rails.Tick": Tick,
    "rails.Version": Version,
}
