import hashlib
import os
from pathlib import Path

import apache_beam as beam
import fastavro
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas.rails import Header, Origin, Position, Record, Source
from tests.proto import assert_no_pickled_coders
from transforms.chunks import CHUNK_RECORDS, Chunk, pack_chunk, pack_chunks, unpack_chunk
from transforms.topic_files import (
    PartitionWriter,
    ReadTopic,
    TopicFileError,
    WriteTopics,
    partition_path,
    read_partition,
    read_topic,
    topic_paths,
    write_partition,
    write_topics,
)

SOURCE = Source("admission", "payments.incoming", 3)


def record(i: int) -> Record:
    """Times go up and down, so that a clock is not simply the last time."""
    origin = Origin(SOURCE, i, i % 3, Position(i - 1, 0) if i else None) if i % 4 else None
    headers = (Header("traceparent", b"%d" % i),) if i % 5 == 0 else ()
    return Record(i, 1_000_000 + i * 10 - i % 7 * 100, b"key%d" % (i % 10), b"v" * (i % 90) or None, origin, headers)


RECORDS = [record(i) for i in range(2 * CHUNK_RECORDS + 345)]


def write(directory: Path, size: int = CHUNK_RECORDS, codec: str = "null") -> Path:
    path, count = write_partition(directory, "t", 0, 1, pack_chunks("t", 0, RECORDS, size), codec)
    assert count == len(RECORDS)
    return Path(path)


def test_reading_gives_the_chunks_that_were_written_with_offsets_and_clocks(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path == tmp_path / "t" / "p00.avro"
    assert list(read_partition(path)) == list(pack_chunks("t", 0, RECORDS))


@pytest.mark.parametrize("size", [1, 7, 100, 999, 1000, 1001, 2000, 5000])
def test_the_bytes_of_a_file_do_not_depend_on_the_chunks_it_was_given(tmp_path: Path, size: int) -> None:
    golden = write(tmp_path / "golden").read_bytes()
    assert write(tmp_path, size).read_bytes() == golden
    assert hashlib.sha256(golden).hexdigest() == "2e44280565857456a9dce92fd5d53cc136ba46c4cf91cd1cb237291555840020"


def test_blocks_hold_exactly_the_fixed_number_of_records(tmp_path: Path) -> None:
    with open(write(tmp_path, 77), "rb") as file:
        assert [block.num_records for block in fastavro.block_reader(file)] == [CHUNK_RECORDS, CHUNK_RECORDS, 345]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_any_avro_reader_reads_the_file(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path, codec=codec)
    with open(path, "rb") as file:
        reader = fastavro.reader(file)
        rows = list(reader)
    assert [row["offset"] for row in rows] == list(range(len(RECORDS)))
    assert rows[5]["headers"] == [{"key": "traceparent", "value": b"5"}]
    assert reader.metadata["rails.topic"] == "t"
    assert (reader.metadata["rails.partition"], reader.metadata["rails.partitions"]) == ("0", "1")
    assert list(read_partition(path)) == list(pack_chunks("t", 0, RECORDS))


@pytest.mark.parametrize("size", [1, 100, 1500])
def test_reading_in_another_chunk_size(tmp_path: Path, size: int) -> None:
    assert list(read_partition(write(tmp_path), size)) == list(pack_chunks("t", 0, RECORDS, size))


def test_appending_records_writes_the_same_file_as_chunks(tmp_path: Path) -> None:
    golden = write(tmp_path / "golden").read_bytes()
    path = tmp_path / "p00.avro"
    with PartitionWriter(path, "t", 0, 1) as writer:
        writer.append(RECORDS[:10])
        writer.write(pack_chunk("t", 0, RECORDS[10:30], max(r.at for r in RECORDS[:10])))
        writer.append([])
        writer.append(RECORDS[30:31])
        writer.append(RECORDS[31:])
    assert path.read_bytes() == golden


@pytest.mark.parametrize(
    ("before", "batch", "expected"), [(0, [0, 1, 3], 2), (3, [4], 3), (0, [5, 5], 6), (3, [3, 2], 4)]
)
def test_records_that_are_appended_with_holes_are_refused(
    tmp_path: Path, before: int, batch: list[int], expected: int
) -> None:
    with PartitionWriter(tmp_path / "p.avro", "t", 0, 1) as writer:
        writer.append(RECORDS[:before])
        with pytest.raises(TopicFileError, match=f"expected offset {expected}, got {batch[-1]}: offsets are not"):
            writer.append([RECORDS[n] for n in batch])
        assert writer.count == before


def test_a_partition_may_start_above_zero(tmp_path: Path) -> None:
    chunks = list(pack_chunks("t", 0, RECORDS[500:700]))
    path, _ = write_partition(tmp_path, "t", 0, 1, chunks)
    assert list(read_partition(path)) == chunks


def test_a_partition_without_records(tmp_path: Path) -> None:
    path, count = write_partition(tmp_path, "t", 1, 2, [Chunk("t", 1, 0, -1, 0, b"")])
    assert (count, list(read_partition(path))) == (0, [])


def test_nothing_appears_when_writing_fails(tmp_path: Path) -> None:
    def chunks() -> object:
        yield pack_chunk("t", 0, RECORDS[:5])
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_partition(tmp_path, "t", 0, 1, chunks())  # type: ignore[arg-type]
    assert list((tmp_path / "t").iterdir()) == []


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    old = write(tmp_path).read_bytes()
    writer = PartitionWriter(partition_path(tmp_path, "t", 0), "t", 0, 1)
    writer.append(RECORDS[:1])
    assert partition_path(tmp_path, "t", 0).read_bytes() == old
    writer.close()
    assert len(list(read_partition(partition_path(tmp_path, "t", 0)))) == 1
    assert os.listdir(tmp_path / "t") == ["p00.avro"]


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([pack_chunk("t", 0, RECORDS[:5]), pack_chunk("t", 0, RECORDS[6:9])], "expected offset 5, got 6"),
        ([pack_chunk("t", 0, RECORDS[:5]), pack_chunk("t", 0, RECORDS[4:9])], "expected offset 5, got 4"),
        ([pack_chunk("u", 0, RECORDS[:5])], "given a chunk of u partition 0"),
        ([pack_chunk("t", 1, RECORDS[:5])], "given a chunk of t partition 1"),
    ],
)
def test_chunks_that_do_not_follow_one_another_are_refused(tmp_path: Path, chunks: list[Chunk], message: str) -> None:
    with pytest.raises(TopicFileError, match=f"p00.avro: {message}"):
        write_partition(tmp_path, "t", 0, 1, chunks)


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"partition 4 of t is outside 0\.\.3"):
        PartitionWriter(tmp_path / "x", "t", 4, 4)
    with pytest.raises(ValueError, match="got 'snappy'"):
        PartitionWriter(tmp_path / "x", "t", 0, 4, codec="snappy")
    with pytest.raises(ValueError, match="got 'snappy'"):
        WriteTopics(tmp_path, {"t": 1}, codec="snappy")
    with pytest.raises(ValueError, match="topic t: partitions must be at least 1, got 0"):
        WriteTopics(tmp_path, {"t": 0})
    write(tmp_path)
    with pytest.raises(ValueError, match="chunk_records must be at least 1, got 0"):
        ReadTopic(tmp_path, "t", chunk_records=0)


