"""The in-memory loop: one clock, hops, ticks, loops, coalesced upserts, chunks."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from schemas.rails import Origin, Position, Record, Source
from tests.transforms import toys
from tests.transforms.toys import A, B, do, make_shard, records
from transforms.chunks import Chunk, unpack_chunk
from transforms.fold import DEAD_LETTERS, Context, Topic, fold
from transforms.loop import Loop, Stage
from transforms.snapshots import encode_shard

STAGES = [Stage(toys.TOY, toys.IN)]


def into(record: Record) -> Iterable[tuple[str, int]]:
    return [(toys.IN.name, toys.IN.partition_of(record.key))]


def run(inputs: Sequence[Record], stages: Sequence[Stage] = STAGES, **named: Any) -> tuple[Loop, list[Chunk]]:
    loop = Loop(stages, toys.EVENTS, into, **named)
    return loop, list(loop.run(inputs))


def logs(chunks: Iterable[Chunk]) -> dict[tuple[str, int], list[Record]]:
    found: dict[tuple[str, int], list[Record]] = {}
    for chunk in chunks:
        found.setdefault((chunk.topic, chunk.partition), []).extend(unpack_chunk(chunk))
    return found


def events(chunks: Iterable[Chunk], topic: str) -> list[tuple[int, Any]]:
    """(append time, event) of a topic, in order of time."""
    held = [
        (r.at, toys.EVENTS.decode(r.value or b""))
        for (name, _), log in logs(chunks).items()
        for r in log
        if name == topic
    ]
    return sorted(held)


def test_each_hop_takes_its_time() -> None:
    _, chunks = run(records(do(A, "add", 5)), hop_ms=7)
    assert events(chunks, toys.OUT.name) == [(1007, toys.Said(A, "v1", 5))]


def test_what_it_leaves_is_a_log_that_folds_to_the_same() -> None:
    inputs = records(do(A, "add", 5), do(B, "say", 4), (A.encode(), b""), do(A, "alarm", 900), do(B, "add", 1))
    loop, chunks = run(inputs, ticked=[toys.IN], tick_ms=250)
    for shard in loop.shards:
        again = make_shard(shard.source.partition)
        fold(again, logs(chunks).get((toys.IN.name, shard.source.partition), []))
        assert encode_shard(again) == encode_shard(shard)
    assert [shard.source for shard in loop.shards] == [Source("toy", "toy.in", n) for n in (0, 1)]


def test_offsets_and_clocks_of_chunks() -> None:
    _, whole = run(records(*[do(A, "add", 1)] * 25))
    _, chunks = run(records(*[do(A, "add", 1)] * 25), chunk_records=10)
    assert logs(whole) == logs(chunks)
    mine = [chunk for chunk in chunks if chunk.topic == toys.IN.name]
    assert [(c.offset, c.count, c.clock) for c in mine] == [(0, 10, -1), (10, 10, 1090), (20, 5, 1190)]
    for log in logs(chunks).values():
        assert [record.offset for record in log] == list(range(len(log)))
        assert [record.at for record in log] == sorted(record.at for record in log)


def test_ticks_stand_on_every_partition_and_come_first() -> None:
    inputs = [*records(do(A, "add"), at=900), *records(do(A, "late"), at=2000)]
    loop, chunks = run(inputs, ticked=[toys.IN], tick_ms=500)
    ticked = {
        place: [r.at for r in log if r.key is None] for place, log in logs(chunks).items() if place[0] == "toy.in"
    }
    assert ticked == {("toy.in", 0): [1000, 1500, 2000], ("toy.in", 1): [1000, 1500, 2000]}
    last = logs(chunks)[toys.IN.name, 0][-2:]
    assert [record.key for record in last] == [None, A.encode()]
    assert [shard.counts.ticks for shard in loop.shards] == [3, 3]


def test_the_end_of_the_input_fires_nothing_but_what_is_under_way_arrives() -> None:
    _, chunks = run(records(do(A, "add"), do(A, "alarm", 1)), ticked=[toys.IN], tick_ms=1, hop_ms=0)
    assert [event.text for _, event in events(chunks, toys.OUT.name)] == ["v1"]


def test_upserts_are_coalesced_to_the_newest_version() -> None:
    _, chunks = run(records(do(A, "add", 1), do(B, "add", 2), do(A, "add", 3)))
    assert events(chunks, toys.STATES.name) == [(1015, toys.Said(B, "is", 2)), (1025, toys.Said(A, "is", 4))]
    assert all(record.origin is None for record in logs(chunks)[toys.STATES.name, toys.STATES.partition_of(A.encode())])


class OldVersionLast(toys.Toy):
    def on_event(self, key, entity, event, context):  # type: ignore[no-untyped-def]
        for version, n in ((2, 20), (1, 10)):
            context.upsert(toys.STATES, key, toys.Said(key, "is", n), version)
        return entity


def test_an_older_version_does_not_win() -> None:
    _, chunks = run(records(do(A, "x")), [Stage(OldVersionLast(), toys.IN)])
    assert events(chunks, toys.STATES.name) == [(1005, toys.Said(A, "is", 20))]


class Echo(toys.Toy):
    """Writes to the topic that it reads."""

    def on_event(self, key: str, entity: Any, event: toys.Do, context: Context) -> Any:
        if event.n:
            context.emit(toys.IN, key, event._replace(n=event.n - 1))
        return toys.State(event.n)


def test_a_loop_goes_round_until_it_is_done() -> None:
    loop, chunks = run(records(do(A, "x", 3), do(A, "x", 0)), [Stage(Echo(), toys.IN)], hop_ms=4)
    log = logs(chunks)[toys.IN.name, 0]
    assert [(record.at, toys.EVENTS.decode(record.value or b"").n) for record in log] == [
        (1000, 3),
        (1004, 2),
        (1008, 1),
        (1010, 0),
        (1012, 0),
    ]
    assert log[2].origin == Origin(Source("toy", "toy.in", 0), 1, 0, Position(0, 0))
    assert loop.shards[0].marks == {Source("toy", "toy.in", 0): (2, 0)}


class Reader(toys.Toy):
    stage, reads = "reader", (toys.Do, toys.Said)


def test_several_stages_read_one_topic() -> None:
    stages = [Stage(toys.TOY, toys.IN), Stage(Reader(), toys.IN)]
    loop, chunks = run(records(do(A, "add", 1)), stages)
    assert len(events(chunks, toys.OUT.name)) == 2
    assert sorted({shard.source.stage for shard in loop.shards}) == ["reader", "toy"]


def test_records_keep_their_headers_and_dead_letters_have_their_topic() -> None:
    headers = ((" h", b"v"),)
    (record,) = records((A.encode(), b""))
    stage = Stage(toys.TOY, toys.IN, Topic("dead", 1))
    _, chunks = run([record._replace(headers=headers)], [stage])
    assert logs(chunks)[toys.IN.name, 0][0].headers == headers
    assert [event.code for _, event in events(chunks, "dead")] == ["EMPTY_VALUE"]
    assert events(chunks, DEAD_LETTERS.name) == []


def test_a_record_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="a record of 999 ms after one of 1000 ms"):
        run([*records(do(A, "add")), *records(do(A, "add"), at=999)])


@pytest.mark.parametrize("wrong", [{"hop_ms": -1}, {"tick_ms": 0}, {"chunk_records": 0}])
def test_arguments_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="hop_ms must be >= 0, tick_ms and chunk_records >= 1, got"):
        Loop(STAGES, toys.EVENTS, into, **wrong)  # type: ignore[arg-type]


def test_nothing_in_nothing_out() -> None:
    assert run([])[1] == []
