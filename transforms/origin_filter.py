"""The filter by origin for readers outside of this engine: contract line 6 without Beam, Kafka or a processor.

A writer that was restored, or runs twice, repeats outputs; each carries where it came from. Whoever passes a
partition's records through an `OriginFilter`, and saves its marks together with what it makes of the records, sees each
once.
"""

import json
from collections.abc import Iterable, Iterator, Mapping

from schemas.rails import Record, Source
from transforms.fold import ForkedWriter, MissingRecord


class OriginFilter:
    """Knows, for one partition of one topic, the newest output of each shard that writes to it.

    marks: (offset, index) by writing shard, as `marks` of an earlier filter gave them; none means that reading begins
    at offset 0.
    """

    def __init__(self, topic: str, partition: int, marks: Mapping[Source, tuple[int, int]] | None = None) -> None:
        if type(partition) is not int or partition < 0:
            raise ValueError(f"OriginFilter: partition must be a number from 0, got {partition!r}")
        self.topic, self.partition = topic, partition
        self.marks: dict[Source, tuple[int, int]] = dict(marks or {})

    def is_new(self, record: Record) -> bool:
        """Whether the record is none that has come before; it has come from now on. Records without origin are always
        new.

        MissingRecord if the shard wrote something before it that never came; ForkedWriter if it wrote it after an older
        output than the newest that came, so that it has two histories. Then nothing is marked.
        """
        if record.origin is None:
            return True
        source, offset, index, prev = record.origin
        mark = self.marks.get(source)
        if mark is not None and (offset, index) <= mark:
            return False
        if prev is not None and (mark is None or prev > mark):
            raise MissingRecord(
                f"{self.topic}/{self.partition}/{record.offset}: {source.stage}/{source.topic}/{source.partition} wrote "
                f"{prev[0]}.{prev[1]} before {offset}.{index}, but it never arrived (seen so far: {mark})"
            )
        if prev != mark:
            raise ForkedWriter(
                f"{self.topic}/{self.partition}/{record.offset}: {source.stage}/{source.topic}/{source.partition} wrote "
                f"{offset}.{index} after {prev}, but {mark} has arrived: the writer has two histories"
            )
        self.marks[source] = offset, index
        return True

    def new(self, records: Iterable[Record]) -> Iterator[Record]:
        """Those of the partition's records, in offset order, that are new."""
        return filter(self.is_new, records)

    def save(self) -> bytes:
        """The marks as JSON, the same bytes for the same marks."""
        marks = [[*source, *mark] for source, mark in sorted(self.marks.items())]
        return json.dumps({"topic": self.topic, "partition": self.partition, "marks": marks}).encode()

    @classmethod
    def load(cls, saved: bytes) -> "OriginFilter":
        """The filter whose `save` gave these bytes; ValueError for others."""
        try:
            content = json.loads(saved)
            marks = {
                Source(str(stage), str(topic), int(partition)): (int(offset), int(index))
                for stage, topic, partition, offset, index in content["marks"]
            }
            return cls(str(content["topic"]), content["partition"], marks)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"OriginFilter: not a saved filter: {error}") from None
