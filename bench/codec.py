"""The strict codecs against fastavro, record by record: `python -m bench.codec`.

Both decode the same messages: 2,000 seeded payments (payments.PaymentInitiated: 13 fields with those of its amount), all kinds, about 70
bytes each. fastavro gets a schema that is parsed already and a BytesIO for every message, which is how its reader takes bytes; it checks
less, and makes dicts and datetimes where ours makes named tuples and integers. A second row takes the logical type out of
its schema, so that it makes integers too. Rates are medians over rounds that take turns.
"""

import argparse
import gc
import io
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import fastavro

from schemas import load_schema
from schemas.payments import Money, PaymentInitiated
from schemas.rails import Origin, Position, Record, Source
from transforms.chunks import decode_records, encode_record
from transforms.registry import Registry

START = 1_760_000_000_000
KINDS = ("TRANSFER", "DEPOSIT", "WITHDRAWAL", "HOLD", "CAPTURE", "VOID", "REVERSAL")
SHARES = (60, 10, 10, 8, 6, 3, 3)  # percent of the kinds

Run = Callable[[], Any]


def make_payments(count: int, accounts: int = 1000) -> list[PaymentInitiated]:
    """Payments of all kinds, with the fields that each kind has; half of them have a reference. The same for the same arguments."""
    rng = random.Random(3)
    payments = []
    for n, kind in enumerate(rng.choices(KINDS, SHARES, k=count)):
        debtor, creditor = (f"ACC-{rng.randrange(accounts):06d}" for _ in range(2))
        payments.append(
            PaymentInitiated(
                f"pay-{n:010d}",
                kind,  # type: ignore[arg-type]
                None if kind == "DEPOSIT" else debtor,
                None if kind in ("WITHDRAWAL", "HOLD", "VOID") else creditor,
                Money(rng.randrange(1, 100_000), rng.choice(("EUR", "USD", "JPY"))),
                f"pay-{n - 9:010d}" if kind in ("CAPTURE", "VOID") else None,
                3_600_000 if kind == "HOLD" else None,
                f"pay-{n - 9:010d}" if kind == "REVERSAL" else None,
                f"ref-{n}" if rng.random() < 0.5 else None,
                rng.choice(("app", "web", "branch")),
                START + 7 * n,
            )
        )
    return payments


def make_records(values: Sequence[bytes]) -> list[Record]:
    """Log records as a stage writes them: with key, value, and the identity of their origin."""
    sources = [Source("payments.account", "payments.inflight", n) for n in range(16)]
    return [
        Record(
            90_000 + n,
            START + 7 * n,
            b"ACC-%06d" % (n % 1000),
            value,
            Origin(sources[n % 16], 80_000 + n, n % 9, Position(79_990 + n, 1)),
            (),
        )
        for n, value in enumerate(values)
    ]


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    return [_without_logical_types(part) for part in schema] if isinstance(schema, list) else schema


def _fastavro_decode(schema: Any, data: Sequence[bytes]) -> Run:
    parsed, read, stream = fastavro.parse_schema(schema), fastavro.schemaless_reader, io.BytesIO
    return lambda: [read(stream(one), parsed, None) for one in data]


def _fastavro_encode(schema: Any, data: Sequence[bytes]) -> Run:
    parsed, write, stream = fastavro.parse_schema(schema), fastavro.schemaless_writer, io.BytesIO
    dicts = _fastavro_decode(schema, data)()

    def run() -> list[bytes]:
        written = []
        for one in dicts:
            out = stream()
            write(out, parsed, one)
            written.append(out.getvalue())
        return written

    return run


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(repeats: int = 9, count: int = 2000) -> list[dict[str, Any]]:
    """Rows {name, unit, value, baseline, ratio, floor, aim, floor_is}: records/s of ours and of fastavro, medians of `repeats` rounds."""
    if repeats < 1 or count < 1:
        raise ValueError(f"repeats and count must be at least 1, got {repeats} and {count}")
    registry = Registry.of("rails", "payments")
    payments = make_payments(count)
    framed = [registry.encode(payment) for payment in payments]
    plain = [value[5:] for value in framed]
    records = make_records(framed)
    encoded = [encode_record(record) for record in records]
    chunk = b"".join(encoded)
    schema, record_schema = load_schema("payments.PaymentInitiated"), load_schema("rails.Record")
    # name, ours, fastavro's, floor, aim
    pairs: list[tuple[str, Run, Run, float, float]] = [
        (
            "strict decode of a 13-field payment",
            lambda: [registry.decode(value) for value in framed],
            _fastavro_decode(schema, plain),
            0.6,
            1.0,
        ),
        (
            "the same, fastavro without logical types",
            lambda: [registry.decode(value) for value in framed],
            _fastavro_decode(_without_logical_types(schema), plain),
            0.6,
            1.0,
        ),
        (
            "encode of a 13-field payment",
            lambda: [registry.encode(payment) for payment in payments],
            _fastavro_encode(schema, plain),
            1.0,
            2.0,
        ),
        (
            "decode of log records in a chunk",
            lambda: decode_records(chunk, count),
            _fastavro_decode(_without_logical_types(record_schema), encoded),
            1.0,
            1.5,
        ),
        (
            "encode of log records",
            lambda: [encode_record(record) for record in records],
            _fastavro_encode(_without_logical_types(record_schema), encoded),
            1.0,
            2.0,
        ),
    ]
    rows = []
    for name, ours, theirs, floor, aim in pairs:
        times: tuple[list[float], list[float]] = ([], [])
        gc.collect()
        for _ in range(repeats):
            times[0].append(_seconds(ours))
            times[1].append(_seconds(theirs))
        value, baseline = (count / statistics.median(t) for t in times)
        rows.append(
            {
                "name": name,
                "unit": "records/s",
                "value": round(value),
                "baseline": round(baseline),
                "ratio": round(value / baseline, 2),
                "floor": floor,
                "aim": aim,
                "floor_is": "ratio",
            }
        )
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_args(argv)
    json.dump(measure(args.repeats, args.count), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
