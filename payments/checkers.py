"""Pure checkers of the invariants of a payment system, over the logs that it left and over the states of its shards.

Each gives a list of violations, one line each: what is wrong, and where; an empty list means that the invariant holds. They trust no
code of the processors: balances, limits and states are computed again from the records. Partitions of payments.journal and of
payments.inflight with the same number belong together (the topics have the same number of partitions). The numbers in the headings are
those of the invariants in docs/testing.md.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from payments import topics
from payments.accounts import AccountProcessor
from payments.admission import CLOCK_TOLERANCE_MS, DAY_MS, Admission
from schemas.payments import (
    AccountLimited,
    AccountOpened,
    LedgerEntry,
    LedgerLeg,
    PaymentConfirmed,
    PaymentStatus,
)
from schemas.rails import DeadLetter, Record, Source
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS, Shard

Item = tuple[Record, Any]
"""A record and its decoded event; None for a value that cannot be decoded."""

Logs = Mapping[str, Mapping[int, Sequence[Item]]]
"""Topic name → partition → the effective records: what is left when a reader has dropped repeats. A topic may be missing: it is empty."""

_SIGN = {"CREDIT": 1, "UNWIND": 1, "DEBIT": -1, "CAPTURE": -1, "HOLD": 0, "RELEASE": 0}
_PENDING = {"HOLD": 1, "RELEASE": -1, "CAPTURE": -1}


# --- reading logs ---


def read_logs(
    partitions: Iterable[tuple[str, int, Iterable[Record]]],
    decode: Callable[[bytes], Any],
    client_topics: Iterable[str] = (topics.INCOMING.name,),
) -> dict[str, dict[int, list[Item]]]:
    """Logs of (topic, partition, records in order) triples, several of one partition one after another; repeats are dropped."""
    raw: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for topic, partition, records in partitions:
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


def _partitions(logs: Logs, topic: str) -> Iterator[tuple[int, Sequence[Item]]]:
    yield from sorted(logs.get(topic, {}).items())


def _events(logs: Logs, topic: str, kind: type) -> Iterator[tuple[str, Record, Any]]:
    """(where, record, event) of all events of a type."""
    for partition, items in _partitions(logs, topic):
        for record, event in items:
            if type(event) is kind:
                yield f"{topic}/{partition}/{record.offset}", record, event


# --- 1: postings ---


def check_postings(logs: Logs) -> list[str]:
    """Σ postings per currency = 0 in every prefix of every partition of the journal, in integers, each side of a pair checked by itself."""
    found = []
    for partition, items in _partitions(logs, topics.JOURNAL.name):
        balances: dict[str, int] = {}  # as the journal states them, accounts and contra accounts
        totals: dict[str, int] = defaultdict(int)  # of what it states, per currency
        for record, entry in items:
            if type(entry) is not LedgerEntry:
                continue
            where = f"{topics.JOURNAL.name}/{partition}/{record.offset} {entry.account_id} v{entry.version}"
            numbers = (entry.amount.minor, entry.balance, entry.available, entry.pending, entry.contra_balance)
            if any(type(number) is not int for number in numbers):
                found.append(f"{where}: not an integer")
                continue
            minor, currency = entry.amount
            sign = _SIGN.get(entry.leg)
            if sign is None:
                found.append(f"{where}: a leg {entry.leg} posts nothing")
                continue
            if minor <= 0:
                found.append(f"{where}: amount {minor} is not positive")
            expected = balances.get(entry.account_id, 0) + sign * minor
            if entry.balance != expected:
                found.append(f"{where}: balance {entry.balance}, expected {expected}")
            totals[currency] += entry.balance - balances.get(entry.account_id, 0)
            balances[entry.account_id] = entry.balance
            if sign == 0:
                if entry.contra is not None:
                    found.append(f"{where}: a {entry.leg} moves no money, but has the contra account {entry.contra}")
            elif entry.contra not in (f"~transit/{partition}/{currency}", f"~outside/{partition}/{currency}"):
                found.append(f"{where}: {entry.contra} is no contra account of this partition and currency")
            else:
                expected = balances.get(entry.contra, 0) - sign * minor
                if entry.contra_balance != expected:
                    found.append(f"{where}: {entry.contra} has {entry.contra_balance}, expected {expected}")
                totals[currency] += entry.contra_balance - balances.get(entry.contra, 0)
                balances[entry.contra] = entry.contra_balance
            if totals[currency]:
                found.append(f"{where}: postings in {currency} add up to {totals[currency]}")
                totals[currency] = 0  # each fault is told once
    return found


def check_transit(logs: Logs) -> list[str]:
    """The in-transit balances, as the journal states them, sum up to the money in flight: on its way to a creditor, or back."""
    stated: dict[str, tuple[str, int]] = {}  # contra account → (currency, newest balance)
    travels: dict[tuple[str, str], int] = defaultdict(int)  # (payment, currency) → departed − arrived
    for _, _, entry in _events(logs, topics.JOURNAL.name, LedgerEntry):
        if entry.contra is not None and entry.contra.startswith("~transit/"):
            minor, currency = entry.amount
            stated[entry.contra] = currency, entry.contra_balance
            travels[entry.payment_id, currency] -= _SIGN[entry.leg] * minor
    found = [
        f"payment {payment}: {-minor} {currency} more arrived than departed"
        for (payment, currency), minor in sorted(travels.items())
        if minor < 0
    ]
    in_transit: dict[str, int] = defaultdict(int)
    for currency, balance in stated.values():
        in_transit[currency] += balance
    in_flight: dict[str, int] = defaultdict(int)
    for (_, currency), minor in travels.items():
        in_flight[currency] += minor
    for currency in sorted(in_transit):
        if in_transit[currency] != in_flight[currency]:
            found.append(f"{currency}: {in_transit[currency]} in transit, but {in_flight[currency]} in flight")
    return found


# --- 2: once ---


def check_once(logs: Logs, memory_ms: int = DAY_MS + CLOCK_TOLERANCE_MS) -> list[str]:
    """At most one effect per origin, and per idempotency key as often as admission has admitted it, which is once in `memory_ms`."""
    found = []
    places: dict[Source, dict[tuple[int, int], tuple[str, int, int]]] = defaultdict(dict)
    for topic in sorted(logs):
        for partition, items in _partitions(logs, topic) if topic != topics.INCOMING.name else ():
            for record, _ in items:
                if record.origin is not None:
                    source, offset, index, _ = record.origin
                    place = topic, partition, record.offset
                    first = places[source].setdefault((offset, index), place)
                    if first is not place:
                        found.append(f"{_slashed(place)}: the same origin as {_slashed(first)}")
    admitted: dict[str, list[int]] = defaultdict(list)
    for where, _, status in _events(logs, topics.STATUS.name, PaymentStatus):
        if status.stage == Admission.stage and not status.attempt:
            earlier = admitted[status.payment_id]
            if earlier and status.at - earlier[-1] <= memory_ms:
                found.append(f"{where}: payment {status.payment_id} was decided {status.at - earlier[-1]} ms before")
            earlier.append(status.at)
    effects: Counter[tuple[str, str, str]] = Counter()
    for where, _, entry in _events(logs, topics.JOURNAL.name, LedgerEntry):
        key = entry.payment_id, entry.account_id, entry.leg
        effects[key] += 1
        if effects[key] > max(1, len(admitted[entry.payment_id])):
            found.append(f"{where}: another {entry.leg} of payment {entry.payment_id} on {entry.account_id}")
    return found


def _slashed(parts: Iterable[Any]) -> str:
    return "/".join(map(str, parts))


# --- 3: counts ---


def check_counts(shards: Iterable[Shard], logs: Logs | None = None) -> list[str]:
    """consumed = applied + dead-lettered + duplicate + late + ticks, in each shard; with logs, its dead letters are there too."""
    buried: Counter[tuple[str, str, int]] = Counter()
    if logs is not None:
        for _, _, letter in _events(logs, DEAD_LETTERS.name, DeadLetter):
            buried[letter.stage, letter.topic, letter.partition] += 1
    found = []
    for shard in shards:
        counts, where = shard.counts.as_dict(), _slashed(shard.source)
        if sum(counts.values()) != shard.offset:
            found.append(f"{where}: {counts} do not add up to {shard.offset} records")
        if logs is not None and counts["dead_lettered"] != buried[shard.source]:
            found.append(f"{where}: {counts['dead_lettered']} dead-lettered, {buried[shard.source]} dead letters")
    return found


# --- 4: limits ---


def _overdrafts(logs: Logs) -> dict[str, list[tuple[int, int]]]:
    """Of each account its (offset on payments.inflight, overdraft limit from there on); refused changes are left out."""
    refused = {
        (letter.partition, letter.offset)
        for _, _, letter in _events(logs, DEAD_LETTERS.name, DeadLetter)
        if letter.stage == AccountProcessor.stage
    }
    limits: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for partition, items in _partitions(logs, topics.INFLIGHT.name):
        for record, event in items:
            if isinstance(event, AccountOpened | AccountLimited) and (partition, record.offset) not in refused:
                limits[event.account_id].append((record.offset, event.overdraft_limit))
    return limits


def check_limits(logs: Logs) -> list[str]:
    """No account is below its limit after a debit or a hold, by the limit in force at that offset; available is what the counters say."""
    limits, found = _overdrafts(logs), []
    pending: dict[str, int] = defaultdict(int)
    for where, record, entry in _events(logs, topics.JOURNAL.name, LedgerEntry):
        account = entry.account_id
        if record.origin is None:
            found.append(f"{where}: an entry without origin")
            continue
        overdraft = None
        for offset, limit in limits.get(account, ()):
            if offset < record.origin.offset:
                overdraft = limit
        if overdraft is None:
            found.append(f"{where}: an entry of {account}, which was not open")
            continue
        pending[account] += _PENDING.get(entry.leg, 0) * entry.amount.minor
        if entry.pending != pending[account] or entry.pending < 0:
            found.append(f"{where}: {account} has {entry.pending} pending, expected {pending[account]}")
        available = entry.balance - entry.pending + overdraft
        if entry.available != available:
            found.append(f"{where}: {account} has {entry.available} available, expected {available}")
        if entry.leg in ("DEBIT", "HOLD") and available < 0:
            found.append(f"{where}: {account} is {-available} below its limit after a {entry.leg}")
    return found


def check_holds(logs: Logs) -> list[str]:
    """Captured and released is never more than held; a hold ends once."""
    names = {
        leg.payment_id: leg.pending_id
        for _, _, leg in _events(logs, topics.INFLIGHT.name, LedgerLeg)
        if leg.leg in ("CAPTURE", "RELEASE")
    }
    held: dict[tuple[str, str], int] = {}
    enders: dict[tuple[str, str], str] = {}
    found = []
    for where, _, entry in _events(logs, topics.JOURNAL.name, LedgerEntry):
        if entry.leg == "HOLD":
            held[entry.account_id, entry.payment_id] = entry.amount.minor
            enders.pop((entry.account_id, entry.payment_id), None)
        elif entry.leg in ("CAPTURE", "RELEASE"):
            hold = entry.account_id, names.get(entry.payment_id) or entry.payment_id
            if hold not in held:
                found.append(f"{where}: a {entry.leg} of the hold {hold[1]}, which is not there")
                continue
            if enders.setdefault(hold, entry.payment_id) != entry.payment_id:
                found.append(f"{where}: {entry.payment_id} ends the hold {hold[1]}, which {enders[hold]} has ended")
            held[hold] -= entry.amount.minor
            if held[hold] < 0:
                found.append(f"{where}: {-held[hold]} more captured and released than held by {hold[1]}")
    for (account, hold_id), ender in sorted(enders.items()):
        if held[account, hold_id] > 0:
            found.append(f"{account}: {ender} ended the hold {hold_id}, and left {held[account, hold_id]} of it held")
    return found


# --- 5: order ---


def check_journal_order(logs: Logs) -> list[str]:
    """The journal of an account is numbered 1, 2, 3 … in the order of its partition."""
    versions: dict[str, int] = defaultdict(int)
    found = []
    for where, _, entry in _events(logs, topics.JOURNAL.name, LedgerEntry):
        if entry.version != versions[entry.account_id] + 1:
            found.append(f"{where}: {entry.account_id} has v{entry.version} after v{versions[entry.account_id]}")
        versions[entry.account_id] = entry.version
    return found


def check_gapless(logs: Logs) -> list[str]:
    """What a shard writes to a partition stands there in order and complete: each record's `prev` is the one before it."""
    found = []
    for topic in sorted(logs):
        for partition, items in _partitions(logs, topic) if topic != topics.INCOMING.name else ():
            last: dict[Source, tuple[int, int]] = {}
            for record, _ in items:
                if record.origin is None:
                    continue
                source, offset, index, prev = record.origin
                if (None if prev is None else tuple(prev)) != last.get(source):
                    found.append(
                        f"{topic}/{partition}/{record.offset}: follows {_dotted(prev)} of {_slashed(source)}, "
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
        where = f"{place[0]}/{place[1]} from {_slashed(place[2])}"
        different = next((n for n, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), None)
        if different is not None:
            found.append(f"{where}: record {different} differs")
        elif len(a) != len(b):
            found.append(f"{where}: {len(a)} records live, {len(b)} in the replay")
    return found


def _written(logs: Logs, stage: str) -> dict[tuple[str, int, Source], list[tuple[Any, ...]]]:
    written: dict[tuple[str, int, Source], list[tuple[Any, ...]]] = defaultdict(list)
    for topic in logs:
        for partition, items in _partitions(logs, topic):
            for record, _ in items:
                if record.origin is not None and record.origin.source.stage == stage:
                    written[topic, partition, record.origin.source].append((record.origin, record.key, record.value))
    return written


_STATE = ("source", "offset", "clock", "version", "deadlines", "marks", "prevs", "entities")


def compare_shards(live: Shard, replayed: Shard) -> list[str]:
    """Two shards that folded the same log are the same, to the order of their entities."""
    where = _slashed(live.source)
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


# --- 10 and the books: how payments end ---

PaymentKey = tuple[str, int]
"""A payment: its id, and its time of admission, because an id may be used again once it is forgotten."""


def _statuses(logs: Logs) -> dict[PaymentKey, list[PaymentStatus]]:
    """The statuses of each payment itself, not of attempts, by hop."""
    statuses: dict[PaymentKey, list[PaymentStatus]] = defaultdict(list)
    for _, _, status in _events(logs, topics.STATUS.name, PaymentStatus):
        if not status.attempt:
            statuses[status.payment_id, status.at - status.elapsed_ms].append(status)
    for said in statuses.values():
        said.sort(key=lambda status: status.hop)
    return statuses


def check_ends(logs: Logs, drained: bool = True) -> list[str]:
    """Every payment reaches one terminal state or is an open hold; before the system is drained it may also be in flight."""
    found = []
    for (payment, _), said in sorted(_statuses(logs).items()):
        ends = [status for status in said if status.terminal]
        if len(ends) > 1:
            found.append(f"payment {payment}: ended {len(ends)} times: {[status.status for status in ends]}")
        if ends and said[-1] is not ends[-1]:
            found.append(f"payment {payment}: {said[-1].status} after {ends[-1].status}")
        if not ends and drained and said[-1].status != "PDNG":
            found.append(f"payment {payment}: ends as {said[-1].status}")
        if said[0].stage != Admission.stage:
            found.append(f"payment {payment}: {said[0].status} of {said[0].stage}, but admission knows nothing of it")
    return found


_LEGS: dict[tuple[str, str], frozenset[tuple[str, ...]]] = {
    ("DEPOSIT", "ACCC"): frozenset({("CREDIT",)}),
    ("WITHDRAWAL", "ACCC"): frozenset({("DEBIT",)}),
    ("TRANSFER", "ACCC"): frozenset({("CREDIT", "DEBIT")}),
    ("TRANSFER", "ACSP"): frozenset({("DEBIT",)}),
    ("TRANSFER", "RJCT"): frozenset({(), ("DEBIT", "UNWIND")}),
    ("REVERSAL", "ACCC"): frozenset({("CREDIT", "DEBIT")}),
    ("REVERSAL", "ACSP"): frozenset({("DEBIT",)}),
    ("REVERSAL", "RJCT"): frozenset({(), ("DEBIT", "UNWIND")}),
    ("CAPTURE", "ACCC"): frozenset({("CAPTURE", "CREDIT"), ("CAPTURE", "CREDIT", "RELEASE")}),
    ("CAPTURE", "ACSP"): frozenset({("CAPTURE",), ("CAPTURE", "RELEASE")}),
    ("CAPTURE", "RJCT"): frozenset({(), ("CAPTURE", "UNWIND"), ("CAPTURE", "RELEASE", "UNWIND")}),
    ("HOLD", "PDNG"): frozenset({("HOLD",)}),
    ("HOLD", "ACCC"): frozenset({("HOLD",)}),
    ("HOLD", "CANC"): frozenset({("HOLD",), ("HOLD", "RELEASE")}),
    ("VOID", "ACCC"): frozenset({("RELEASE",)}),
}
"""What stands in the journal for a payment of this kind in this state, sorted; nothing for one that is not listed."""

_NOTHING = frozenset({()})


def check_effects(logs: Logs) -> list[str]:
    """The journal says of each payment what its state says: confirmed money is posted on both sides, refused money is where it was."""
    legs: dict[str, list[str]] = defaultdict(list)
    for _, _, entry in _events(logs, topics.JOURNAL.name, LedgerEntry):
        legs[entry.payment_id].append(entry.leg)
    confirmed = Counter(
        (payment.payment_id, payment.admitted_at)
        for _, _, payment in _events(logs, topics.CONFIRMED.name, PaymentConfirmed)
    )
    statuses = _statuses(logs)
    used: Counter[str] = Counter(payment for payment, _ in statuses)
    found = []
    for key, said in sorted(statuses.items()):
        payment, last = key[0], said[-1]
        posted = tuple(sorted(legs[payment]))
        allowed = _LEGS.get((last.kind, last.status), _NOTHING)
        if posted not in allowed and used[payment] == 1:
            found.append(f"payment {payment}: {last.kind} is {last.status} with the entries {list(posted)}")
        moved = last.status == "ACCC" and last.kind not in ("HOLD", "VOID")
        if confirmed[key] != moved:
            found.append(f"payment {payment}: {last.kind} is {last.status}, confirmed {confirmed[key]} times")
    for payment in sorted(set(legs) - {key[0] for key in statuses}):
        found.append(f"payment {payment}: entries {sorted(legs[payment])} without a status")
    return found


def check_books(logs: Logs) -> list[str]:
    """The two equations: incoming = admitted + rejected at admission + duplicates + dead letters; admitted = how admitted payments ended.

    Each term is counted where it is written: open holds in the journal, all else in statuses and dead letters.
    """
    incoming = sum(len(items) for _, items in _partitions(logs, topics.INCOMING.name))
    said: Counter[tuple[bool, bool, str]] = Counter()
    for _, _, status in _events(logs, topics.STATUS.name, PaymentStatus):
        said[status.stage == Admission.stage, status.attempt, status.status] += 1
    buried = sum(letter.stage == Admission.stage for _, _, letter in _events(logs, DEAD_LETTERS.name, DeadLetter))
    admitted, refused = said[True, False, "ACTC"], said[True, False, "RJCT"]
    repeats = said[True, True, "DUPL"] + said[True, True, "RJCT"]
    found = []
    if incoming != admitted + refused + repeats + buried:
        found.append(
            f"incoming {incoming} != admitted {admitted} + rejected at admission {refused} + duplicates {repeats} + dead letters {buried}"
        )
    confirmed, rejected = said[False, False, "ACCC"], said[False, False, "RJCT"]
    cancelled, holds = said[False, False, "CANC"], _open_holds(logs)
    newest = [statuses[-1] for statuses in _statuses(logs).values()]
    flying = sum(status.status in ("ACTC", "ACSP") for status in newest)
    if admitted != confirmed + rejected + cancelled + holds + flying:
        found.append(
            f"admitted {admitted} != confirmed {confirmed} + rejected {rejected} + cancelled {cancelled} "
            f"+ open holds {holds} + in flight {flying}"
        )
    return found


def _open_holds(logs: Logs) -> int:
    """Holds that no capture, void or expiry has ended, by the journal."""
    names = {
        leg.payment_id: leg.pending_id
        for _, _, leg in _events(logs, topics.INFLIGHT.name, LedgerLeg)
        if leg.leg in ("CAPTURE", "RELEASE")
    }
    holds: set[tuple[str, str]] = set()
    for _, _, entry in _events(logs, topics.JOURNAL.name, LedgerEntry):
        if entry.leg == "HOLD":
            holds.add((entry.account_id, entry.payment_id))
        elif entry.leg in ("CAPTURE", "RELEASE"):
            holds.discard((entry.account_id, names.get(entry.payment_id) or entry.payment_id))
    return len(holds)


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
        *check_postings(logs),
        *check_transit(logs),
        *check_once(logs, memory_ms),
        *check_counts(shards, logs),
        *check_limits(logs),
        *check_holds(logs),
        *check_journal_order(logs),
        *check_gapless(logs),
        *check_ends(logs, drained),
        *check_effects(logs),
        *check_books(logs),
    ]
