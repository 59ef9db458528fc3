"""Folding a run of records by column is folding them one by one: the same outputs, times, state and errors."""

import random
from typing import Any

import pytest

from schemas.rails import Origin, Position, Record, Source, Tick, Version
from tests.transforms import toys
from tests.transforms.toys import Do, Unread, do, key_of, make_shard, records
from transforms.errors import BadRecord
from transforms.fold import Context, Gap, MissingRecord, Output, Run, Shard, Topic, WrongState
from transforms.snapshots import encode_shard

KEYS = [key_of(0, n=n) for n in range(4)]
ELSEWHERE = key_of(1)
DEADLINES = ("alarm", "again", "end")
WHATS = ("add", "add", "say", "refuse", "late", "duplicate", "forget", "clear", *DEADLINES)


class Sturdy(toys.Toy):
    """Sets no deadline where there is no entity, refuses some events by their key, and writes to a topic like its own."""

    def key(self, event: Do) -> str | None:
        if event.what == "refuse" and event.n == 3:
            raise BadRecord("REFUSED", "by key")
        return super().key(event)

    def on_deadline(self, key: str, entity: Any, deadline: str, context: Context) -> Any:
        context.emit(Topic("alike", 2), key, Do(key, deadline, 0))
        return super().on_deadline(key, entity, deadline, context)

    def on_event(self, key: str, entity: Any, event: Do, context: Context) -> Any:
        if entity is None and event.what in DEADLINES:
            event = event._replace(what="add")
        return super().on_event(key, entity, event, context)


def run_of(log: list[Record]) -> Run:
    return Run(
        log[0].offset,
        [record.at for record in log],
        [record.key for record in log],
        [toys.EVENTS.decode(record.value or b"") for record in log],
        lambda n: log[n].value or b"",
        [record.origin for record in log],
    )


def random_log(seed: int, first: int = 0) -> list[Record]:
    rng = random.Random(seed)
    items: list[tuple[bytes | None, bytes | None]] = []
    for _ in range(60):
        key, value = do(rng.choice(KEYS), rng.choice(WHATS), rng.choice((0, 3, 25)))
        strange = rng.random()
        if strange < 0.03:
            key = b"another"
        elif strange < 0.06:
            key, value = do(ELSEWHERE, "add")
        elif strange < 0.12:
            value = toys.EVENTS.encode(rng.choice((Unread("x"), Tick(5), Version("toy", rng.choice((2, 2, 1)), "id"))))
        items.append((key, value))
    log = records(*items, first=first)
    return [record._replace(at=record.at + rng.choice((0, 0, -30, 40))) for record in log]


def by_steps(shard: Shard, log: list[Record]) -> tuple[list[int], list[Output]]:
    times, outputs = [], []
    for record in log:
        given = shard.step(record)
        outputs += given
        times += [record.at] * len(given)
    return times, outputs


@pytest.mark.parametrize("seed", range(40))
def test_a_run_is_its_records_one_by_one(seed: int) -> None:
    one, other = make_shard(processor=Sturdy()), make_shard(processor=Sturdy())
    for first in (0, 60):
        log = random_log(seed + first, first)
        expected = by_steps(one, log)
        # A deadline of another entity than that of the record, or of the record before.
        assert all(o.key == o.event.key.encode() for o in expected[1] if o.topic == "alike")
        times, emitted = other.fold_run(run_of(log))
        assert (times, other.identify(emitted)) == expected
        assert encode_shard(other) == encode_shard(one)
    assert other.counts.dead_lettered > 0 < other.counts.applied


class Carried(Sturdy):
    """Its clock is in its events, as of another topic."""

    carries_clock = True

    def carried_time(self, event: Any) -> int:
        return event.n * 10 if type(event) is Do and event.what in ("add", "say") else -1

    def key(self, event: Do) -> str | None:
        return toys.Toy.key(self, event)


