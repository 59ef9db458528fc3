"""Topics: makes the topics of payments and auctions that are missing on the broker, and says how others differ from theirs.

Exit status 1 when one differs: partition counts and timestamp types never change under a running topic. docs/operations.md.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

from auctions import analytics_topics
from auctions import topics as auction_topics
from payments.topics import SETTINGS, WEEK_MS
from pipelines.common import UsageError, check_range, main, parse_options
from pipelines.live_options import BrokerOptions, broker_settings
from transforms.kafka_client import KafkaFailure
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import TIMEOUT, KafkaTopics
from transforms.topic_settings import Difference, TopicSettings

METRICS = TopicSettings("rails.metrics", 1, WEEK_MS)
"""Summaries of the lanes, JSON; nothing of money or outcomes reads it."""

ALL = (*SETTINGS, METRICS)
"""What payments need."""

PLATFORM = tuple({topic.name: topic for topic in (*auction_topics.SETTINGS, *analytics_topics.SETTINGS, *ALL)}.values())
"""What payments and auctions need."""


class TopicsOptions(BrokerOptions):
    """Makes and checks the topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_broker(parser)
        parser.add_argument(
            "--replication",
            type=int,
            default=1,
            help="replicas of each partition: 3 on a cluster, 1 on a single broker",
        )
        parser.add_argument(
            "--partitions",
            type=int,
            default=SETTINGS[0].partitions,
            help="to be sure of: every stage computes with the number in payments/topics.py, and another one is refused",
        )
        parser.add_argument("--check", action="store_true", help="make nothing, only compare")


def wanted_topics(replication: int, topics: Sequence[TopicSettings] = ALL) -> list[TopicSettings]:
    """The topic table with so many replicas, all but one of them in sync."""
    return [replace(topic, replicas=replication, in_sync=max(1, replication - 1)) for topic in topics]


def make_topics(
    settings: KafkaSettings, replication: int = 1, check: bool = False, table: Sequence[TopicSettings] = ALL
) -> tuple[list[str], list[Difference]]:
    """(names of the topics that were made, how topics differ)."""
    wanted = wanted_topics(replication, table)
    topics = KafkaTopics(settings)
    try:
        made = [] if check else topics.create(wanted)
        for name in made:
            _await_offsets(topics, name)
        return made, topics.differences(wanted)
    finally:
        topics.close()


def _await_offsets(topics: KafkaTopics, name: str) -> None:
    """A broker that leads a new partition may for a moment not know it yet, and refuse whoever asks."""
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            topics.watermarks(name)
            return
        except KafkaFailure:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def run(argv: list[str]) -> int:
    options = parse_options(argv, TopicsOptions)
    check_range(options, replication=(1, 15))
    if options.partitions != SETTINGS[0].partitions:
        raise UsageError(f"the stages are built for {SETTINGS[0].partitions} (payments/topics.py)", "--partitions")
    made, differences = make_topics(broker_settings(options), options.replication, options.check, PLATFORM)
    for name in made:
        print(f"made: {name}")
    for difference in differences:
        print(f"differs: {difference}")
    if not differences:
        print(f"topics: all {len(PLATFORM)} are as they should be")
    return 1 if differences else 0


if __name__ == "__main__":
    main(run)
