"""`WriteSortedRecords`: client records, made anywhere in any order, as one file in the order of the log."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from schemas.rails import Record
from transforms.elements import RecordCoder
from transforms.record_files import write_record_file

_CODER = RecordCoder()
_HEAD = 8
_SIGN = 1 << 63  # makes the order of unsigned bytes that of signed times


class WriteSortedRecords(beam.PTransform):
    """PCollection[Record], bounded → PCollection[tuple[str, int]]: one container of `rails.Record`; gives (path, number of records).

    The records stand in the order of `at`, those of one time in the order of their bytes; they are numbered from 0. So the file is the same
    for any bundling and any order that they come in. It is written for an empty input too, whole, by rename. All records pass through the
    memory of one worker, as bytes.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        if not Path(path).name:
            raise ValueError(f"WriteSortedRecords: not the path of a file: {path!r}")
        self._path = path

    def expand(self, records: Any) -> Any:
        path = self._path

        def write(group: tuple[int, Iterable[bytes]]) -> tuple[str, int]:
            return path, write_record_file(path, _in_order(group[1]))

        keyed = tuple[int, bytes]
        # The element that makes a file of no records.
        empty = records.pipeline | "Empty" >> beam.Create([(0, b"")], reshuffle=False).with_output_types(keyed)
        return (
            (records | "Encode" >> beam.Map(_sortable).with_output_types(keyed), empty)
            | "WithEmpty" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(tuple[str, int])
        )


def _sortable(record: Record) -> tuple[int, bytes]:
    """Bytes that sort as (at, the record's encoding): all offsets, which stand first in it, are the same."""
    return 0, (record.at + _SIGN).to_bytes(_HEAD, "big") + _CODER.encode(record._replace(offset=0))


def _in_order(raws: Iterable[bytes]) -> Iterator[Record]:
    for number, raw in enumerate(sorted(filter(None, raws))):
        yield _CODER.decode(raw[_HEAD:])._replace(offset=number)
