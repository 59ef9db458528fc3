"""The topics of a broker, up to their ends at launch, as topics on disk: what `verify` and `payments_replay` take.

Nothing is dropped, repeats are there as they stand on the wire; of payments.balances, a topic of upserts, the newest version of each
account. `ids.json` beside the topics has their ids, which origins and dead letters name.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam

from auctions import topics as auction_topics
from payments import topics
from pipelines.common import UsageError
from transforms.fold import Topic
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import KafkaTopics
from transforms.log_chunks import AtOffsets, ReadLog
from transforms.newest_upserts import KeepNewestUpserts
from transforms.topic_files import WriteTopics

IDS = "ids.json"
GROUPS = 2  # consumers of a topic


UPSERTS = frozenset(
    topic.name for topic in (topics.BALANCES, auction_topics.CURRENT, auction_topics.PRICES, auction_topics.RANGES)
)
CLIENTS = frozenset((topics.INCOMING.name, auction_topics.ITEMS.name, auction_topics.BIDS.name))


def find_ends(settings: KafkaSettings, wanted: Sequence[Topic] = topics.ALL) -> dict[str, list[int]]:
    """The ends of all partitions now, by topic.

    Raises:
        UsageError: a topic of the log does not begin at offset 0, so that nothing can be said of what was before.
    """
    kafka = KafkaTopics(settings)
    try:
        ends = {}
        for topic in wanted:
            marks = kafka.watermarks(topic.name)
            for partition, (low, _) in enumerate(marks):
                if low > 0 and topic.name not in UPSERTS:
                    raise UsageError(
                        f"begins at {low}: retention has taken what the checks need", f"{topic.name}/{partition}"
                    )
            ends[topic.name] = [high for _, high in marks]
        return ends
    finally:
        kafka.close()


def find_ids(settings: KafkaSettings, wanted: Sequence[Topic] = topics.ALL) -> dict[str, str]:
    """The ids of the topics, by name."""
    kafka = KafkaTopics(settings)
    try:
        return {name: info.id for name, info in sorted(kafka.find([topic.name for topic in wanted]).items())}
    finally:
        kafka.close()


def build_recording(
    p: beam.Pipeline,
    settings: KafkaSettings,
    ends: dict[str, list[int]],
    folder: Path,
    wanted: Sequence[Topic] = topics.ALL,
) -> None:
    """Topics of a broker up to `ends`, to files below `folder`."""
    read = []
    for topic in wanted:
        chunks = p | f"Read {topic.name}" >> ReadLog(
            settings,
            topic.name,
            topic.partitions,
            end=AtOffsets(tuple(enumerate(ends[topic.name]))),
            groups=GROUPS,
            compacted=topic.name in UPSERTS,
            from_clients=topic.name in CLIENTS,
        )
        newest = "Newest" if topic is topics.BALANCES else f"Newest {topic.name}"
        read.append(chunks | newest >> KeepNewestUpserts() if topic.name in UPSERTS else chunks)
    _ = read | "Merge" >> beam.Flatten() | "Write" >> WriteTopics(folder, {t.name: t.partitions for t in wanted})


def write_ids(folder: Path, ids: dict[str, str]) -> None:
    (folder / IDS).write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")


def read_ids(folder: Path) -> dict[str, str]:
    """The ids beside topics on disk, by name; none beside those of an in-memory run, where the name is the id.

    Raises:
        UsageError: the file is not such a list.
    """
    path = folder / IDS
    if not path.exists():
        return {}
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("cannot be read", path) from error
    if not isinstance(ids, dict) or not all(isinstance(each, str) for each in ids.values()):
        raise UsageError("is no list of topic ids", path)
    return ids
