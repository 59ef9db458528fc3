"""Clients of a live system: a paced stream of payments, generated or out of a file, with claimed times of now."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from payments import topics
from payments.generator import Generation, Settings
from payments.intake import client_key, client_time
from pipelines.live_writer import LiveWriter
from pipelines.payments import entry
from pipelines.registry import REGISTRY
from schemas.rails import Record
from transforms.errors import BadRecord
from transforms.record_files import Reading
from transforms.record_readers import records_of

_TURN_S = 0.02  # between two looks at the clock
_LOOK = 500  # records, at most, between two looks at whether to stop
MOST = 10**9  # payments of a generator that is stopped from outside


class Sent(NamedTuple):
    """How many records went to payments.incoming and to payments.inflight (account changes, rules)."""

    payments: int
    others: int


def generated(rate: int, accounts: int, seed: int, now_ms: int, count: int = MOST) -> Iterator[Record]:
    """The generator's stream at this rate, as if it began now; planted faults and repeats among them."""
    return iter(Generation(Settings(payments=count, accounts=accounts, seed=seed, rate=rate, start_ms=now_ms)))


def from_files(paths: Iterable[str], rate: int, now: Callable[[], float] = time.time) -> Iterator[Record]:
    """The records of files in their order, `rate` a second from now on, each with the claimed time of when it is due.

    What happened meanwhile in the files' own time has no time to happen: a hold expires after its own timeout all the same.
    """
    reading = Reading(REGISTRY, client_time, client_key)
    start = now() * 1000
    for number, record in enumerate(chain.from_iterable(records_of(path, reading) for path in paths)):
        at = int(start + number * 1000 / rate)
        yield moved(record, at)


def moved(record: Record, at: int) -> Record:
    """The record at another time, claimed and of append; what cannot be decoded keeps its bytes, and has headers no more."""
    try:
        event = REGISTRY.decode(record.value or b"")
    except BadRecord:
        return record._replace(at=at, headers=())
    if hasattr(event, "requested_at"):
        return record._replace(at=at, value=REGISTRY.encode(event._replace(requested_at=at)), headers=())
    return record._replace(at=at, headers=())


def send(
    records: Iterable[Record],
    writer: LiveWriter,
    stopped: Callable[[float], bool],
    told: Callable[[Sent], None] = lambda sent: None,
    now: Callable[[], float] = time.time,
) -> Sent:
    """Writes each record when its time has come; ends with the records, or when `stopped`, which waits so many seconds.

    Account changes are acknowledged before a payment after them is sent, so that no payment overtakes the opening of its account.
    WriteFailed when the broker takes no more.
    """
    payments = others = 0
    changed = False
    due_ms = now() * 1000
    for record in records:
        while record.at > due_ms or not (payments + others) % _LOOK:  # also when it cannot keep up with its rate
            writer.write([])
            told(Sent(payments, others))
            if stopped(min(_TURN_S, max(0, record.at - due_ms) / 1000)):
                writer.flush()
                return Sent(payments, others)
            due_ms = now() * 1000
            if record.at <= due_ms:
                break
        targets = list(entry(record))
        to_payments = targets[0][0] == topics.INCOMING.name
        if to_payments and changed:
            writer.flush()
            changed = False
        writer.write([(topic, partition, record.key, record.value or b"") for topic, partition in targets])
        payments, others = payments + to_payments, others + (not to_payments)
        changed = changed or not to_payments
    writer.flush()
    told(Sent(payments, others))
    return Sent(payments, others)
