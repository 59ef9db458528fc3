"""A run of the payment system with everything in it, and how its logs are tampered with: for the tests of the checkers."""

from collections.abc import Callable
from typing import Any

from payments.checkers import Logs
from schemas.payments import LedgerEntry
from schemas.rails import Record, Rule
from tests.payments.world import START, closed, limited, opened, payment
from transforms.topic_settings import DAY_MS

CASES: list[tuple[int, Any]] = [
    *[(0, opened(name, overdraft=200 if name in "ae" else 0)) for name in "abcey"],  # b and y share a partition
    (0, opened("g", gate=True)),
    (0, opened("u", currency="USD")),
    (0, opened("x")),
    (3, closed("x")),
    (3, closed("x", expected=7)),
    (4, Rule("r", "velocity", 1, True, {"interval_ms": 1000, "max_count": 40})),
    (5, payment("d1", "DEPOSIT", 1_000, creditor_account="a")),
    (5, payment("d2", "DEPOSIT", 1_000, creditor_account="g")),
    (5, payment("d3", "DEPOSIT", 1_000, creditor_account="u", currency="USD")),
    (5, payment("d4", "DEPOSIT", 1_000, creditor_account="x")),
    (50, payment("t1", minor=900)),
    (60, payment("t2", minor=310)),
    (60, payment("t3", creditor_account="nobody")),
    (60, payment("t4", debtor_account="c")),
    (70, payment("t5", creditor_account="u")),
    (71, payment("t1", minor=900)),
    (72, payment("t1", minor=901)),
    (73, payment("t6", minor=0)),
    (74, payment("t7", requested_at=START - 2 * DAY_MS)),
    (75, Record(0, START + 75, b"junk", b"not an event", None, ())),
    *[(80, payment(f"g{n}", debtor_account="g", creditor_account="b" if n % 2 else "nobody")) for n in range(5)],
    (90, payment("h", "HOLD", 150, hold_timeout_ms=5_000)),
    (91, payment("h2", "HOLD", 20, hold_timeout_ms=2_000)),
    (92, payment("h3", "HOLD", 20)),
    (93, payment("h4", "HOLD", 20)),
    (93, payment("h5", "HOLD", 20)),
    (120, payment("c1", "CAPTURE", 100)),
    (120, payment("c2", "CAPTURE", 10)),
    (121, payment("c3", "CAPTURE", 20, pending_id="h5", creditor_account="x")),
    (130, payment("v1", "VOID", 0, pending_id="h3")),
    (200, payment("r1", "REVERSAL", 100, debtor_account="b", creditor_account="a", original_payment_id="t1")),
    (300, payment("w1", "WITHDRAWAL", 100, debtor_account="b")),
    (301, payment("h6", "HOLD", 1, debtor_account="b", hold_timeout_ms=10**6)),
    (302, payment("w2", "WITHDRAWAL", 150, debtor_account="e")),
    (400, limited("e", 0)),
    (450, payment("d7", "DEPOSIT", 10, creditor_account="e")),
    (451, payment("w3", "WITHDRAWAL", 1, debtor_account="e")),
    (500, payment("d5", "DEPOSIT", 1, creditor_account="b")),
    (9_000, payment("d6", "DEPOSIT", 1, creditor_account="b")),
]


def tampered(logs: Logs, topic: Any, change: Callable[[Record, Any], Any]) -> dict[str, dict[int, list[Any]]]:
    """The logs with each (record, event) of a topic replaced by what `change` gives: items, or None to leave it as it is."""
    copy = {name: {number: list(items) for number, items in held.items()} for name, held in logs.items()}
    for number, items in copy[topic.name].items():
        out = []
        for record, event in items:
            changed = change(record, event)
            out += [(record, event)] if changed is None else changed
        copy[topic.name][number] = out
    return copy


def change_entry(which: Callable[[LedgerEntry], bool], **fields: Any) -> Callable[[Record, Any], Any]:
    def change(record: Record, event: Any) -> Any:
        return [(record, event._replace(**fields))] if type(event) is LedgerEntry and which(event) else None

    return change
