"""Interval join against idiomatic Beam, both from the same bytes of two topic files, in one run.

The topics: orders and payments as framed Avro in log records, 1,000 customers, 200 records a second of log time in
each, each record up to 5 s older than its append time. A payment joins the orders of its customer up to 4 s before and
1 s after it. Ours: blocks of the files as chunks -> `JoinByInterval`. Idiomatic: ReadFromAvro -> decode the value with
fastavro's parsed schema -> orders into fixed windows, payments into each window that holds orders they may join (mostly
one) -> CoGroupByKey -> compare the pairs of a key and window. Both on FnApiRunner, in one process; a measurement is the
whole run of a pipeline, its start included. The pairs of both are compared, all of them.
"""

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from bench.side_by_side import keep, medians, print_rows
from schemas.rails import Record
from transforms.chunks import pack_chunks
from transforms.joins import JoinByInterval
from transforms.rows import FieldRows
from transforms.topic_files import ReadTopic, partition_path, write_partition

SCHEMA_ID = 901
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "CustomerEvent",
    "namespace": "bench",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "customer", "type": "string"},
        {"name": "amount", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
ORDERS, PAYMENTS = "bench.orders", "bench.payments"
START = 1_760_000_000_000
BEFORE_MS, AFTER_MS = 1000, 4000  # an order's payments: from 1 s before it to 4 s after
WINDOW_MS = 60_000  # of the idiomatic pipeline: 5 s took it 410 µs a record, 20 s 179, 60 s 156
GRACE_MS = 5000  # nothing is late

Pair = tuple[str, int, int, int, int]  # customer, both times, both amounts


def write_topics(directory: Path, records: int, customers: int = 1000) -> None:
    """Both topics, `records` in each, as one partition file each; the same bytes for the same arguments."""
    schema = fastavro.parse_schema(SCHEMA)
    frame = b"\x00" + SCHEMA_ID.to_bytes(4, "big")

    def made(topic: str) -> Iterator[Record]:
        rng = random.Random(topic)
        for i in range(records):
            customer, at, value = f"customer-{rng.randrange(customers):06d}", START + 5 * i, io.BytesIO()
            fields = {
                "id": f"{topic[6:9]}-{i:010d}",
                "customer": customer,
                "amount": rng.randrange(1, 100_000),
                "at": at - rng.randrange(5000),
            }
            fastavro.schemaless_writer(value, schema, fields)
            yield Record(i, at, customer.encode(), frame + value.getvalue(), None, ())

    for topic in (ORDERS, PAYMENTS):
        write_partition(directory, topic, 0, 1, pack_chunks(topic, 0, made(topic)))


def run_ours(directory: Path, kept: Path | None = None, buckets: int = 32) -> None:
    """The pipeline of this project; with `kept`, its results as lines of JSON."""
    rows = FieldRows({SCHEMA_ID: SCHEMA}, key="customer", time="at", value="amount")
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as p:
        orders, payments = (p | topic >> ReadTopic(str(directory), topic) for topic in (ORDERS, PAYMENTS))
        joined = (orders, payments) | JoinByInterval(
            rows, rows, BEFORE_MS, AFTER_MS, grace_ms=GRACE_MS, buckets=buckets
        )
        pairs = joined.results | "Pairs" >> beam.Map(
            lambda row: (row.key, row.left.time, row.right.time, row.left.value, row.right.value)
        ).with_output_types(Pair)
        keep(pairs, kept)


class DecodeEvent(beam.DoFn):
    """A log record as ReadFromAvro gives it -> (customer, (ms, amount)), stamped: what one writes with Beam and
    fastavro."""

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(SCHEMA)

    def process(self, element: dict[str, Any]) -> Iterator[TimestampedValue]:
        event = fastavro.schemaless_reader(io.BytesIO(element["value"][5:]), self._schema, None)
        at = event["at"].timestamp()  # fastavro makes a datetime of timestamp-millis
        yield TimestampedValue((event["customer"], (round(at * 1000), event["amount"])), at)


class IntoWindowsOfOrders(beam.DoFn):
    """A payment, once for each window that holds orders it may join, stamped inside it."""

    def process(self, element: tuple[str, tuple[int, int]]) -> Iterator[TimestampedValue]:
        first, last = element[1][0] - AFTER_MS, element[1][0] + BEFORE_MS
        for start in range(first - first % WINDOW_MS, last + 1, WINDOW_MS):
            yield TimestampedValue(element, start / 1000)


def compare_pairs(element: tuple[str, dict[str, Any]]) -> Iterator[Pair]:
    """The pairs of a customer and window."""
    customer, both = element
    payments = list(both["payments"])
    for at, order in both["orders"]:
        for paid, payment in payments:
            if at - BEFORE_MS <= paid <= at + AFTER_MS:
                yield customer, at, paid, order, payment


def run_idiomatic(directory: Path, kept: Path | None = None) -> None:
    """The pipeline of Beam's own parts."""
    keyed = tuple[str, tuple[int, int]]
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as p:
        orders, payments = (
            p
            | f"Read {topic}" >> beam.io.ReadFromAvro(str(partition_path(directory, topic, 0)))
            | f"Decode {topic}" >> beam.ParDo(DecodeEvent()).with_output_types(keyed)
            for topic in (ORDERS, PAYMENTS)
        )
        copies = payments | beam.ParDo(IntoWindowsOfOrders()).with_output_types(keyed)
        pairs = (
            {
                name: events | f"Window {name}" >> beam.WindowInto(FixedWindows(WINDOW_MS / 1000))
                for name, events in (("orders", orders), ("payments", copies))
            }
            | beam.CoGroupByKey()
            | "Compare" >> beam.FlatMap(compare_pairs).with_output_types(Pair)
        )
        keep(pairs, kept)


def measure(repeats: int = 5, records: int = 100_000) -> list[dict[str, Any]]:
    """Rows {name, unit, value, baseline, ratio, floor, aim, floor_is}: medians of `repeats`, in turns, in µs per record
    of either side."""
    ours, theirs = medians(write_topics, run_ours, run_idiomatic, repeats, records)
    value, baseline = (seconds / (2 * records) * 1e6 for seconds in (ours, theirs))
    row = {"name": "interval join", "unit": "µs/record", "value": round(value, 3), "baseline": round(baseline, 3)}
    return [{**row, "ratio": round(baseline / value, 1), "floor": 8, "aim": 20, "floor_is": "ratio"}]


if __name__ == "__main__":
    print_rows(measure, __doc__, 100_000)
