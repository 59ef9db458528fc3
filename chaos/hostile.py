"""Messages that clients should never send, and ordinary payments in unusual numbers."""

import gzip
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import Producer

from payments import topics
from pipelines.live_writer import Line
from pipelines.registry import REGISTRY
from schemas.payments import Money, PaymentInitiated, PaymentStatus
from schemas.rails import Origin, Source
from transforms.kafka_headers import ORIGIN, encode_origin
from transforms.kafka_settings import KafkaSettings

_LONG = (1 << 63) - 1


class Hostile(NamedTuple):
    """A record for payments.incoming."""

    name: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def _payment(payment_id: str, debtor: str = "acc-0000001", creditor: str = "acc-0000002") -> PaymentInitiated:
    now = int(time.time() * 1000)
    return PaymentInitiated(
        payment_id, "TRANSFER", debtor, creditor, Money(1, "EUR"), None, None, None, "chaos", "chaos", now
    )


def payments(name: str, count: int, debtor: str, creditor: str, partition: int | None = None) -> list[Line]:
    """So many payments of one minor unit; with `partition` only such as belong there."""
    found: list[Line] = []
    number = 0
    while len(found) < count:
        payment = _payment(f"{name}-{number}", debtor, creditor)
        key, number = payment.payment_id.encode(), number + 1
        where = topics.INCOMING.partition_of(key)
        if partition is None or where == partition:
            found.append((topics.INCOMING.name, where, key, REGISTRY.encode(payment)))
    return found


def lines(name: str, card: str) -> list[Hostile]:
    """Hostile records, the card number among them in keys, headers, fields and broken bytes."""
    payment = _payment(f"{name}-good")
    key, good = payment.payment_id.encode(), REGISTRY.encode(payment)

    def changed(what: str, **changes: Any) -> Hostile:
        made = _payment(f"{name}-{what}")._replace(**changes)
        return Hostile(what, made.payment_id.encode(), REGISTRY.encode(made))

    status = PaymentStatus("p", "VOID", "ACTC", None, None, None, None, Money(1, "EUR"), "s", False, False, 0, 1, 0)
    forged = Origin(Source("payments.admission", "payments.incoming", 0), 1 << 40, 0, None)
    number = card.encode()
    return [
        Hostile("tombstone", key, None),
        Hostile("empty", key, b""),
        Hostile("wrong magic byte", key, b"\x01" + good[1:]),
        Hostile("JSON with a card", key, b'{"card": "' + number + b'"}'),
        Hostile("compressed", key, gzip.compress(good, mtime=0)),
        Hostile("half a frame", key, good[:4]),
        Hostile("unknown schema", key, b"\0\xff\xff\xff\xff" + good[5:]),
        Hostile("another type", key, REGISTRY.encode(status)),
        Hostile("cut", key, good[: len(good) // 2]),
        Hostile("too long", key, good + number),
        Hostile("endless number", key, good[:5] + b"\xff" * 5000),
        Hostile("length of two gigabytes", key, good[:5] + b"\xfe\xff\xff\xff\x0fp"),
        Hostile("negative length", key, good[:5] + b"\x01"),
        Hostile("bad UTF-8", key, good[:5] + b"\x04\xff\xfe" + good[7:]),
        Hostile("nearly a mebibyte", key, good + bytes(1_000_000)),
        Hostile("no key", None, good),
        Hostile("another key", number, good),
        Hostile("headers with a card", key, b"?", tuple((f"h{n}", number) for n in range(1000))),
        Hostile("forged origin", key, b"?", ((ORIGIN, encode_origin(forged)),)),
        Hostile("origin of garbage", key, b"?", ((ORIGIN, b"\xff"),)),
        changed("largest amount", amount=Money(_LONG, "EUR")),
        changed("negative amount", amount=Money(-1, "EUR")),
        changed("unknown currency", amount=Money(1, "XXX")),
        changed("end of time", requested_at=_LONG),
        changed("1970", requested_at=0),
        changed("card as debtor", debtor_account=card),
        changed("card as reference", reference=card, debtor_account=None),
        changed("to itself", creditor_account="acc-0000001"),
    ]


def append(settings: KafkaSettings, records: Sequence[Hostile]) -> None:
    """Appends them to payments.incoming as a client of another kind would; RuntimeError when the broker does not take them."""
    failed: list[str] = []

    def told(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(error.str())

    producer = Producer({**settings.resolved(), "acks": "all", "message.max.bytes": 2_000_000})
    for record in records:
        partition = topics.INCOMING.partition_of(record.key)
        producer.produce(
            topics.INCOMING.name,
            record.value,
            record.key,
            partition,
            told,
            headers=list(record.headers),
        )
    if producer.flush(30) or failed:
        raise RuntimeError(f"hostile messages were not appended: {failed[:1]}")
