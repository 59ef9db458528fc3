"""Window sums per key against idiomatic Beam, both from topic files of the same kind, in one run.

The topic: payments of {id, card, amount, at} as framed Avro in log records, 1,000 cards, 1,000 records a second of
log time, each up to 5 s older than its append time. Ours: blocks of the file as chunks -> `AggregateByWindow`.
Idiomatic: ReadFromAvro -> decode the value with fastavro's parsed schema -> stamp with its time -> FixedWindows or
SlidingWindows -> CombinePerKey(sum). Both on FnApiRunner, in one process, and compared, all sums, on the same file.

Rates are without the start of a pipeline, on either side. Ours takes about as long to start as to read this file, so
it is timed on a stream of the same length and WIDE times as wide: as many times the cards and the records a second,
which leaves rows per card and windows per row as they are.
"""

import io
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, SlidingWindows, TimestampedValue

from bench.side_by_side import check_same, keep, print_rows, seconds
from schemas.rails import Record
from transforms.aggregates import Sum
from transforms.chunks import CHUNK_RECORDS, pack_chunks
from transforms.rows import FieldRows
from transforms.topic_files import ReadTopic, partition_path, write_partition
from transforms.windows import AggregateByWindow, Fixed, Sliding

SCHEMA_ID = 900
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "CardPayment",
    "namespace": "bench",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "card", "type": "string"},
        {"name": "amount", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
TOPIC = "bench.payments"
START = 1_760_000_000_000
SIZE_MS, PERIOD_MS = 60_000, 10_000
LATENESS_MS = (
    10_000  # more than the payments are late: the idiomatic pipeline, on a bounded input, drops nothing either
)
RECORDS = 60_000
WIDE = 5
SHORT_RUNS = 2  # of ours for each of Beam's: they are over in about a second, so their times scatter more
CHUNKS_OF = 8 * CHUNK_RECORDS  # records; numpy's cost per call is then a small part


def write_topic(directory: Path, records: int, wide: int = 1) -> None:
    """The topic as one partition file of `records` times `wide` payments; the same bytes for the same arguments."""
    rng = random.Random(2)
    schema = fastavro.parse_schema(SCHEMA)
    frame = b"\x00" + SCHEMA_ID.to_bytes(4, "big")

    def made() -> Iterator[Record]:
        for i in range(records * wide):
            card, at, value = f"card-{rng.randrange(1000 * wide):06d}", START + i // wide, io.BytesIO()
            fields = {
                "id": f"pay-{i:010d}",
                "card": card,
                "amount": rng.randrange(1, 100_000),
                "at": at - rng.randrange(5000),
            }
            fastavro.schemaless_writer(value, schema, fields)
            yield Record(i, at, card.encode(), frame + value.getvalue(), None, ())

    write_partition(directory, TOPIC, 0, 1, pack_chunks(TOPIC, 0, made()))


class DecodePayment(beam.DoFn):
    """A log record as ReadFromAvro gives it -> (card, amount), stamped with the payment's time: what one writes with Beam and fastavro."""

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(SCHEMA)

    def process(self, element: dict[str, Any]) -> Iterator[TimestampedValue]:
        payment = fastavro.schemaless_reader(io.BytesIO(element["value"][5:]), self._schema, None)
        at = payment["at"].timestamp()  # fastavro makes a datetime of timestamp-millis
        yield TimestampedValue((payment["card"], payment["amount"]), at)


def run_ours(directory: Path, window: Fixed | Sliding, sums: Path | None = None) -> None:
    """The pipeline of this project; with `sums`, its results as lines of JSON."""
    rows = FieldRows({SCHEMA_ID: SCHEMA}, key="card", time="at", value="amount")
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as p:
        results = (
            p | ReadTopic(str(directory), TOPIC, CHUNKS_OF) | AggregateByWindow(rows, window, Sum(), LATENESS_MS)
        ).results | beam.Map(lambda r: (r.key, r.end, r.value)).with_output_types(tuple[str, int, int])
        keep(results, sums)


def run_idiomatic(directory: Path, window: Fixed | Sliding, sums: Path | None = None) -> None:
    """The pipeline of Beam's own parts."""
    if isinstance(window, Fixed):
        fn: Any = FixedWindows(window.size_ms / 1000)
    else:
        fn = SlidingWindows(window.size_ms / 1000, window.period_ms / 1000)
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as p:
        results = (
            p
            | beam.io.ReadFromAvro(str(partition_path(directory, TOPIC, 0)))
            | beam.ParDo(DecodePayment()).with_output_types(tuple[str, int])
            | beam.WindowInto(fn)
            | beam.CombinePerKey(sum)
            | beam.ParDo(_WithWindow()).with_output_types(tuple[str, int, int])
        )
        keep(results, sums)


class _WithWindow(beam.DoFn):
    def process(self, element: tuple[str, int], window: Any = beam.DoFn.WindowParam) -> Iterator[tuple[str, int, int]]:
        yield element[0], window.end.micros // 1000, element[1]


def measure(repeats: int, records: int = RECORDS) -> list[dict[str, Any]]:
    """Rows {name, unit, value, baseline, ratio, floor, aim, floor_is}: medians of `repeats`, taken in turns, in records/s.

    The start of a pipeline does not count: what a run over one chunk takes is taken off.
    """
    if repeats < 1 or records < 2 * CHUNK_RECORDS:
        raise ValueError(
            f"repeats must be at least 1 and records at least {2 * CHUNK_RECORDS}, got {repeats} and {records}"
        )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        whole, wide, start = (Path(folder) / name for name in ("whole", "wide", "start"))
        write_topic(whole, records)
        write_topic(wide, records, WIDE)
        write_topic(start, CHUNK_RECORDS)
        for name, window in (("fixed", Fixed(SIZE_MS)), ("sliding", Sliding(SIZE_MS, PERIOD_MS))):
            check_same(whole, *(partial(run, whole, window) for run in (run_ours, run_idiomatic)))
            times: dict[tuple[Any, Path], list[float]] = defaultdict(list)
            for _ in range(repeats):
                for run, directory in [(run_idiomatic, whole), (run_idiomatic, start)] + [
                    (run_ours, wide),
                    (run_ours, start),
                ] * SHORT_RUNS:
                    times[run, directory].append(seconds(partial(run, directory, window)))
            value, baseline = (
                (count - CHUNK_RECORDS)
                / (statistics.median(times[run, directory]) - statistics.median(times[run, start]))
                for run, directory, count in (
                    (run_ours, wide, records * WIDE),
                    (run_idiomatic, whole, records),
                )
            )
            row = {"name": f"{name} window sums per key", "unit": "records/s", "value": round(value)}
            row |= {"baseline": round(baseline), "ratio": round(value / baseline, 1)}
            rows.append({**row, "floor": 20, "aim": 50, "floor_is": "ratio"})
    return rows


if __name__ == "__main__":
    print_rows(measure, __doc__, RECORDS)