def with_origins(log: list[Record], seed: int) -> list[Record]:
    """The records as two shards have written them, some of them twice."""
    rng = random.Random(seed)
    prevs: dict[Source, Position] = {}
    made: list[Record] = []
    for record in log:
        if made and rng.random() < 0.2:
            made.append(rng.choice(made[-3:]))
        source = Source("s", "t", rng.randrange(2))
        place = Position(record.offset // 2, record.offset % 2)
        made.append(record._replace(origin=Origin(source, *place, prevs.get(source)) if rng.random() < 0.9 else None))
        if made[-1].origin is not None:
            prevs[source] = place
    return [record._replace(offset=i) for i, record in enumerate(made)]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", [Sturdy, Carried])
def test_a_run_of_what_stages_wrote_is_its_records_one_by_one(kind: type[Sturdy], seed: int) -> None:
    """Repeats are passed over, after they have moved the clock; the clock may be one that is carried."""
    one, other = make_shard(processor=kind()), make_shard(processor=kind())
    log = with_origins(random_log(seed), seed)
    for part in (log[:40], log[40:]):
        expected = by_steps(one, part)
        times, emitted = other.fold_run(run_of(part))
        assert (times, other.identify(emitted)) == expected
        assert encode_shard(other) == encode_shard(one)
    assert other.counts.duplicate > 0 and other.clock > 0


def test_what_a_stage_wrote_and_never_arrived_stops_a_run() -> None:
    source = Source("s", "t", 0)
    log = records(do(KEYS[0], "add"), do(KEYS[1], "add"))
    log = [
        log[0]._replace(origin=Origin(source, 1, 0, None)),
        log[1]._replace(origin=Origin(source, 3, 0, Position(2, 0))),
    ]
    for fold in (lambda shard: by_steps(shard, log), lambda shard: shard.fold_run(run_of(log))):
        with pytest.raises(MissingRecord, match=r"toy\.in/0/1: s/t/0 wrote 3\.0"):
            fold(make_shard())


class Watcher(Sturdy):
    """Remembers what it sees."""

    def __init__(self) -> None:
        self.saw: list[Any] = []

    def on_event(self, key: str, entity: Any, event: Do, context: Context) -> Any:
        self.saw.append((context.place, context.at, context.clock, context.value, context.version, key, entity))
        return super().on_event(key, entity, event, context)


def test_a_processor_sees_the_same() -> None:
    log = [*random_log(1), *records((None, toys.EVENTS.encode(Tick(1))), do(KEYS[0], "add"), first=60, at=9000)]
    one, other = make_shard(processor=Watcher()), make_shard(processor=Watcher())
    expected = by_steps(one, log)[1]
    outputs = other.identify(other.fold_run(run_of(log[:60]))[1])
    outputs += by_steps(other, log[60:])[1]
    assert outputs == expected
    assert other.processor.saw == one.processor.saw  # type: ignore[attr-defined]
    assert encode_shard(other) == encode_shard(one)


def test_a_key_that_is_read_as_the_own_entity_is_another_on_another_topic() -> None:
    class Emits(toys.Toy):
        def on_event(self, key: str, entity: Any, event: Do, context: Context) -> Any:
            for topic in (Topic("same", 2), Topic("more", 7)):
                for name in (key, "".join(list(key)), ELSEWHERE):
                    context.emit(topic, name, event)

    shard = make_shard(processor=Emits())
    _, emitted = shard.fold_run(run_of(records(do(KEYS[0], "x"), do(KEYS[1], "x"))))
    assert len(emitted) == 12
    for topic, partition, raw, event, *_ in emitted:
        assert raw in (event.key.encode(), ELSEWHERE.encode())
        assert partition == Topic("t", 2 if topic == "same" else 7).partition_of(raw)


def test_a_run_must_begin_where_the_shard_stands() -> None:
    with pytest.raises(Gap, match=r"toy\.in/0/0: expected this offset, got 1"):
        make_shard().fold_run(run_of(records(do(KEYS[0], "add"), first=1)))


@pytest.mark.parametrize(
    ("what", "n", "error", "text"),
    [
        ("refuse", 1, WrongState, "toy.in/0/1: REFUSED raised after something was done"),
        ("refuse", 2, WrongState, "toy.in/0/1: REFUSED raised after something was done"),
        ("alarm", 1, WrongState, "toy.in/0/1: a deadline was set without an entity"),
        ("crash", 0, RuntimeError, "a bug"),
    ],
)
def test_what_stops_a_step_stops_a_run(what: str, n: int, error: type[Exception], text: str) -> None:
    log = records(do(KEYS[0], "add"), do(KEYS[1], what, n))
    for fold in (lambda shard: by_steps(shard, log), lambda shard: shard.fold_run(run_of(log))):
        with pytest.raises(error, match=text):
            fold(make_shard())
