"""The source alone: records a second from a real broker to chunks, read by one consumer on one core.

Topics of 80-byte payments, with and without the origin that stages write, are read from the first record to the end. What is timed is
what `ReadLog` does in a worker: taking records from librdkafka, encoding them, claiming the offsets. Seconds are those that the process
has a core, librdkafka's threads included: what one core does, whatever else the machine is busy with. `python -m bench.live_source` starts
a broker and prints the rows.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from confluent_kafka import Producer

from schemas.rails import Source
from stack.kafka import running_broker
from transforms.kafka_headers import HeaderWriter, Headings
from transforms.kafka_settings import kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.log_chunks import _POOL, Latest, ReadLog, ReadPace
from transforms.topic_settings import TopicSettings

PARTITIONS = 4
RECORDS = 1_000_000
PORT = 22_800
TOPICS = {"plain": False, "origins": True}


def fill(servers: str, records: int) -> None:
    """Writes both topics; the same values each time."""
    topics = KafkaTopics(kafka_settings(servers, environment={}))
    topics.create([TopicSettings(name, PARTITIONS, replicas=1, in_sync=1) for name in TOPICS])
    for name, with_origin in TOPICS.items():
        producer = Producer({"bootstrap.servers": servers, "linger.ms": 20, "queue.buffering.max.messages": 500_000})
        rng, last = random.Random(7), dict[int, tuple[int, int]]()
        writers = [
            HeaderWriter(Source("accounts", "wkJQb_HWR0ylDVcMHeIahQ", n), Headings(trace=False)) for n in range(16)
        ]
        for number in range(records):
            partition, writer = number // 1000 % PARTITIONS, number % 16
            shard = partition * 16 + writer
            place = number // 3, number % 3
            headers = writers[writer].of_output(*place, last.get(shard), 0, "", None) if with_origin else None
            last[shard] = place
            value, key = b"\0\0\0\0\x64" + rng.randbytes(75), b"account-%06d" % rng.randrange(100_000)
            while True:
                try:
                    producer.produce(name, value, key, partition, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
        if producer.flush(120):
            raise RuntimeError(f"the broker did not take the records of {name}")
    topics.close()


class _NoFinalizer:
    def register(self, callback: Any) -> None:
        """Nothing is committed."""


def read(servers: str, topic: str) -> tuple[int, float]:
    """(records, seconds of a core) from the first chunk on: what comes before it is connecting."""
    source = ReadLog(
        kafka_settings(servers, environment={}), topic, PARTITIONS, end=Latest(), groups=1, pace=ReadPace()
    )
    fn = source._read
    (group,) = fn.groups
    where, watermark = fn.initial_restriction(group), ManualWatermarkEstimator(MIN_TIMESTAMP)
    total, first = where.left, None
    while not where.done:
        tracker = ThreadsafeRestrictionTracker(fn.create_tracker(where))
        for _ in fn.process(group, _NoFinalizer(), RestrictionTrackerView(tracker), watermark):
            first = first or time.process_time()
        rest = tracker.deferred_status()
        if rest is None:
            break
        where = rest[0]
    seconds = time.process_time() - (first or 0.0)
    _POOL.clear()  # the next round begins with nothing fetched
    return total, seconds


def measure(repeats: int = 5, records: int = RECORDS, port: int = PORT) -> list[dict[str, Any]]:
    """The rows of this benchmark: medians of `repeats` runs, the topics in turns."""
    if repeats < 1 or records < 1:
        raise ValueError(f"repeats and records must be at least 1, got {repeats} and {records}")
    rates: dict[str, list[float]] = {name: [] for name in TOPICS}
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder) / "kafka", port) as broker:
        fill(broker.bootstrap, records)
        for _ in range(repeats):
            for name in TOPICS:
                count, seconds = read(broker.bootstrap, name)
                rates[name].append(count / seconds)
    names = {"plain": "source alone, Kafka to chunks", "origins": "source alone, records with origins"}
    return [
        {
            "name": names[name],
            "unit": "records/s",
            "value": round(statistics.median(found)),
            "baseline": None,
            "ratio": None,
            "floor": 200_000,
            "aim": 400_000,
            "floor_is": "value",
        }
        for name, found in rates.items()
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--port", type=int, default=PORT)
    args = parser.parse_args(argv)
    json.dump(measure(args.repeats, args.records, args.port), sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
