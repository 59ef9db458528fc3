"""The bounded driver: the result depends on the records alone, and it goes on from snapshots."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas.rails import Origin, Record
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from tests.transforms import toys
from tests.transforms.toys import STATES, Do, Said, Toy, do, key_of, make_engine, make_shard, records
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.fold import Context, Output, Topic, fold
from transforms.fold_bounded import AppendOutputs, Engine, Fold, WriteSnapshots, skip_folded
from transforms.loop import Stage
from transforms.snapshots import SnapshotStore, encode_shard
from transforms.topic_files import WriteTopics, read_topic

KEYS = [key_of(partition, n=n) for n in range(5) for partition in (0, 1)]


def logs(count: int = 120) -> dict[int, list[Record]]:
    """Both partitions of toy.in."""
    rng = random.Random(5)
    made: dict[int, list[Record]] = {}
    for partition in (0, 1):
        items = [
            do(rng.choice(KEYS[partition::2]), rng.choice(("add", "add", "say", "refuse", "late")), rng.choice((3, 5)))
            for _ in range(count)
        ]
        made[partition] = records(*items, at=1000 + partition, step=7)
    return made


def chunks(size: int, seed: int = 0, first: int = 0, end: int = 120) -> list[Chunk]:
    made = [c for number, log in logs().items() for c in pack_chunks(toys.IN.name, number, log[first:end], size)]
    random.Random(seed).shuffle(made)
    return made


def given(p: beam.Pipeline, made: list[Chunk]) -> beam.PCollection:
    return p | beam.Create(made, reshuffle=False).with_output_types(Chunk)


def expected() -> dict[tuple[str, int], list[Record]]:
    """What a plain fold writes, of upserts the last of each key, in the order of the topics that `AppendOutputs` makes."""
    written: dict[tuple[str, int], list[tuple[tuple[object, ...], Record]]] = {}
    for partition, log in logs().items():
        shard = make_shard(partition)
        upserts: dict[bytes | None, tuple[Output, int]] = {}
        outputs: list[tuple[Output, int]] = []
        for record in log:
            for output in shard.step(record):
                if output.origin is None:
                    upserts[output.key] = output, record.at
                else:
                    outputs.append((output, record.at))
        assert upserts and len({at for _, at in upserts.values()}) > 1
        for o, at in [*outputs, *upserts.values()]:
            value = toys.EVENTS.encode(o.event)
            place = (o.origin.source, *o.origin[1:3], b"") if o.origin else ((), 0, 0, o.key)
            entry = ((at, *place), Record(0, at, o.key, value, o.origin, ()))
            written.setdefault((o.topic, o.partition), []).append(entry)
    return {
        target: [record._replace(offset=i) for i, (_, record) in enumerate(sorted(entries, key=lambda e: e[0]))]
        for target, entries in written.items()
    }


OTHER = Topic("toy.others", 2)


class Versioned(Toy):
    """Upserts the version that the event says, to two topics, whose versions rise in opposite order."""

    def on_event(self, key: str, entity: Any, event: Do, context: Context) -> Any:
        said = Said(key, f"at {context.offset}", event.n)
        context.upsert(STATES, key, said, event.n)
        context.upsert(OTHER, key, said, -event.n)
        return toys.State(0)


@pytest.mark.parametrize("size", [1, 2, 10])
def test_the_highest_version_stands_whatever_came_after_it(make_pipeline: MakePipeline, size: int) -> None:
    """Of equal ones the first; at the time of its cause; by topic."""
    log = records(*(do(KEYS[0], "v", n) for n in (3, 7, 7, 5, 3)))
    with make_pipeline() as p:
        folded = given(p, list(pack_chunks(toys.IN.name, 0, log, size))) | Fold(
            lambda: Engine(Stage(Versioned(), toys.IN), toys.EVENTS)
        )
        found = folded.outputs | beam.FlatMap(
            lambda c: [(c.topic, r.at, toys.EVENTS.decode(r.value).text) for r in unpack_chunk(c)]
        )
        assert_that(found, equal_to([("toy.states", 1010, "at 1"), ("toy.others", 1000, "at 0")]))


def check_topics(found: Sequence[Chunk]) -> None:
    topics: dict[tuple[str, int], list[Record]] = {}
    clocks: dict[tuple[str, int], int] = {}
    for chunk in sorted(found, key=lambda c: (c.topic, c.partition, c.offset)):
        target = (chunk.topic, chunk.partition)
        assert chunk.clock == clocks.get(target, -1)
        log = unpack_chunk(chunk)
        topics.setdefault(target, []).extend(log)
        clocks[target] = max(clocks.get(target, -1), *(record.at for record in log))
    assert topics == expected()


@pytest.mark.parametrize(("size", "seed"), [(1000, 0), (17, 1), (1, 2)])
def test_the_result_does_not_depend_on_chunks_or_their_order(make_pipeline: MakePipeline, size: int, seed: int) -> None:
    with make_pipeline() as p:
        folded = given(p, chunks(size, seed)) | Fold(make_engine)
        assert_that(folded.outputs | AppendOutputs(), check_topics)
        assert_that(folded.snapshots, equal_to([]), label="no snapshots")


def test_long_outputs_come_in_chunks_with_their_clocks(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.fold_bounded.CHUNK_RECORDS", 7)
    with make_pipeline() as p:
        folded = given(p, chunks(50)) | Fold(make_engine)
        assert_that(folded.outputs, check_streams)
        assert_that(folded.outputs | AppendOutputs(), check_topics, label="topics")


def check_streams(found: Sequence[Chunk]) -> None:
    """Each stream of one shard to one partition is numbered from 0, in chunks of 7."""
    assert {chunk.count for chunk in found} > {7}
    last: dict[object, Record] = {}
    for chunk in sorted(found, key=lambda c: (c.topic, c.partition, unpack_chunk(c)[0].at % 7, c.offset)):
        stream = (chunk.topic, chunk.partition, unpack_chunk(chunk)[0].at % 7)  # at tells the shard apart
        before = last.get(stream)
        assert (chunk.offset, chunk.clock) == ((0, -1) if before is None else (before.offset + 1, before.at))
        last[stream] = unpack_chunk(chunk)[-1]


def test_summaries_say_where_the_records_went(make_pipeline: MakePipeline) -> None:
    def check(lines: Sequence[bytes]) -> None:
        found = sorted(map(json.loads, lines), key=lambda summary: summary["partition"])
        for partition, summary in enumerate(found):
            shard = make_shard(partition)
            fold(shard, logs()[partition])
            facts = {"stage": "toy", "topic": "toy.in", "partition": partition, "offset": 120, "clock": shard.clock}
            assert summary == {**facts, "entities": len(shard.entities), **shard.counts.as_dict()}
        assert len(found) == 2

    with make_pipeline() as p:
        assert_that((given(p, chunks(50)) | Fold(make_engine)).summaries, check)


def test_no_element_is_pickled() -> None:
    p, store = beam.Pipeline(), SnapshotStore("nowhere")
    folded = given(p, chunks(50)) | Fold(make_engine, store)
    written = folded.outputs | AppendOutputs()
    _ = folded.snapshots | WriteSnapshots(store, after=written)
    assert_no_pickled_coders(p)


def test_two_workers_in_processes_of_their_own(
    make_pipeline: MakePipeline, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root))
    topics = {"toy.out": 4, "toy.states": 2, "rails.deadletters": 16}
    for name, flags in (("one", ()), ("two", ("--direct_num_workers=2", "--direct_running_mode=multi_processing"))):
        with make_pipeline(*flags) as p:
            folded = given(p, chunks(17, seed=len(flags))) | Fold(make_engine)
            _ = folded.outputs | AppendOutputs() | WriteTopics(tmp_path / name, topics)
    files = [sorted((tmp_path / name).rglob("*.avro")) for name in ("one", "two")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    check_topics([chunk for topic in topics for chunk in read_topic(tmp_path / "two", topic)])


def test_a_gap_stops_the_job(make_pipeline: MakePipeline) -> None:
    with pytest.raises(Exception, match="expected this offset, got 6"), make_pipeline() as p:
        _ = given(p, [*chunks(5, end=5), *chunks(5, first=6)]) | Fold(make_engine)


class TestSnapshots:
    def run(self, make_pipeline: MakePipeline, store: SnapshotStore, made: list[Chunk]) -> list[Chunk]:
        found: list[Chunk] = []
        _FOUND.clear()
        with make_pipeline() as p:
            folded = given(p, made) | Fold(make_engine, store)
            kept = folded.outputs | beam.Map(_keep).with_output_types(int)
            _ = folded.snapshots | WriteSnapshots(store, after=kept)
        found += _FOUND
        return found

    def test_it_folds_on_from_the_newest(self, make_pipeline: MakePipeline, tmp_path: Path) -> None:
        store = SnapshotStore(str(tmp_path))
        first = self.run(make_pipeline, store, chunks(10, end=50))
        assert store.offsets("toy", "toy.in", 0) == store.offsets("toy", "toy.in", 1) == [50]
        second = self.run(make_pipeline, store, chunks(10, first=30))  # it need not begin at 0
        whole = {
            (o.source, *o[1:3]): v
            for o, v in _outputs(self.run(make_pipeline, SnapshotStore(str(tmp_path / "x")), chunks(99)))
        }
        parts = [{(o.source, *o[1:3]): v for o, v in _outputs(part)} for part in (first, second)]
        assert parts[0].keys() & parts[1].keys() == set()
        assert parts[0] | parts[1] == whole
        for partition in (0, 1):
            shard, plain = make_shard(partition), make_shard(partition)
            fold(plain, logs()[partition])
            assert store.restore(shard)
            assert encode_shard(shard) == encode_shard(plain)
            assert store.offsets("toy", "toy.in", partition) == [50, 120]

    def test_a_log_that_was_folded_already_gives_nothing(self, make_pipeline: MakePipeline, tmp_path: Path) -> None:
        store = SnapshotStore(str(tmp_path))
        assert self.run(make_pipeline, store, chunks(10))
        assert self.run(make_pipeline, store, chunks(10)) == []

    def test_another_log_stops_the_job(self, make_pipeline: MakePipeline, tmp_path: Path) -> None:
        store = SnapshotStore(str(tmp_path))
        self.run(make_pipeline, store, chunks(10, end=50))
        other = [
            c for n, log in logs().items() for c in pack_chunks("toy.in", n, [r._replace(at=r.at + 1) for r in log])
        ]
        with pytest.raises(Exception, match="the topic was re-created or cut"):
            self.run(make_pipeline, store, other)
        with pytest.raises(Exception, match="ends before offset 50"):
            self.run(make_pipeline, store, chunks(10, end=20))

    def test_a_snapshot_before_the_first_record_takes_any_log(self) -> None:
        log = logs()[0]
        assert list(skip_folded(make_shard(), log)) == log


_FOUND: list[Chunk] = []


def _keep(chunk: Chunk) -> int:
    _FOUND.append(chunk)
    return chunk.count


def _outputs(found: list[Chunk]) -> list[tuple[Origin, bytes | None]]:
    return [(r.origin, r.value) for chunk in found for r in unpack_chunk(chunk) if r.origin is not None]


def test_equal_upserts_of_two_streams_keep_their_order(make_pipeline: MakePipeline) -> None:
    """Without origins the order is (time, key); streams that agree in both are alike."""
    streams = [
        list(pack_chunks("u", 0, [Record(i, at, key, b"v", None, ()) for i, (at, key) in enumerate(items)]))
        for items in ([(1, b"b"), (3, b"a")], [(1, b"a"), (2, None)])
    ]
    with make_pipeline() as p:
        topics = given(p, [*streams[0], *streams[1]]) | AppendOutputs()
        keys = topics | beam.FlatMap(lambda c: [(r.offset, r.key or b"") for r in unpack_chunk(c)])
        assert_that(keys, equal_to([(0, b"a"), (1, b"b"), (2, b""), (3, b"a")]))


def test_upserts_of_one_key_and_time_stay_in_their_order_across_chunks(make_pipeline: MakePipeline) -> None:
    stream = list(pack_chunks("u", 0, [Record(i, 5, b"k", b"v%d" % i, None, ()) for i in range(4)], size=1))
    for order in (stream, stream[::-1]):
        with make_pipeline() as p:
            topics = given(p, order) | AppendOutputs()
            values = topics | beam.Map(lambda chunk: b" ".join(r.value or b"" for r in unpack_chunk(chunk)))
            assert_that(values, equal_to([b"v0 v1 v2 v3"]))
