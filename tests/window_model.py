"""Streams of card payments for the tests of windows, and the plain model that the results are compared with."""

import io
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import apache_beam as beam
import fastavro

from schemas.rails import Record
from transforms.chunks import Chunk, pack_chunk, pack_chunks
from transforms.partials import Fixed, Session, Window
from transforms.rows import FieldRows

SCHEMA_ID = 900
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "card", "type": "string"},
        {"name": "amount", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
_PARSED = fastavro.parse_schema(SCHEMA)
ROWS = FieldRows({SCHEMA_ID: SCHEMA}, "card", "at", "amount")


class Payment(NamedTuple):
    """A payment, and when it was appended; all times in ms."""

    card: str
    time: int
    amount: int
    appended: int


def random_payments(
    seed: int, count: int, cards: int = 5, start: int = 1_000, step: int = 50, disorder: int = 400
) -> list[Payment]:
    """Payments about `step` apart, each up to `disorder` older than its append time."""
    rng, payments, appended = random.Random(seed), [], start
    for _ in range(count):
        appended += rng.choice([0, 1, step, 2 * step, 5 * step if rng.random() < 0.1 else step])
        time = appended - rng.choice([0, rng.randrange(disorder // 8 + 1), rng.randrange(disorder + 1)])
        payments.append(Payment(f"card-{rng.randrange(cards)}", time, rng.randrange(-50, 500), appended))
    return payments


def record(offset: int, payment: Payment) -> Record:
    out = io.BytesIO()
    fields = {"card": payment.card, "amount": payment.amount, "at": payment.time}
    fastavro.schemaless_writer(out, _PARSED, fields)
    framed = b"\x00" + SCHEMA_ID.to_bytes(4, "big") + out.getvalue()
    return Record(offset, payment.appended, payment.card.encode(), framed, None, ())


def chunks_of(payments: Sequence[Payment], size: int, partition: int = 0) -> list[Chunk]:
    """One partition of a topic."""
    return list(pack_chunks("t", partition, [record(i, p) for i, p in enumerate(payments)], size))


def chunk_of(payments: Sequence[Payment], offset: int = 0, clock: int = -1) -> Chunk:
    return pack_chunk("t", 0, [record(offset + i, p) for i, p in enumerate(payments)], clock)


def windows_of(window: Window, time: int) -> list[tuple[int, int]]:
    """All windows of a time, found by looking at every window around it."""
    if isinstance(window, Session):
        return [(time, time + window.gap_ms)]
    size = window.size_ms
    period = size if isinstance(window, Fixed) else window.period_ms
    first = (time - size - window.offset_ms) // period - 1
    starts = [window.offset_ms + period * i for i in range(first, first + size // period + 4)]
    return [(start, start + size) for start in starts if start <= time < start + size]


class Model(NamedTuple):
    """windows: values by (key, start, end); late: (offset, key, time, clock, value, missed, windows)."""

    windows: dict[tuple[str, int, int], list[int]]
    late: list[tuple[int, str, int, int, int, int, int]]

    def results(self, result: Callable[[list[int]], Any]) -> list[tuple[str, int, int, Any]]:
        return sorted((*place, result(values)) for place, values in self.windows.items())


def model(partitions: Iterable[Sequence[Payment]], window: Window, lateness: int) -> Model:
    """What windows over these partitions come to, row by row."""
    accepted: dict[tuple[str, int, int], list[tuple[int, int]]] = defaultdict(list)
    late = []
    for payments in partitions:
        clock = -1
        for offset, (card, time, amount, appended) in enumerate(payments):
            windows = windows_of(window, time)
            missed = [w for w in windows if clock >= 0 and w[1] + lateness <= clock]
            if missed:
                late.append((offset, card, time, clock, amount, len(missed), len(windows)))
            for start, end in windows[len(missed) :]:
                accepted[(card, 0, 0) if isinstance(window, Session) else (card, start, end)].append((time, amount))
            clock = max(clock, appended)
    if not isinstance(window, Session):
        return Model({place: [value for _, value in rows] for place, rows in accepted.items()}, late)
    sessions: dict[tuple[str, int, int], list[int]] = {}
    for (card, _, _), rows in accepted.items():
        run: list[tuple[int, int]] = []
        for row in sorted(rows):
            if run and row[0] - run[-1][0] >= window.gap_ms:
                sessions[card, run[0][0], run[-1][0] + window.gap_ms] = [value for _, value in run]
                run = []
            run.append(row)
        sessions[card, run[0][0], run[-1][0] + window.gap_ms] = [value for _, value in run]
    return Model(sessions, late)


class Kept:
    """The outputs of a step, kept in this process: for runners whose workers live here. To be read when the pipeline has run."""

    _kept: ClassVar[dict[tuple[str, str], list[Any]]] = {}  # found by name, because functions travel as copies

    def __init__(self) -> None:
        self._run = uuid.uuid4().hex

    def keep(self, outputs: Any) -> None:
        """All fields of a NamedTuple of PCollections."""
        for name, pcollection in outputs._asdict().items():
            self._kept[self._run, name] = []
            _ = pcollection | f"Keep {name}" >> beam.Map(_keep, self._run, name).with_output_types(type(None))

    def of(self, name: str) -> list[Any]:
        """The elements of an output, sorted."""
        return sorted(self._kept[self._run, name])


def _keep(element: Any, run: str, name: str) -> None:
    Kept._kept[run, name].append(element)
