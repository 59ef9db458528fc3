"""Each check holds for books that are right, and is seen to fail for a fault of its own."""

import sqlite3
from pathlib import Path

import pytest

from report.checks import Check, read_checks
from report.views import open_views
from tests.report.ledger import Ledger, small_bank


def checks_of(path: Path) -> list[Check]:
    with open_views(path) as db:
        return read_checks(db)


@pytest.mark.parametrize("ending", ["sqlite", "duckdb"])
@pytest.mark.parametrize("bank", [Ledger, small_bank])
def test_right_books(tmp_path: Path, ending: str, bank: type[Ledger]) -> None:
    checks = checks_of(bank().write(tmp_path / f"views.{ending}"))
    assert [check.name for check in checks if not check.holds] == []
    assert len(checks) == 8
    assert all(check.evidence and check.advice for check in checks)


INCOMING = "Every incoming record is accounted for"
ADMITTED = "Every admitted payment is accounted for"
TRIAL = "The trial balance is zero in every partition"
JOURNAL = "Every line of the journal follows from the one before"
PUBLISHED = "Published balances agree with the journal"
LIMIT = "No debit or hold went below its account's limit"
ELAPSED = "No payment ended before it began"
CONFIRMED = "Each payment that moved money has one confirmation"


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        ("UPDATE incoming SET records = records + 1", {INCOMING}),
        ("DELETE FROM dead_letters WHERE code = 'EMPTY_VALUE'", {INCOMING}),
        ("DELETE FROM payments WHERE status = 'PDNG'", {ADMITTED}),
        ("UPDATE payments SET status = 'WHAT' WHERE status = 'PDNG'", {ADMITTED}),
        ("UPDATE contra SET balance = balance + 1 WHERE side = 'transit'", {TRIAL}),
        ("UPDATE journal SET balance = balance + 1 WHERE account_id = 'bob' AND version = 3", {JOURNAL}),
        ("DELETE FROM journal WHERE account_id = 'bob' AND version = 3", {JOURNAL}),
        ("UPDATE journal SET version = version + 100 WHERE account_id = 'bob' AND version > 10", {JOURNAL}),
        ("UPDATE journal SET amount = 0 WHERE account_id = 'bob' AND version = 3", {JOURNAL}),
        ("UPDATE journal SET balance = NULL WHERE account_id = 'bob' AND version = 3", {JOURNAL}),
        ("UPDATE accounts SET balance = balance + 1 WHERE account_id = 'bob'", {PUBLISHED}),
        ("UPDATE accounts SET posted = posted - 1 WHERE account_id = 'bob'", {PUBLISHED}),
        ("UPDATE journal SET available = -1 WHERE leg = 'HOLD'", {LIMIT}),
        ("UPDATE payments SET elapsed_ms = -5, admitted_at = at_ms + 5 WHERE payment_id = 'pay-000005'", {ELAPSED}),
        ("UPDATE payments SET elapsed_ms = elapsed_ms + 1 WHERE payment_id = 'pay-000005'", {ELAPSED}),
        ("UPDATE payments SET elapsed_ms = NULL WHERE payment_id = 'pay-000005'", {ELAPSED}),
        ("UPDATE confirmed SET elapsed_ms = -5, admitted_at = confirmed_at + 5 WHERE hops = 2", {ELAPSED}),
        ("UPDATE confirmed SET confirmed_at = confirmed_at - 100 WHERE hops = 1", {ELAPSED}),
        ("UPDATE journal SET available = -1 WHERE leg = 'CREDIT'", set()),  # a limit that was lowered
        (
            "UPDATE payments SET status = 'ACCC' WHERE kind = 'HOLD'",
            set(),
        ),  # captured: the CAPTURE is confirmed, not the hold
        ("DELETE FROM confirmed WHERE payment_id = 'pay-000005'", {CONFIRMED}),
    ],
)
def test_a_fault_is_found_by_its_check_alone(tmp_path: Path, fault: str, failing: set[str]) -> None:
    path = small_bank().write(tmp_path / "views.sqlite")
    with sqlite3.connect(path) as db:
        assert db.execute(fault).rowcount > 0
    db.close()
    checks = checks_of(path)
    assert {check.name for check in checks if not check.holds} == failing
    for check in checks:
        assert ("wrong" in check.evidence or "≠" in check.evidence) == (not check.holds)
