"""`RunInMemory`: the in-memory loop as a Beam transform. Raw client records in, whole topics on disk out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

import apache_beam as beam

from schemas.rails import Record
from transforms.chunks import Chunk, together, unpack_chunk
from transforms.fold import Topic
from transforms.fold_bounded import shard_summary
from transforms.garbage import collect_rarely
from transforms.loop import Loop
from transforms.progress import Progress
from transforms.topic_files import PartitionWriter, partition_path


class RunInMemory(beam.PTransform):
    """PCollection[Chunk] of client records (`at` is the time they are appended at) → PCollection[bytes], one JSON summary per shard.

    All records come together in one place, because duplicates and payments cross all partitions, and are appended in the order of (at,
    key, bytes): the result depends neither on the order of the files nor on chunks, bundles or workers. `make_loop` is given the span of
    the records' times (ms). `topics` are written below the folder `into`, each file whole by rename, so a retried bundle writes the same
    files again.
    """

    def __init__(self, make_loop: Callable[[int], Loop], topics: Sequence[Topic], into: str) -> None:
        super().__init__()
        self.make_loop, self.topics, self.into = make_loop, tuple(topics), into

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        keyed = tuple[int, Chunk]
        # Without any record there are still topics to write, empty ones.
        empty = chunks.pipeline | "Empty" >> beam.Create(
            [(0, Chunk("", 0, 0, -1, 0, b""))], reshuffle=False
        ).with_output_types(keyed)
        return (
            (chunks | "Together" >> beam.Map(together).with_output_types(keyed), empty)
            | "WithEmpty" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Run" >> beam.ParDo(_Run(self.make_loop, self.topics, self.into)).with_output_types(bytes)
        )


def log_order(record: Record) -> tuple[int, bytes, bytes]:
    """Where a client's record stands in the log when nothing but the record itself may decide."""
    return record.at, record.key or b"", record.value or b""


class _Run(beam.DoFn):
    def __init__(self, make_loop: Callable[[int], Loop], topics: Sequence[Topic], into: str) -> None:
        self.make_loop, self.topics, self.into = make_loop, topics, into

    def process(self, element: tuple[int, Iterable[Chunk]]) -> Iterator[bytes]:
        records = [record for chunk in element[1] for record in unpack_chunk(chunk)]
        records.sort(key=log_order)
        loop = self.make_loop(records[-1].at - records[0].at if records else 0)
        with ExitStack() as stack:
            stack.enter_context(collect_rarely())
            writers = {
                (topic.name, number): stack.enter_context(
                    PartitionWriter(partition_path(self.into, topic.name, number), topic.name, number, topic.partitions)
                )
                for topic in self.topics
                for number in range(topic.partitions)
            }
            for chunk in loop.run(_counted(records)):
                writers[chunk.topic, chunk.partition].write(chunk)
        for shard in loop.shards:
            yield shard_summary(shard)


def _counted(records: list[Record]) -> Iterator[Record]:
    with Progress(len(records), "records", "loop") as progress:
        for first in range(0, len(records), _STEP):
            yield from records[first : first + _STEP]
            progress.update(min(_STEP, len(records) - first))


_STEP = 500  # records between two looks at the clock
