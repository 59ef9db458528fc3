"""Checkers of payments: how they end, what they posted, and the books (see `payments.checkers`)."""

from collections import Counter, defaultdict

from payments import topics
from payments.admission import Admission
from payments.check_holds import open_holds
from payments.logs import Logs, events, partitions
from schemas.payments import LedgerEntry, PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter
from transforms.fold import DEAD_LETTERS

PaymentKey = tuple[str, int]
"""A payment: its id, and its time of admission, because an id may be used again once it is forgotten."""


def _statuses(logs: Logs) -> dict[PaymentKey, list[PaymentStatus]]:
    """The statuses of each payment itself, not of attempts, by hop."""
    statuses: dict[PaymentKey, list[PaymentStatus]] = defaultdict(list)
    for _, _, status in events(logs, topics.STATUS.name, PaymentStatus):
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
    for _, _, entry in events(logs, topics.JOURNAL.name, LedgerEntry):
        legs[entry.payment_id].append(entry.leg)
    confirmed = Counter(
        (payment.payment_id, payment.admitted_at)
        for _, _, payment in events(logs, topics.CONFIRMED.name, PaymentConfirmed)
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
    incoming = sum(len(items) for _, items in partitions(logs, topics.INCOMING.name))
    said: Counter[tuple[bool, bool, str]] = Counter()
    for _, _, status in events(logs, topics.STATUS.name, PaymentStatus):
        said[status.stage == Admission.stage, status.attempt, status.status] += 1
    buried = sum(letter.stage == Admission.stage for _, _, letter in events(logs, DEAD_LETTERS.name, DeadLetter))
    admitted, refused = said[True, False, "ACTC"], said[True, False, "RJCT"]
    repeats = said[True, True, "DUPL"] + said[True, True, "RJCT"]
    found = []
    if incoming != admitted + refused + repeats + buried:
        found.append(
            f"incoming {incoming} != admitted {admitted} + rejected at admission {refused} + duplicates {repeats} + dead letters {buried}"
        )
    confirmed, rejected = said[False, False, "ACCC"], said[False, False, "RJCT"]
    cancelled, holds = said[False, False, "CANC"], open_holds(logs)
    newest = [statuses[-1] for statuses in _statuses(logs).values()]
    flying = sum(status.status in ("ACTC", "ACSP") for status in newest)
    if admitted != confirmed + rejected + cancelled + holds + flying:
        found.append(
            f"admitted {admitted} != confirmed {confirmed} + rejected {rejected} + cancelled {cancelled} "
            f"+ open holds {holds} + in flight {flying}"
        )
    return found
