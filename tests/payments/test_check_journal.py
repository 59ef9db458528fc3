"""Balances that say something else than the journal, and holds whose names come again."""

from typing import Any

import pytest

from payments import topics
from payments.account import DAY_MS
from payments.checkers import check_all, check_balances, check_holds
from schemas.payments import AccountBalance, AccountFrozen, AccountLimited, LedgerEntry, Money
from tests.payments.tampering import CASES, change_entry, tampered
from tests.payments.world import START, World, closed, frozen, limited, opened, payment


@pytest.fixture(scope="module")
def sound() -> World:
    return World(CASES)


# --- balances ---


@pytest.mark.parametrize("account", ["a", "e", "x", "u", "y"])
@pytest.mark.parametrize(
    "field", [name for name in AccountBalance._fields if name not in ("account_id", "revision", "currency")]
)
def test_each_field_of_a_balance_that_was_changed_is_found(sound, account, field):
    def change(record: Any, event: Any) -> Any:
        if event.account_id != account:
            return None
        value = getattr(event, field)
        if isinstance(value, bool):
            return [(record, event._replace(**{field: not value}))]
        other = "other" if isinstance(value, str) else (value or 0) + 1
        return [(record, event._replace(**{field: other}))]

    (line,) = check_balances(tampered(sound.logs, topics.BALANCES, change))
    assert line.startswith("payments.balances/")
    assert f": {account} has {field} " in line


def test_a_balance_in_another_currency_is_found(sound):
    logs = tampered(
        sound.logs, topics.BALANCES, lambda r, e: [(r, e._replace(currency="JPY"))] if e.account_id == "a" else None
    )
    (line,) = check_balances(logs)
    assert line.endswith("a has currency JPY, expected EUR")


def test_the_newest_balance_counts_and_older_ones_do_not(sound):
    def older(record: Any, event: Any) -> Any:
        return [(record, event), (record, event._replace(balance=5, revision=event.revision - 1))]

    def newer(record: Any, event: Any) -> Any:
        return [(record, event), (record, event._replace(revision=event.revision + 1))]

    assert check_balances(tampered(sound.logs, topics.BALANCES, older)) == []
    assert all(" has revision " in line for line in check_balances(tampered(sound.logs, topics.BALANCES, newer)))


def test_a_balance_that_is_missing_or_of_nobody_is_found(sound):
    lost = tampered(sound.logs, topics.BALANCES, lambda r, e: [] if e.account_id == "a" else None)
    assert check_balances(lost) == ["a: no balance"]
    other = tampered(
        sound.logs,
        topics.BALANCES,
        lambda r, e: [(r, e), (r, e._replace(account_id="m"))] if e.account_id == "a" else None,
    )
    (line,) = check_balances(other)
    assert line.endswith("a balance of m, which was not open")
    assert check_balances({**sound.logs, topics.BALANCES.name: {}}) == []


def test_the_settings_of_a_balance_are_those_of_all_changes_that_were_applied():
    world = World(
        [
            (0, opened("a", overdraft=5)),
            (0, opened("b")),
            (1, limited("a", 7, 9)),
            (2, frozen("a", expected=2)),
            (3, frozen("a", expected=2)),  # a repeat
            (4, limited("a", 99, expected=1)),  # refused
            (5, AccountLimited("freeze-a-2", "a", 3, 50, None, START)),  # refused: another change under the last id
            (6, AccountFrozen("m", "a", 3, False, START)),
            (7, closed("a", expected=4)),
            (8, frozen("nobody")),
            (9, payment("d", "DEPOSIT", 10, creditor_account="b")),
        ]
    )
    (balance,) = [e for e in world.events(topics.BALANCES) if e.account_id == "a"]
    assert (balance.overdraft_limit, balance.daily_limit, balance.closed, balance.frozen) == (7, 9, True, False)
    assert (balance.revision, balance.as_of) == (5, START + 7)
    assert check_all(world.logs, world.shards) == []


def test_a_change_that_was_lost_is_found():
    """As when another change under the last admin_id was taken for a repeat."""
    world = World([(0, opened("a")), (1, limited("a", 7))])
    logs = tampered(
        world.logs,
        topics.BALANCES,
        lambda r, e: [(r, e._replace(overdraft_limit=0, available=0, revision=1, as_of=START))],
    )
    assert sum("a has " in line for line in check_balances(logs)) == 4


# --- holds whose names come again ---


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
