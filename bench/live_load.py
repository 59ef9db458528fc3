"""Load for the live benchmarks: payments of the generator, appended all at once or at a rate, and what the topics say of it afterwards."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from confluent_kafka import Producer

from bench.broker import ends, read
from payments import topics
from payments.generator import Generation, Settings
from pipelines.live_writer import Line
from pipelines.payments import entry
from transforms.fold import Topic

_TURN_S = 0.005  # between two looks at the clock


class Load(NamedTuple):
    """Records ready to be appended; account changes and rules first, they are not part of the load."""

    before: list[Line]
    payments: list[Line]


def make_load(payments: int, accounts: int, rate: int, seed: int = 7) -> Load:
    """The generator's stream, planted faults and repeats among it, claimed times from now on."""
    made = Load([], [])
    for line in stream(payments, accounts, rate, seed):
        (made.payments if line[0] == topics.INCOMING.name else made.before).append(line)
    return made


def stream(payments: int, accounts: int, rate: int, seed: int = 7) -> Iterator[Line]:
    """The same as it comes, one by one."""
    settings = Settings(payments=payments, accounts=accounts, seed=seed, rate=rate, start_ms=int(time.time() * 1000))
    for record in Generation(settings):
        for topic, partition in entry(record):
            yield topic, partition, record.key, record.value or b""


def append(bootstrap: str, lines: Iterable[Line], rate: float | None = None) -> float:
    """Appends all, `rate` a second if one is given; the seconds that it took until all was acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 2 if rate else 20,
            "compression.type": "lz4",
            "acks": "all",
            "log_level": "0",
        }
    )
    began = time.monotonic()
    for number, (topic, partition, key, value) in enumerate(lines):
        if rate:
            while (early := number / rate - (time.monotonic() - began)) > 0:
                producer.poll(0)
                time.sleep(max(early, _TURN_S))
        while True:
            try:
                producer.produce(topic, value, key, partition)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return time.monotonic() - began


def ends_of(bootstrap: str, topic: Topic) -> list[int]:
    """The end of each partition."""
    return ends(bootstrap, topic.name, topic.partitions)


def first_times(bootstrap: str, topic: Topic, starts: list[int]) -> dict[bytes, int]:
    """Append time (ms) of the first record of each key from these offsets on.

    The first append counts: a repeat of a payment, and an output written again by a restored lane, do not.
    """
    found: dict[bytes, int] = {}
    for at, key, _ in read(bootstrap, topic.name, topic.partitions, starts):
        found.setdefault(key, at)
    return found


def quantile(values: list[int], share: float) -> int:
    """Of sorted values; -1 of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else -1


def shares_of(values: Iterable[int]) -> dict[str, int]:
    """The percentiles that are reported, by name."""
    found = sorted(values)
    return {f"p{share:g}": quantile(found, share / 100) for share in (50, 95, 99, 99.9)}


def await_steady(look: Callable[[], Any], seconds: float, patience_s: float) -> None:
    """Returns when `look` has said the same for so many seconds."""
    last, since, end = look(), time.monotonic(), time.monotonic() + patience_s
    while time.monotonic() - since < seconds:
        if time.monotonic() > end:
            raise SystemExit(f"not done within {patience_s:g} s")
        time.sleep(0.5)
        now = look()
        if now != last:
            last, since = now, time.monotonic()