# --- files that are not what they should be ---


def failure(path: Path) -> str:
    with pytest.raises(TopicFileError) as caught:
        list(read_partition(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_missing_file(tmp_path: Path) -> None:
    assert failure(tmp_path / "p00.avro") == "No such file or directory"


@pytest.mark.parametrize(
    "content", [b"", b"offset,at\n1,2\n", b"Obj\x01", b"Obj\x01\x02\x16avro.schema\x06[1]\x00" + b"0" * 16]
)
def test_a_file_that_is_no_container(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p00.avro"
    path.write_bytes(content)
    assert failure(path) == "not an Avro container file"


def container(path: Path, schema: object, rows: list[object], metadata: dict[str, str] | None = None) -> Path:
    with open(path, "wb") as file:
        fastavro.writer(file, schema, rows, metadata=metadata)
    return path


def test_a_container_of_other_records(tmp_path: Path) -> None:
    schema = {"type": "record", "name": "x.Other", "fields": [{"name": "a", "type": "int"}]}
    message = failure(container(tmp_path / "p00.avro", schema, [{"a": 1}]))
    assert message == "its schema (x.Other) is not the rails.Record of this version"
    assert "(no record)" in failure(container(tmp_path / "p01.avro", "int", [1]))


def test_a_container_without_our_metadata(tmp_path: Path) -> None:
    with open(write(tmp_path), "rb") as file:
        schema = fastavro.reader(file).writer_schema
    assert "not written as a topic on disk" in failure(container(tmp_path / "p00.avro", schema, []))
    meta = {f"rails.{name}": "x" for name in ("topic", "partition", "partitions", "count", "offset", "clocks")}
    assert "not written as a topic on disk" in failure(container(tmp_path / "p00.avro", schema, [], meta))


def test_a_file_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    start = whole.index(hashlib.md5(b"t/0").digest()) + 16
    with open(path, "rb") as file:
        ends = [block.offset + block.size for block in fastavro.block_reader(file)]
    assert ends[-1] == len(whole)
    for cut in {
        start,
        start + 1,
        start + 2,
        start + 3,
        start + 1000,
        ends[0],
        ends[0] + 1,
        ends[0] - 1,
        ends[1],
        ends[2] - 8,
    }:
        path.write_bytes(whole[:cut])
        assert failure(path).startswith("truncated or damaged in block")


def test_bytes_behind_the_end_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes() + b"x")
    assert failure(path) == f"does not end at offset {len(RECORDS)} as its header says"


def test_blocks_in_another_order_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    with open(path, "rb") as file:
        blocks = [(block.offset, block.offset + block.size) for block in fastavro.block_reader(file)]
    head = whole[: blocks[0][0]]
    path.write_bytes(head + b"".join(whole[a:b] for a, b in (blocks[1], blocks[0], blocks[2])))
    assert failure(path) == "expected block 0 to start at offset 0"


def test_an_empty_block_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole, sync = path.read_bytes(), hashlib.md5(b"t/0").digest()
    start = whole.index(sync) + 16
    for block in (b"\x00\x00", b"\x02\x00"):
        path.write_bytes(whole[:start] + block + sync + whole[start:])
        assert failure(path) == "expected block 0 to start at offset 0"


# --- topics ---

BY_PARTITION = {
    ("a", 0): [record(i) for i in range(1500)],
    ("a", 2): [record(i) for i in range(20)],
    ("b", 0): [record(i) for i in range(3)],
}
TOPICS = {"b": 1, "a": 3}
COUNTS = [("a/p00.avro", 1500), ("a/p01.avro", 0), ("a/p02.avro", 20), ("b/p00.avro", 3)]


def chunks_of(size: int) -> list[Chunk]:
    """Chunks of all partitions, mixed, those of one in offset order."""
    found = [
        c for (topic, partition), records in BY_PARTITION.items() for c in pack_chunks(topic, partition, records, size)
    ]
    return sorted(found, key=lambda chunk: (chunk.offset, chunk.topic, chunk.partition))


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def test_writing_and_reading_topics(tmp_path: Path) -> None:
    written = write_topics(tmp_path, TOPICS, chunks_of(64))
    assert written == [(str(tmp_path / name), count) for name, count in COUNTS]
    assert sorted(contents(tmp_path)) == [name for name, _ in COUNTS]
    records = [r for chunk in read_topic(tmp_path, "a") for r in unpack_chunk(chunk)]
    assert records == BY_PARTITION["a", 0] + BY_PARTITION["a", 2]


def test_a_chunk_of_no_known_topic_is_refused_and_nothing_appears(tmp_path: Path) -> None:
    with pytest.raises(TopicFileError, match=r"given a chunk of a partition 2, not one of a \(2\), b \(1\)"):
        write_topics(tmp_path, {"a": 2, "b": 1}, chunks_of(1000))
    assert contents(tmp_path) == {}


def test_topic_paths_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TopicFileError, match="a: no such topic folder"):
        topic_paths(tmp_path, "a")
    (tmp_path / "a").mkdir()
    with pytest.raises(TopicFileError, match="a: holds no partition files"):
        topic_paths(tmp_path, "a")
    write_topics(tmp_path, TOPICS, [])
    assert [path.name for path in topic_paths(tmp_path, "a")] == ["p00.avro", "p01.avro", "p02.avro"]
    (tmp_path / "a" / "p02.avro").rename(tmp_path / "p02.avro")
    with pytest.raises(TopicFileError, match="a: has 2 partition files, should have 3"):
        topic_paths(tmp_path, "a")
    (tmp_path / "p02.avro").rename(tmp_path / "a" / "p02.avro")
    (tmp_path / "a" / "p01.avro").unlink()
    with pytest.raises(TopicFileError, match=r"p01.avro: missing, though p02.avro is there"):
        topic_paths(tmp_path, "a")


def test_topic_paths_names_a_file_that_is_not_the_partition_of_its_name(tmp_path: Path) -> None:
    write_topics(tmp_path, TOPICS, [])
    folder = tmp_path / "a"
    (folder / "p01.avro").write_bytes((folder / "p02.avro").read_bytes())
    with pytest.raises(TopicFileError, match=r"p01.avro: holds partition 2 of a: renamed or copied"):
        ReadTopic(tmp_path, "a")
    folder.rename(tmp_path / "c")
    with pytest.raises(TopicFileError, match=r"p00.avro: holds partition 0 of a: renamed or copied"):
        topic_paths(tmp_path, "c")
    write_topics(tmp_path, {"a": 4}, [])
    (folder / "p03.avro").unlink()
    with pytest.raises(TopicFileError, match="has 3 partition files, should have 4"):
        topic_paths(tmp_path, "a")


def test_a_step_stands_between_flatten_and_group_by_key(tmp_path: Path, make_pipeline) -> None:
    p = make_pipeline()
    p | beam.Create([], reshuffle=False).with_output_types(Chunk) | WriteTopics(tmp_path, TOPICS)
    consumers: list[str] = []

    class Visitor(beam.pipeline.PipelineVisitor):
        def visit_transform(self, node: object) -> None:
            if isinstance(node.transform, beam.GroupByKey):  # type: ignore[attr-defined]
                consumers.extend(type(one.producer.transform).__name__ for one in node.inputs)  # type: ignore[attr-defined]

        def enter_composite_transform(self, node: object) -> None:
            self.visit_transform(node)

    p.visit(Visitor())
    assert consumers
    assert "Flatten" not in consumers


def test_more_than_a_hundred_partitions_stay_in_order(tmp_path: Path) -> None:
    write_topics(tmp_path, {"a": 102}, [])
    assert [path.name for path in topic_paths(tmp_path, "a")][98:] == ["p98.avro", "p99.avro", "p100.avro", "p101.avro"]


# --- pipelines ---


@pytest.mark.parametrize("size", [10, 1000])
def test_write_topics_transform_writes_the_same_bytes_as_the_function(tmp_path: Path, make_pipeline, size: int) -> None:
    write_topics(tmp_path / "golden", TOPICS, chunks_of(64))
    chunks = list(reversed(chunks_of(size)))
    with make_pipeline() as p:
        given = p | beam.Create(chunks, reshuffle=False).with_output_types(Chunk)
        written = given | WriteTopics(tmp_path / "out", TOPICS)
        assert_no_pickled_coders(p)
        assert_that(written, equal_to([(str(tmp_path / "out" / name), count) for name, count in COUNTS]))
    assert contents(tmp_path / "out") == contents(tmp_path / "golden")


def test_write_topics_transform_refuses_gaps_and_strangers(tmp_path: Path, make_pipeline) -> None:
    for chunks, message in (
        ([c for c in chunks_of(500) if c.offset != 500], "expected offset 500, got 1000"),
        (chunks_of(500) + chunks_of(500)[:1], "expected offset 500, got 0"),
        ([pack_chunk("z", 0, RECORDS[:1])], "given a chunk of z partition 0"),
    ):
        with pytest.raises(Exception, match=message), make_pipeline() as p:
            p | beam.Create(chunks, reshuffle=False).with_output_types(Chunk) | WriteTopics(tmp_path, TOPICS)


@pytest.mark.parametrize("size", [1000, 300])
def test_read_topic_transform_gives_every_chunk(tmp_path: Path, make_pipeline, size: int) -> None:
    write_topics(tmp_path, TOPICS, chunks_of(64))
    with make_pipeline() as p:
        read = p | ReadTopic(tmp_path, "a", chunk_records=size)
        assert_no_pickled_coders(p)
        assert_that(read, equal_to(list(read_topic(tmp_path, "a", size))))


def test_several_topics_are_read_at_once(tmp_path: Path, make_pipeline) -> None:
    write_topics(tmp_path, TOPICS, chunks_of(64))
    names = sorted(TOPICS)
    assert len(names) > 1
    with make_pipeline() as p:
        read = p | ReadTopic(tmp_path, names)
        assert_that(read, equal_to([chunk for name in names for chunk in read_topic(tmp_path, name)]))


def test_read_topic_transform_refuses_a_missing_topic_when_built(tmp_path: Path) -> None:
    with pytest.raises(TopicFileError, match="no such topic folder"):
        ReadTopic(tmp_path, "a")


def test_copying_a_topic_with_two_worker_processes(tmp_path: Path, make_pipeline) -> None:
    write_topics(tmp_path / "in", TOPICS, chunks_of(64))
    with make_pipeline("--direct_num_workers=2", "--direct_running_mode=multi_processing") as p:
        p | ReadTopic(tmp_path / "in", "a") | WriteTopics(tmp_path / "out", {"a": 3})
    assert contents(tmp_path / "out" / "a") == contents(tmp_path / "in" / "a")


def test_a_header_that_is_not_ours_does_not_leak_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p00.avro"
    path.write_bytes(b"nothing")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        failure(path)
    assert (len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0) == before
