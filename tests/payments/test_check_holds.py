"""Holds whose names come again."""

from typing import Any

import pytest

from payments import topics
from payments.checkers import check_all, check_holds
from schemas.payments import LedgerEntry, Money
from tests.payments.tampering import change_entry, tampered
from tests.payments.world import START, World, opened, payment
from transforms.topic_settings import DAY_MS

HOLD = payment("h", "HOLD", 100, hold_timeout_ms=3 * DAY_MS)
BASE = [(0, opened("a")), (0, opened("b")), (10, payment("d1", "DEPOSIT", 10_000, creditor_account="a"))]


def later(days: int, payment_id: str, kind: str, minor: int, **fields: Any) -> Any:
    return days * DAY_MS, payment(payment_id, kind, minor, requested_at=START + days * DAY_MS, **fields)


LAST = later(4, "d9", "DEPOSIT", 1, creditor_account="a")

REUSE = {
    "a refused void named like the hold": [(1000, HOLD), later(2, "h", "VOID", 0, pending_id="zz")],
    "a void of another hold, named like a hold": [
        (1000, HOLD),
        later(2, "i", "HOLD", 70),
        later(2, "h", "VOID", 0, pending_id="i"),
    ],
    "a capture, twice": [
        (1000, payment("h1", "HOLD", 100)),
        (1001, payment("h2", "HOLD", 100)),
        (2000, payment("c", "CAPTURE", 100, pending_id="h1")),
        later(2, "c", "CAPTURE", 60, pending_id="h2"),
    ],
    "a capture of itself": [(1000, payment("h1", "HOLD", 100)), later(2, "h1", "CAPTURE", 50, pending_id="h1")],
    "a capture named like another open hold": [
        (1000, HOLD),
        later(2, "i", "HOLD", 70),
        later(2, "h", "CAPTURE", 30, pending_id="i"),
    ],
}


@pytest.mark.parametrize("name", REUSE)
def test_an_id_that_comes_again_when_admission_has_forgotten_it_is_no_violation(name):
    world = World([*BASE, *REUSE[name], LAST], tick_ms=3_600_000)
    assert check_all(world.logs, world.shards) == []


def test_a_hold_that_runs_out_with_the_record_of_a_void_of_its_name():
    """Two entries of one payment by one record: the expiry of h, then the release of i."""
    until = START + 1000 + 3 * DAY_MS
    void = payment("h", "VOID", 0, pending_id="i", requested_at=until)
    world = World([*BASE, (1000, HOLD), later(2, "i", "HOLD", 70), (until - START, void)], hop_ms=0, tick_ms=10**12)
    released = [(e.payment_id, e.amount.minor) for e in world.events(topics.JOURNAL, LedgerEntry) if e.leg == "RELEASE"]
    assert released == [("h", 100), ("h", 70)]
    assert check_all(world.logs, world.shards) == []


def test_captures_that_have_waited_behind_the_gate_name_their_holds():
    world = World(
        [
            (0, opened("a", gate=True)),
            (0, opened("b")),
            (10, payment("d1", "DEPOSIT", 10_000, creditor_account="a")),
            (20, payment("h1", "HOLD", 100)),
            (20, payment("h2", "HOLD", 100)),
            (30, payment("t")),
            (30, payment("c1", "CAPTURE", 100, pending_id="h1")),
            (30, payment("c2", "CAPTURE", 40, pending_id="h2")),
        ]
    )
    assert {world.final(name)[0] for name in ("t", "c1", "c2", "h1", "h2")} == {"ACCC"}
    assert check_all(world.logs, world.shards) == []
    logs = tampered(world.logs, topics.INFLIGHT, lambda r, e: [] if getattr(e, "leg", "") == "CAPTURE" else None)
    assert any("a CAPTURE of the hold c2, which is not there" in line for line in check_holds(logs))


def test_a_hold_of_the_name_of_one_that_is_not_whole_is_found():
    world = World(
        [*BASE, (1000, payment("h", "HOLD", 100)), (2000, payment("v", "VOID", 0)), later(100, "h", "HOLD", 50)],
        tick_ms=DAY_MS,
    )
    assert [e.leg for e in world.events(topics.JOURNAL, LedgerEntry)] == ["CREDIT", "HOLD", "RELEASE", "HOLD"]
    assert check_holds(world.logs) == []
    less = tampered(world.logs, topics.JOURNAL, change_entry(lambda e: e.leg == "RELEASE", amount=Money(99, "EUR")))
    (line,) = check_holds(less)
    assert line.endswith("v ended the hold h, and left 1 of it held")
    never = tampered(world.logs, topics.JOURNAL, lambda r, e: [] if e.leg == "RELEASE" else None)
    (line,) = check_holds(never)
    assert line.endswith("another hold h, and 100 of the one before are held")
