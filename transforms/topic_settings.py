"""Settings of Kafka topics as plain data: what a topic of the log must be like, and how one that is there differs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

DAY_MS = 24 * 60 * 60 * 1000
KEEP = -1  # as retention_ms: for ever
MESSAGE_BYTES = 1_048_588  # Kafka's default: a value of 1 MiB less what frames it
LARGEST_MESSAGE = 1 << 30


@dataclass(frozen=True)
class TopicSettings:
    """One topic.

    retention_ms: how long records stay, KEEP for ever. compact: only the newest record of a key stays (upserts). append_time: the
    broker stamps records (contract line 2), which every log topic needs. message_bytes: the largest batch; a topic of dead letters
    takes twice the size of what is refused. replicas and in_sync are the cluster's: three and two, unless it is a local one.
    """

    name: str
    partitions: int = 16
    retention_ms: int = KEEP
    compact: bool = False
    append_time: bool = True
    message_bytes: int = MESSAGE_BYTES
    replicas: int = 3
    in_sync: int = 2

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a topic needs a name")
        for what, least, most in [
            ("partitions", 1, 1 << 31),
            ("message_bytes", 1000, LARGEST_MESSAGE),
            ("replicas", 1, 1 << 15),
            ("in_sync", 1, self.replicas),
        ]:
            value = getattr(self, what)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"topic {self.name}: {what} must be {least} to {most}, got {value!r}")
        if type(self.retention_ms) is not int or (self.retention_ms < 1 and self.retention_ms != KEEP):
            raise ValueError(f"topic {self.name}: retention_ms must be at least 1, or KEEP, got {self.retention_ms!r}")
        if self.compact and self.retention_ms != KEEP:
            raise ValueError(
                f"topic {self.name}: a compacted topic keeps the newest of each key, so retention_ms is KEEP"
            )

    def config(self) -> dict[str, str]:
        """Kafka's names and values. Retention by size is off: it would take what retention by time promises."""
        return {
            "cleanup.policy": "compact" if self.compact else "delete",
            "max.message.bytes": str(self.message_bytes),
            "message.timestamp.type": "LogAppendTime" if self.append_time else "CreateTime",
            "min.insync.replicas": str(self.in_sync),
            "retention.bytes": "-1",
            "retention.ms": str(self.retention_ms),
            "unclean.leader.election.enable": "false",
        }


class Difference(NamedTuple):
    """A topic that is not as it should be; its text is one line."""

    topic: str
    what: str
    found: str
    wanted: str

    def __str__(self) -> str:
        if self.what == "topic":
            return f"{self.topic}: {self.found}"
        return f"{self.topic}: {self.what} is {self.found}, should be {self.wanted}"


def differences(
    wanted: TopicSettings, partitions: int, replicas: int, config: Mapping[str, str]
) -> Iterator[Difference]:
    """How a topic with this number of partitions, smallest number of replicas and these settings differs from the wanted one.

    More replicas, and room for larger messages, are no difference.
    """

    def difference(what: str, found: object, should: object) -> Difference:
        return Difference(wanted.name, what, str(found), str(should))

    if partitions != wanted.partitions:
        yield difference("number of partitions", partitions, wanted.partitions)
    if replicas < wanted.replicas:
        yield difference("number of replicas", replicas, wanted.replicas)
    for name, value in wanted.config().items():
        found = config.get(name, "unknown")
        if found == value or (name == "max.message.bytes" and found.isdecimal() and int(found) > int(value)):
            continue
        yield difference(name, found, value)
