"""Everything that stands on a topic of a broker."""

from collections.abc import Iterator

from schemas.rails import Record
from transforms.kafka_settings import KafkaSettings
from transforms.log_reader import LogReader

_QUIET_READS = 20  # in a row without a record, of 0.1 s


def read_all(settings: KafkaSettings, topic: str, partitions: int, from_clients: bool = False) -> Iterator[Record]:
    """Everything on a topic, to its end now."""
    reader = LogReader(settings.resolved(), topic, "chaos.check", from_clients)
    try:
        bounds = reader.bounds(range(partitions))
        places = {number: bound.low for number, bound in bounds.items() if bound.low < bound.end}
        reader.seek(places)
        left = sum(bound.end - bound.low for bound in bounds.values())
        quiet = 0
        while left > 0 and quiet < 50 * _QUIET_READS:
            found = reader.read(5_000, 0.1)
            quiet = 0 if found else quiet + 1
            for fetched in found:
                left -= len(fetched)
                yield from fetched.records()
    finally:
        reader.close()
