"""Logs as the checkers read them: the effective records of every topic, decoded."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from payments import topics
from payments.accounts import AccountProcessor
from schemas.rails import DeadLetter, Record, Source
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS

Item = tuple[Record, Any]
"""A record and its decoded event; None for a value that cannot be decoded."""

Logs = Mapping[str, Mapping[int, Sequence[Item]]]
"""Topic name → partition → the effective records: what is left when a reader has dropped repeats. A topic may be missing: it is empty."""


def read_logs(
    pieces: Iterable[tuple[str, int, Iterable[Record]]],
    decode: Callable[[bytes], Any],
    client_topics: Iterable[str] = (topics.INCOMING.name,),
) -> dict[str, dict[int, list[Item]]]:
    """Logs of (topic, partition, records in order) pieces, several of one partition one after another; repeats are dropped."""
    raw: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for topic, partition, records in pieces:
        raw[topic, partition] += records
    clients = frozenset(client_topics)
    logs: dict[str, dict[int, list[Item]]] = {}
    for (topic, partition), held in raw.items():
        kept = held if topic in clients else effective(held)
        logs.setdefault(topic, {})[partition] = [(record, _decoded(record, decode)) for record in kept]
    return logs


def effective(records: Iterable[Record]) -> list[Record]:
    """What a reader of the partition applies: of each writing shard only records above the highest (offset, index) seen so far."""
    marks: dict[Source, tuple[int, int]] = {}
    kept = []
    for record in records:
        if record.origin is not None:
            source, offset, index, _ = record.origin
            if (offset, index) <= marks.get(source, (-1, -1)):
                continue
            marks[source] = offset, index
        kept.append(record)
    return kept


def _decoded(record: Record, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(record.value or b"")
    except BadRecord:
        return None


def partitions(logs: Logs, topic: str) -> Iterator[tuple[int, Sequence[Item]]]:
    yield from sorted(logs.get(topic, {}).items())


def events(logs: Logs, topic: str, kind: type) -> Iterator[tuple[str, Record, Any]]:
    """(where, record, event) of all events of a type."""
    for partition, items in partitions(logs, topic):
        for record, event in items:
            if type(event) is kind:
                yield f"{topic}/{partition}/{record.offset}", record, event


def by_offset(logs: Logs, topic: str) -> dict[int, dict[int, Item]]:
    """Partition → offset → item."""
    return {number: {item[0].offset: item for item in items} for number, items in partitions(logs, topic)}


def slashed(parts: Iterable[Any]) -> str:
    return "/".join(map(str, parts))


def refused_changes(logs: Logs) -> set[tuple[int, int]]:
    """(partition, offset) of the records of payments.inflight that are dead letters."""
    return {
        (letter.partition, letter.offset)
        for _, _, letter in events(logs, DEAD_LETTERS.name, DeadLetter)
        if letter.stage == AccountProcessor.stage
    }
