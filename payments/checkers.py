"""Pure checkers of the invariants of a payment system, over the logs that it left and over the states of its shards.

Each gives a list of violations, one line each: what is wrong, and where; an empty list means that the invariant holds. They trust no
code of the processors: balances, limits and states are computed again from the records. Partitions of payments.journal and of
payments.inflight with the same number belong together (the topics have the same number of partitions). The numbers in the headings are
those of the invariants in docs/testing.md.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from payments import topics
from payments.admission import CLOCK_TOLERANCE_MS, Admission
from payments.check_balances import check_balances
from payments.check_flows import check_causes, check_decodable, check_flows
from payments.check_holds import check_holds
from payments.check_journal import check_journal_order, check_limits, check_postings, check_transit
from payments.check_payments import check_books, check_effects, check_ends
from payments.logs import Item, Logs, effective, events, partitions, read_logs, slashed
from schemas.payments import LedgerEntry, PaymentStatus
from schemas.rails import DeadLetter, Source
from transforms.fold import DEAD_LETTERS, Shard
from transforms.topic_settings import DAY_MS

__all__ = [
    "Item",
    "Logs",
    "check_all",
    "check_balances",
    "check_books",
    "check_causes",
    "check_counts",
    "check_decodable",
    "check_effects",
    "check_ends",
    "check_flows",
    "check_gapless",
    "check_holds",
    "check_journal_order",
    "check_limits",
    "check_once",
    "check_postings",
    "check_transit",
    "compare_logs",
    "compare_shards",
    "effective",
    "read_logs",
]


# --- 2: once ---


def check_once(logs: Logs, memory_ms: int = DAY_MS + CLOCK_TOLERANCE_MS) -> list[str]:
    """At most one effect per origin, and per idempotency key as often as admission has admitted it, which is once in `memory_ms`."""
    found = []
    places: dict[Source, dict[tuple[int, int], tuple[str, int, int]]] = defaultdict(dict)
    for topic in sorted(logs):
        for partition, items in partitions(logs, topic) if topic != topics.INCOMING.name else ():
            for record, _ in items:
                if record.origin is not None:
                    source, offset, index, _ = record.origin
                    place = topic, partition, record.offset
                    first = places[source].setdefault((offset, index), place)
                    if first is not place:
                        found.append(f"{slashed(place)}: the same origin as {slashed(first)}")
    admitted: dict[str, list[int]] = defaultdict(list)
    for where, _, status in events(logs, topics.STATUS.name, PaymentStatus):
        if status.stage == Admission.stage and not status.attempt:
            earlier = admitted[status.payment_id]
            if earlier and status.at - earlier[-1] <= memory_ms:
                found.append(f"{where}: payment {status.payment_id} was decided {status.at - earlier[-1]} ms before")
            earlier.append(status.at)
    effects: Counter[tuple[str, str, str]] = Counter()
    for where, _, entry in events(logs, topics.JOURNAL.name, LedgerEntry):
        key = entry.payment_id, entry.account_id, entry.leg
        effects[key] += 1
        if effects[key] > max(1, len(admitted[entry.payment_id])):
            found.append(f"{where}: another {entry.leg} of payment {entry.payment_id} on {entry.account_id}")
    return found


# --- 3: counts ---


def check_counts(shards: Iterable[Shard], logs: Logs | None = None) -> list[str]:
    """consumed = applied + dead-lettered + duplicate + late + ticks, in each shard; with logs, its dead letters are there too."""
    buried: Counter[tuple[str, str, int]] = Counter()
    if logs is not None:
        for _, _, letter in events(logs, DEAD_LETTERS.name, DeadLetter):
            buried[letter.stage, letter.topic, letter.partition] += 1
    found = []
    for shard in shards:
        counts, where = shard.counts.as_dict(), slashed(shard.source)
        if sum(counts.values()) != shard.offset:
            found.append(f"{where}: {counts} do not add up to {shard.offset} records")
        if logs is not None and counts["dead_lettered"] != buried[shard.source]:
            found.append(f"{where}: {counts['dead_lettered']} dead-lettered, {buried[shard.source]} dead letters")
    return found


def check_gapless(logs: Logs) -> list[str]:
    """What a shard writes to a partition stands there in order and complete: each record's `prev` is the one before it."""
    found = []
    for topic in sorted(logs):
        for partition, items in partitions(logs, topic) if topic != topics.INCOMING.name else ():
            last: dict[Source, tuple[int, int]] = {}
            for record, _ in items:
                if record.origin is None:
                    continue
                source, offset, index, prev = record.origin
                if (None if prev is None else tuple(prev)) != last.get(source):
                    found.append(
                        f"{topic}/{partition}/{record.offset}: follows {_dotted(prev)} of {slashed(source)}, "
                        f"but {_dotted(last.get(source))} is before it"
                    )
                last[source] = offset, index
    return found


