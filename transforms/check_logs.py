"""Checks that need several partitions or topics at once, as a Beam step."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import apache_beam as beam

from schemas.rails import Record
from transforms.chunks import Chunk, together, unpack_chunk
from transforms.errors import one_line

Partitions = Iterable[tuple[str, int, Iterable[Record]]]
"""(topic, partition, records in order of offset)."""


class CheckLogs(beam.PTransform):
    """PCollection[Chunk] of whole topics → PCollection[str]: what `check` finds wrong, a line each; nothing when all is well.

    `check` is a pure function of all partitions, in order of topic and partition; all records pass through one worker and its memory.
    Control characters of its lines, which may come from the records, are escaped. A damaged chunk stops the job (DamagedChunk): nothing can
    be said of the rest.
    """

    def __init__(self, check: Callable[[Partitions], list[str]]) -> None:
        super().__init__()
        self.check = check

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        check = self.check

        def run(group: tuple[int, Iterable[Chunk]]) -> list[str]:
            return [one_line(line) for line in check(_partitions(group[1]))]

        return (
            chunks
            | "Together" >> beam.Map(together).with_output_types(tuple[int, Chunk])
            | "Group" >> beam.GroupByKey()
            | "Check" >> beam.FlatMap(run).with_output_types(str)
        )


def _partitions(chunks: Iterable[Chunk]) -> Iterator[tuple[str, int, Iterable[Record]]]:
    ordered = sorted(chunks, key=lambda chunk: (chunk.topic, chunk.partition, chunk.offset))
    for (topic, partition), group in groupby(ordered, key=lambda chunk: (chunk.topic, chunk.partition)):
        yield topic, partition, (record for chunk in group for record in unpack_chunk(chunk))
