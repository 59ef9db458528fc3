"""Views by partition: what the records of one partition say, as rows of tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import apache_beam as beam

from transforms.chunks import Chunk, by_partition, unpack_chunk
from transforms.errors import BadRecord, InputError
from transforms.registry import Registry
from transforms.sql_views import RowBatch, pack_rows
from transforms.tables import Row, Table


class PartitionView(Protocol):
    """Takes the records of one partition of its topics, topic after topic, each in offset order, and gives rows.

    decodes: whether events are decoded; a view that only counts says no and is given None for each.
    """

    topics: tuple[str, ...]
    decodes: bool

    def add(self, topic: str, events: Sequence[tuple[int, Any]]) -> Iterator[tuple[Table, list[Row]]]:
        """Takes consecutive (offset, event) pairs; gives the rows that are ready."""
        ...

    def finish(self) -> Iterator[tuple[Table, list[Row]]]:
        """All records of the partition are in: gives the other rows."""
        ...


class BadLog(InputError):
    """A record of a log topic cannot be read, though only stages of ours write there; the message says which one."""


class ViewPartitions(beam.PTransform):
    """PCollection[Chunk] of all partitions of the view's topics, from offset 0 → PCollection[RowBatch].

    The topics have equally many partitions and the same keys, so that what belongs together stands in partitions of the same number.
    `make_view` is called with that number, once per attempt, on the worker. Raises BadLog.
    """

    def __init__(self, make_view: Callable[[int], PartitionView], registry: Registry) -> None:
        super().__init__()
        self.make_view, self.registry = make_view, registry

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return (
            chunks
            | "ByPartition" >> beam.Map(by_partition).with_output_types(tuple[int, Chunk])
            | "Group" >> beam.GroupByKey()
            | "MakeRows" >> beam.ParDo(_MakeRows(self.make_view, self.registry)).with_output_types(RowBatch)
        )


class _MakeRows(beam.DoFn):
    def __init__(self, make_view: Callable[[int], PartitionView], registry: Registry) -> None:
        self.make_view, self.registry = make_view, registry

    def process(self, element: tuple[int, Iterable[Chunk]]) -> Iterator[RowBatch]:
        partition, chunks = element
        view = self.make_view(partition)
        for chunk in sorted(chunks, key=lambda chunk: (view.topics.index(chunk.topic), chunk.offset)):
            events = self._events(chunk) if view.decodes else [(chunk.offset + i, None) for i in range(chunk.count)]
            yield from _batches(view.add(chunk.topic, events))
        yield from _batches(view.finish())

    def _events(self, chunk: Chunk) -> list[tuple[int, Any]]:
        decode, events = self.registry.decode, []
        for record in unpack_chunk(chunk):
            try:
                events.append((record.offset, decode(record.value or b"")))
            except BadRecord as error:
                where = f"{chunk.topic}/{chunk.partition}/{record.offset}"
                raise BadLog(f"{where}: {error.code} {error.detail}: not written by a stage of this version") from error
        return events


def _batches(made: Iterator[tuple[Table, list[Row]]]) -> Iterator[RowBatch]:
    for table, rows in made:
        if rows:
            yield pack_rows(table, rows)