def _dotted(position: tuple[int, int] | None) -> str:
    return "nothing" if position is None else f"{position[0]}.{position[1]}"


# --- 7: live = replay ---


def compare_logs(live: Logs, replayed: Logs, stage: str) -> list[str]:
    """What `stage` wrote live and in a replay, byte for byte: per partition and writing shard the same records in order."""
    one, other, found = _written(live, stage), _written(replayed, stage), []
    for place in sorted(set(one) | set(other)):
        a, b = one.get(place, []), other.get(place, [])
        where = f"{place[0]}/{place[1]} from {slashed(place[2])}"
        different = next((n for n, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), None)
        if different is not None:
            found.append(f"{where}: record {different} differs")
        elif len(a) != len(b):
            found.append(f"{where}: {len(a)} records live, {len(b)} in the replay")
    return found


def _written(logs: Logs, stage: str) -> dict[tuple[str, int, Source], list[tuple[Any, ...]]]:
    written: dict[tuple[str, int, Source], list[tuple[Any, ...]]] = defaultdict(list)
    for topic in logs:
        for partition, items in partitions(logs, topic):
            for record, _ in items:
                if record.origin is not None and record.origin.source.stage == stage:
                    written[topic, partition, record.origin.source].append((record.origin, record.key, record.value))
    return written


_STATE = ("source", "offset", "clock", "version", "deadlines", "marks", "prevs", "entities")


def compare_shards(live: Shard, replayed: Shard) -> list[str]:
    """Two shards that folded the same log are the same, to the order of their entities."""
    where = slashed(live.source)
    found = [f"{where}: {name} differs" for name in _STATE if getattr(live, name) != getattr(replayed, name)]
    if list(live.entities) != list(replayed.entities):
        found.append(f"{where}: the order of the entities differs")
    if live.counts.as_dict() != replayed.counts.as_dict():
        found.append(f"{where}: {live.counts.as_dict()} live, {replayed.counts.as_dict()} in the replay")
    codec = live.processor.shared_codec
    if codec is not None and codec.encode(live.shared) != codec.encode(replayed.shared):
        found.append(f"{where}: the shared state differs")
    if live.position_checksum() != replayed.position_checksum():
        found.append(f"{where}: the record before {live.offset} differs")
    return found


# --- all of them ---


def check_all(
    logs: Logs,
    shards: Iterable[Shard] = (),
    *,
    drained: bool = True,
    memory_ms: int = DAY_MS + CLOCK_TOLERANCE_MS,
) -> list[str]:
    """Every invariant that logs and shards show by themselves. `drained`: the input has ended and nothing is on its way any more."""
    return [
        *check_decodable(logs),
        *check_postings(logs),
        *check_transit(logs),
        *check_once(logs, memory_ms),
        *check_counts(shards, logs),
        *check_limits(logs),
        *check_holds(logs),
        *check_journal_order(logs),
        *(check_balances(logs) if drained else ()),
        *check_gapless(logs),
        *check_ends(logs, drained),
        *check_effects(logs),
        *check_books(logs),
        *check_causes(logs),
        *check_flows(logs),
    ]
