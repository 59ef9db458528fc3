"""A toy stage that does what its events say, for tests of the engine and its drivers."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from schemas.rails import Origin, Position, Record, Source
from transforms.errors import BadRecord
from transforms.event_types import EventTypes, codec_of
from transforms.fold import Context, Output, Processor, Shard, Topic
from transforms.fold_bounded import Engine
from transforms.loop import Stage


class Do(NamedTuple):
    """What to do to the entity `key`, which is a number."""

    key: str
    what: str
    n: int


class Said(NamedTuple):
    """What the stage writes."""

    key: str
    text: str
    n: int


class Unread(NamedTuple):
    """An event that the stage does not read."""

    key: str


class State(NamedTuple):
    sum: int


EVENTS = EventTypes({100: Do, 101: Said, 102: Unread})
IN, OUT, STATES = Topic("toy.in", 2), Topic("toy.out", 4), Topic("toy.states", 2)


class Toy(Processor):
    """add n · say n things · refuse (n = 1: after saying, 2: after a deadline) · clear · forget · late … or a deadline n ms ahead"""

    stage = "toy"
    reads = (Do,)
    versions = (1, 2)
    entity_codec = codec_of(State)

    def key(self, event: Do) -> str | None:
        return event.key or None

    def on_event(self, key: str, entity: State | None, event: Do, context: Context) -> State | None:
        what, n = event.what, event.n
        total = 0 if entity is None else entity.sum
        if what == "add":
            context.emit(OUT, key, Said(key, f"v{context.version}", total + n))
            context.upsert(STATES, key, Said(key, "is", total + n), context.offset)
            return State(total + n)
        if what == "say":
            for i in range(n):
                context.emit(OUT, f"{key}{i}", Said(f"{key}{i}", "said", i))
        elif what == "refuse":
            if n == 1:
                context.emit(OUT, key, Said(key, "too early", 0))
            if n == 2:
                context.set_deadline("orphan", 0)
            raise BadRecord("REFUSED", "as told")
        elif what == "forget":
            return None
        elif what == "late":
            context.count_as_late()
        elif what == "duplicate":
            context.count_as_duplicate()
        elif what == "crash":
            raise RuntimeError("a bug")
        elif what == "clear":
            context.clear_deadline("alarm")
        else:  # a deadline of that name
            context.set_deadline(what, context.clock + n)
        return entity

    def on_deadline(self, key: str, entity: State, deadline: str, context: Context) -> State | None:
        context.emit(OUT, key, Said(key, deadline, context.clock))
        if deadline == "again":
            context.set_deadline("at once", context.clock - 5)
        if deadline == "bad":
            raise BadRecord("BAD_DEADLINE")
        return None if deadline == "end" else entity


TOY = Toy()


def make_engine() -> Engine:
    return Engine(Stage(TOY, IN), EVENTS)


def key_of(partition: int, topic: Topic = IN, n: int = 0) -> str:
    """The n-th of the keys k0, k1 … that belong to the partition."""
    return [key for key in (f"k{i}" for i in range(100)) if topic.partition_of(key.encode()) == partition][n]


A, B = key_of(0), key_of(0, n=1)  # two entities of partition 0


def make_shard(partition: int = 0, processor: Processor = TOY, topic: Topic = IN) -> Shard:
    return Shard(processor, topic.topic_id, partition, topic.partitions, EVENTS.decode)


def do(key: str, what: str, n: int = 0) -> tuple[bytes | None, bytes]:
    """Key and value of a record."""
    return key.encode() or None, EVENTS.encode(Do(key, what, n))


def broadcast(event: Any) -> tuple[None, bytes]:
    return None, EVENTS.encode(event)


def records(*items: tuple[bytes | None, bytes | None], at: int = 1000, step: int = 10, first: int = 0) -> list[Record]:
    """Records in offset order, `step` ms apart."""
    return [Record(first + i, at + i * step, key, value, None, ()) for i, (key, value) in enumerate(items)]


WRITER = Source("writer", "somewhere", 3)


def written(record: Record, offset: int, index: int = 0, prev: tuple[int, int] | None = None) -> Record:
    """The record as the shard WRITER has written it."""
    return record._replace(origin=Origin(WRITER, offset, index, None if prev is None else Position(*prev)))


def said(outputs: Iterable[Output]) -> list[tuple[str, int]]:
    """Text and number of what was said, without upserts and dead letters."""
    return [(o.event.text, o.event.n) for o in outputs if isinstance(o.event, Said) and o.version is None]
