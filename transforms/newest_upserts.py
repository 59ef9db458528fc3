"""A topic of upserts as a log of its newest versions: what a reader that goes by the version knows in the end."""

from collections.abc import Iterable, Iterator

import apache_beam as beam

from schemas.rails import Record
from transforms.chunks import Chunk, by_partition, pack_chunks, records_in_order
from transforms.kafka_headers import VERSION, decode_version


class KeepNewestUpserts(beam.PTransform):
    """PCollection[Chunk] of a topic of upserts, bounded → PCollection[Chunk]: the newest record of each key, numbered
    from 0 in the order in which they stand, without the header of the version.

    What came with a lower version after a higher one, as a zombie may write it, is left out. BadHeaders for a record without version.
    """

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return (
            chunks
            | "ByPartition" >> beam.Map(by_partition).with_output_types(tuple[int, Chunk])
            | "Group" >> beam.GroupByKey()
            | "Newest" >> beam.FlatMap(_newest).with_output_types(Chunk)
        )


def _newest(group: tuple[int, Iterable[Chunk]]) -> Iterator[Chunk]:
    partition, chunks = group[0], list(group[1])
    yield from pack_chunks(chunks[0].topic, partition, newest_upserts(records_in_order(chunks)))


def newest_upserts(records: Iterable[Record]) -> list[Record]:
    """The records with the highest version of their key; of equal versions the first."""
    newest: dict[bytes | None, tuple[int, Record]] = {}
    for record in records:
        versions = [header.value for header in record.headers if header.key == VERSION]
        version = decode_version(versions[0] if versions else b"")
        held = newest.get(record.key)
        if held is None or version > held[0]:
            newest[record.key] = version, record
    kept = sorted((record for _, record in newest.values()), key=lambda record: record.offset)
    return [record._replace(offset=number, headers=()) for number, record in enumerate(kept)]
