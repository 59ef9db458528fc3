"""`RunInMemory`: whole topics on disk, the same bytes for any order, chunks and bundles of the input."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that

from schemas.rails import Record
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from tests.transforms import toys
from tests.transforms.toys import do, key_of, records
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.fold import DEAD_LETTERS
from transforms.in_memory import RunInMemory, log_order
from transforms.loop import Loop, Stage
from transforms.topic_files import read_topic

TOPICS = (toys.IN, toys.OUT, toys.STATES, DEAD_LETTERS)
INPUT = records(*[do(key_of(i % 2, n=i % 3), ("add", "say", "refuse")[i % 3], 3 + i % 5) for i in range(60)], step=0)
SPANS: list[int] = []


def make_loop(span_ms: int) -> Loop:
    SPANS.append(span_ms)
    entry = toys.IN.partition_of
    return Loop([Stage(toys.TOY, toys.IN)], toys.EVENTS, lambda record: [(toys.IN.name, entry(record.key))], [toys.IN])


def run(make_pipeline: MakePipeline, into: Path, made: Sequence[Chunk]) -> dict[str, bytes]:
    def check(lines: Sequence[bytes]) -> None:
        summaries = [json.loads(line) for line in lines]
        assert [(s["topic"], s["partition"]) for s in summaries] == [("toy.in", 0), ("toy.in", 1)]
        assert sum(s["applied"] + s["dead_lettered"] for s in summaries) == sum(chunk.count for chunk in made)

    with make_pipeline() as p:
        ran = (
            p | beam.Create(made, reshuffle=False).with_output_types(Chunk) | RunInMemory(make_loop, TOPICS, str(into))
        )
        assert_that(ran, check)
    return {str(path.relative_to(into)): path.read_bytes() for path in sorted(into.rglob("*.avro"))}


def test_the_files_depend_on_the_records_alone(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    found = []
    for size, seed in ((1000, 0), (7, 1)):
        shuffled = random.Random(seed).sample(INPUT, len(INPUT))
        found.append(run(make_pipeline, tmp_path / str(size), list(pack_chunks("raw", 0, shuffled, size))))
    assert found[0] == found[1]
    assert len(found[0]) == sum(topic.partitions for topic in TOPICS)
    log = [record for chunk in read_topic(tmp_path / "7", toys.IN.name) for record in unpack_chunk(chunk)]
    assert len(log) == 60
    out = [record for chunk in read_topic(tmp_path / "7", toys.OUT.name) for record in unpack_chunk(chunk)]
    assert {record.at for record in out} == {1005}


def test_without_input_the_topics_are_empty(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    assert len(run(make_pipeline, tmp_path, [])) == sum(topic.partitions for topic in TOPICS)
    assert list(read_topic(tmp_path, toys.OUT.name)) == []


def test_a_run_that_fails_leaves_nothing_behind(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    bad = [*INPUT, *records(do(key_of(0), "crash"), at=2000)]
    with pytest.raises(Exception, match="a bug"):
        run(make_pipeline, tmp_path, list(pack_chunks("raw", 0, bad)))
    assert list(tmp_path.rglob("*.avro")) == []


def test_the_loop_is_told_how_long_the_input_lasts(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    SPANS.clear()
    run(make_pipeline, tmp_path, list(pack_chunks("raw", 0, records(*[do(key_of(0), "add")] * 3, step=500))))
    assert SPANS == [1000]


def test_ties_are_broken_by_key_and_bytes() -> None:
    made = [
        Record(0, at, key, value, None, ())
        for at, key, value in ((2, b"a", b"a"), (1, b"b", None), (1, b"a", b"z"), (1, None, b"z"))
    ]
    assert [(r.at, r.key) for r in sorted(made, key=log_order)] == [(1, None), (1, b"a"), (1, b"b"), (2, b"a")]


def test_no_element_is_pickled(tmp_path: Path) -> None:
    p = beam.Pipeline()
    _ = p | beam.Create([Chunk("raw", 0, 0, -1, 0, b"")]) | RunInMemory(make_loop, TOPICS, str(tmp_path))
    assert_no_pickled_coders(p)
