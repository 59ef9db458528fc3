"""Between chunks and single elements, for steps that are not fast enough to need chunks, or come from elsewhere."""

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.transforms.core import DoFn
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from schemas.rails import Record
from transforms.chunks import CHUNK_RECORDS, Chunk, decode_records, encode_record, pack_chunk, unpack_chunk
from transforms.errors import BadRecord
from transforms.plain import decode_plain, encode_plain
from transforms.rows import Rows


class RecordCoder(coders.Coder):
    """A log record as its Avro bytes."""

    def encode(self, value: Record) -> bytes:
        return encode_record(value)

    def decode(self, encoded: bytes) -> Record:
        return decode_records(encoded, 1)[0]

    def is_deterministic(self) -> bool:
        return True


coders.registry.register_coder(Record, RecordCoder)


class UnpackChunks(beam.PTransform):
    """PCollection[Chunk] -> PCollection[Record], each stamped as its chunk is: with the smallest time in it."""

    def expand(self, chunks: Any) -> Any:
        return chunks | "Unpack" >> beam.FlatMap(unpack_chunk).with_output_types(Record)


class ChunkElements(beam.PTransform):
    """PCollection[tuple[key, value]] of plain values, timestamped, in the global window -> PCollection[Chunk] for `ElementRows`.

    Elements have no order and no append time, so these chunks have no clock: `AggregateByWindow` finds nothing late
    in them. What GroupByKey drops on the watermark of such a source, it drops silently, as in any pipeline. Give
    `at`, the append time (ms) of an element by its value, where there is one; a chunk's clock then knows the elements
    before it in the chunk, no others. Chunks hold what one bundle has, up to `size`.
    """

    def __init__(self, at: Callable[[Any], int] | None = None, size: int = CHUNK_RECORDS) -> None:
        super().__init__()
        if type(size) is not int or size < 1:
            raise ValueError(f"ChunkElements: size must be a whole number of at least 1, got {size!r}")
        self._at, self._size = at, size

    def expand(self, elements: Any) -> Any:
        if not isinstance(elements.windowing.windowfn, GlobalWindows):
            raise ValueError(f"elements must be in the global window, not in {elements.windowing.windowfn!r}")
        return elements | "Pack" >> beam.ParDo(_Pack(self._at, self._size)).with_output_types(Chunk)


class _Pack(DoFn):
    def __init__(self, at: Callable[[Any], int] | None, size: int) -> None:
        self._at, self._size = at, size

    def start_bundle(self) -> None:
        self._times: list[int] = []
        self._records: list[Record] = []

    def process(self, element: tuple[Any, Any], timestamp: Any = DoFn.TimestampParam) -> Iterator[WindowedValue]:
        time = timestamp.micros // 1000
        at = -1 if self._at is None else self._at(element[1])
        self._times.append(time)
        self._records.append(Record(len(self._records), at, None, encode_plain((time, *element)), None, ()))
        if len(self._records) == self._size:
            yield self._chunk()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._records:
            yield self._chunk()

    def _chunk(self) -> WindowedValue:
        chunk, time = pack_chunk("elements", 0, self._records), min(self._times)
        self._times, self._records = [], []
        return WindowedValue(chunk, Timestamp(micros=time * 1000), (GlobalWindow(),))


class ElementRows(Rows):
    """Rows of the chunks that `ChunkElements` makes: the element's key, timestamp and value."""

    def row(self, record: Record) -> tuple[Any, int, Any]:
        try:
            element = decode_plain(record.value or b"")
        except ValueError:
            element = None
        if type(element) is not tuple or len(element) != 3 or type(element[0]) is not int:
            raise BadRecord("NOT_AN_ELEMENT", "value")
        time, key, value = element
        return key, time, value
