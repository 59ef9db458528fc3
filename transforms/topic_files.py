"""A topic on disk: a folder `<dir>/<topic>/` with one file per partition, `p00.avro`, `p01.avro`, ... (see
`partition_files`).
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from transforms.chunks import CHUNK_RECORDS, Chunk, by_place
from transforms.partition_files import CODECS, PartitionReader, PartitionWriter, TopicFileError, read_partition

__all__ = [
    "PartitionWriter",
    "ReadTopic",
    "TopicFileError",
    "WriteTopics",
    "partition_path",
    "read_partition",
    "read_topic",
    "topic_paths",
    "write_partition",
    "write_topics",
]


def partition_path(directory: str | Path, topic: str, partition: int) -> Path:
    """Where a partition of a topic lies below `directory`."""
    return Path(directory) / topic / f"p{partition:02d}.avro"


def topic_paths(directory: str | Path, topic: str) -> list[Path]:
    """The files of all partitions of a topic, in order; TopicFileError when the folder or one of them is missing, or is another's."""
    folder = Path(directory) / topic
    if not folder.is_dir():
        raise TopicFileError(f"{folder}: no such topic folder")
    paths = sorted(folder.glob("p[0-9]*.avro"), key=lambda path: (len(path.name), path.name))
    for partition, path in enumerate(paths):
        if path != partition_path(directory, topic, partition):
            raise TopicFileError(f"{partition_path(directory, topic, partition)}: missing, though {path.name} is there")
    if not paths:
        raise TopicFileError(f"{folder}: holds no partition files (p00.avro, ...)")
    for partition, path in enumerate(paths):
        with PartitionReader(path) as file:
            if file.partitions != len(paths):
                raise TopicFileError(f"{folder}: has {len(paths)} partition files, should have {file.partitions}")
            if (file.topic, file.partition) != (topic, partition):
                raise TopicFileError(f"{path}: holds partition {file.partition} of {file.topic}: renamed or copied")
    return paths


def read_topic(directory: str | Path, topic: str, chunk_records: int = CHUNK_RECORDS) -> Iterator[Chunk]:
    """All chunks of a topic, partition after partition."""
    for path in topic_paths(directory, topic):
        yield from read_partition(path, chunk_records)


def write_partition(
    directory: str | Path, topic: str, partition: int, partitions: int, chunks: Iterable[Chunk], codec: str = "null"
) -> tuple[str, int]:
    """Writes the chunks of a partition, in offset order, to its file below `directory`; gives (file name, number of
    records).
    """
    path = partition_path(directory, topic, partition)
    with PartitionWriter(path, topic, partition, partitions, codec) as writer:
        for chunk in chunks:
            writer.write(chunk)
    return str(path), writer.count


def write_topics(
    directory: str | Path, topics: Mapping[str, int], chunks: Iterable[Chunk], codec: str = "null"
) -> list[tuple[str, int]]:
    """Writes the chunks of many partitions, those of each in offset order, and an empty file for each partition
    without records.

    `topics`: name to number of partitions. No file appears before all chunks are written. Gives (file name, number of
    records) in order of topic and partition.
    """
    with contextlib.ExitStack() as discards:
        writers = {}
        for topic, partitions in sorted(topics.items()):
            for partition in range(partitions):
                path = partition_path(directory, topic, partition)
                writer = writers[topic, partition] = PartitionWriter(path, topic, partition, partitions, codec)
                discards.callback(writer.discard)
        for chunk in chunks:
            if (chunk.topic, chunk.partition) not in writers:
                raise _misplaced(directory, chunk, topics)
            writers[chunk.topic, chunk.partition].write(chunk)
        for writer in writers.values():
            writer.close()
    return [(str(writer.path), writer.count) for writer in writers.values()]


def _misplaced(directory: str | Path, chunk: Chunk, topics: Mapping[str, int]) -> TopicFileError:
    names = ", ".join(f"{name} ({partitions})" for name, partitions in sorted(topics.items()))
    return TopicFileError(
        f"{directory}: given a chunk of {chunk.topic} partition {chunk.partition}, not one of {names}"
    )


class ReadTopic(beam.PTransform):
    """Root → PCollection[Chunk]: one topic on disk or several, their partitions read in parallel, the chunks of each in offset order.

    Timestamps are not set (chunks carry the clock). The files must exist when the pipeline is built: TopicFileError
    says what is wrong.
    """

    def __init__(self, directory: str | Path, topics: str | Sequence[str], chunk_records: int = CHUNK_RECORDS) -> None:
        super().__init__()
        if chunk_records < 1:
            raise ValueError(f"chunk_records must be at least 1, got {chunk_records}")
        names = [topics] if isinstance(topics, str) else topics
        paths = [path for name in names for path in topic_paths(directory, name)]
        self._paths = [(number, str(path)) for number, path in enumerate(paths)]
        self._chunk_records = chunk_records

    def expand(self, root: Any) -> Any:
        size = self._chunk_records

        def read(group: tuple[int, Iterable[str]]) -> Iterator[Chunk]:
            for path in group[1]:
                yield from read_partition(path, size)

        return (
            root
            | "Files" >> beam.Create(self._paths, reshuffle=False).with_output_types(tuple[int, str])
            | "Spread" >> beam.GroupByKey()
            | "Read" >> beam.FlatMap(read).with_output_types(Chunk)
        )


class WriteTopics(beam.PTransform):
    """PCollection[Chunk] → PCollection[tuple[str, int]]: writes topics on disk; gives (file name, number of records)
    per partition.

    `topics`: name to number of partitions; a partition without chunks gets an empty file. Input bounded, chunks in
    any order. A gap, an overlap, or a chunk of another topic is a TopicFileError. Each file appears whole; writing it
    again gives the same bytes.
    """

    def __init__(self, directory: str | Path, topics: Mapping[str, int], codec: str = "null") -> None:
        super().__init__()
        for topic, partitions in topics.items():
            if partitions < 1:
                raise ValueError(f"topic {topic}: partitions must be at least 1, got {partitions}")
        if codec not in CODECS:
            raise ValueError(f"codec must be one of {', '.join(CODECS)}, got {codec!r}")
        self._directory, self._topics, self._codec = str(directory), dict(sorted(topics.items())), codec

    def expand(self, chunks: Any) -> Any:
        directory, topics, codec = self._directory, self._topics, self._codec

        def place(chunk: Chunk) -> tuple[tuple[str, int], Chunk]:
            if not 0 <= chunk.partition < topics.get(chunk.topic, 0):
                raise _misplaced(directory, chunk, topics)
            return by_place(chunk)

        def write(group: tuple[tuple[str, int], Iterable[Chunk]]) -> tuple[str, int]:
            (topic, partition), found = group
            ordered = sorted((chunk for chunk in found if chunk.count), key=lambda chunk: chunk.offset)
            return write_partition(directory, topic, partition, topics[topic], ordered, codec)

        # A partition without records gets its file from an empty chunk.
        empty = [Chunk(topic, n, 0, -1, 0, b"") for topic, count in topics.items() for n in range(count)]
        places = chunks.pipeline | "Partitions" >> beam.Create(empty, reshuffle=False).with_output_types(Chunk)
        return (
            (chunks, places)
            | "WithEmpty" >> beam.Flatten()
            | "ByPartition" >> beam.Map(place).with_output_types(tuple[tuple[str, int], Chunk])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(tuple[str, int])
        )
