"""The invariants that the views can show, computed from two sides wherever there are two, and what to do when one fails."""

from collections.abc import Sequence
from typing import NamedTuple

from payments.view_tables import BOOK_EQUATIONS
from report.data import read_books
from report.texts import count, named
from report.views import Connection, query_rows


class Check(NamedTuple):
    """name: what should hold; evidence: the figures of it; advice: where to look when it fails."""

    name: str
    holds: bool
    evidence: str
    advice: str


def read_checks(db: Connection) -> list[Check]:
    """All checks, in the order in which their failures should be looked into."""
    books = read_books(db)
    equations = [_equation(i, books) for i in range(len(BOOK_EQUATIONS))]
    return [*equations, *(_none_wrong(db, *check) for check in _COUNTED), _confirmations(db)]


def logs_check(violations: Sequence[str]) -> Check:
    """What the checkers of the logs have found, as a check."""
    number = len(violations)
    evidence = "no violation in the recorded topics"
    if number:
        first = "; ".join(map(named, violations[:SHOWN_VIOLATIONS]))
        more = f"; and {count(number - SHOWN_VIOLATIONS)} more" if number > SHOWN_VIOLATIONS else ""
        evidence = f"{count(number)} wrong: {first}{more}"
    return Check("The checkers of the logs find nothing", not number, evidence, _LOGS)


SHOWN_VIOLATIONS = 5
_LOGS = (
    "Each line names its place, a topic, partition and offset or an account. payments_verify repeats the check over the folder of the run; "
    "the invariants are explained in `docs/testing.md`."
)


def _equation(number: int, books: dict[str, int]) -> Check:
    equation = BOOK_EQUATIONS[number]
    name, advice = _EQUATIONS[number]
    parts = " + ".join(f"{part.replace('_', ' ')} {count(books[part])}" for part in equation.parts)
    holds = equation.holds(books)
    sign = "=" if holds else "≠"
    return Check(name, holds, f"{equation.left} {count(books[equation.left])} {sign} {parts}", advice)


def _none_wrong(db: Connection, name: str, what: str, query: str, advice: str) -> Check:
    seen, wrong = (int(value or 0) for value in query_rows(db, query)[0])
    evidence = f"{count(seen)} {what.partition('/')[0] if seen == 1 else what.partition('/')[2]}" + (
        f", {count(wrong)} wrong" if wrong else ""
    )
    return Check(name, wrong == 0, evidence, advice)


def _confirmations(db: Connection) -> Check:
    confirmed = query_rows(db, "SELECT COUNT(*) FROM confirmed")[0][0]
    ended = query_rows(db, _ENDED)[0][0]
    holds = confirmed == ended
    evidence = f"confirmations {count(confirmed)} {'=' if holds else '≠'} payments with moved money {count(ended)}"
    return Check("Each payment that moved money has one confirmation", holds, evidence, _CONFIRMATIONS)


_ENDED = "SELECT COUNT(*) FROM payments WHERE status = 'ACCC' AND kind NOT IN ('HOLD', 'VOID')"
_CONFIRMATIONS = (
    "payments.status and payments.confirmed tell different stories. Were both topics read to their ends? Then run payments_replay on the "
    "recorded payments.inflight: it names the first record that differs."
)
_EQUATIONS = (
    (
        "Every incoming record is accounted for",
        "A record was lost or counted twice at admission. Compare payments.incoming with the admission lines of shards.jsonl, partition by "
        "partition, and look for a partition whose counts do not add up to its offset.",
    ),
    (
        "Every admitted payment is accounted for",
        "A payment has no state, or one that the books do not know. If only `in flight` is too large, the log may have been cut between "
        "two hops: read it to its end and make the views again.",
    ),
)
_COUNTED = (
    (
        "The trial balance is zero in every partition",
        "partition sum/partition sums",
        "SELECT COUNT(*), SUM(CASE WHEN total = 0 THEN 0 ELSE 1 END) FROM trial_balance",
        "Money was made or lost. Stop the writers, keep the log. The partition is in the table `trial_balance`; run payments_replay on it, "
        "and look for the first journal line whose contra balance does not follow from the one before.",
    ),
    (
        "Every line of the journal follows from the one before",
        "line/lines",
        """
        SELECT COUNT(*), SUM(CASE WHEN balance = before + change AND version = earlier + 1 THEN 0 ELSE 1 END) FROM (
            SELECT balance, version, COALESCE(LAG(balance) OVER (PARTITION BY account_id ORDER BY version), 0) AS before,
                   COALESCE(LAG(version) OVER (PARTITION BY account_id ORDER BY version), 0) AS earlier,
                   CASE WHEN leg IN ('CREDIT', 'UNWIND') THEN amount WHEN leg IN ('DEBIT', 'CAPTURE') THEN -amount ELSE 0 END AS change
            FROM journal
        ) AS lines""",
        "A line is missing, doubled or wrong. Find the account by comparing `entries` with the largest `version` of its journal, and "
        "replay its partition.",
    ),
    (
        "Published balances agree with the journal",
        "account/accounts",
        """
        SELECT COUNT(*), SUM(CASE WHEN balance = COALESCE(journal_balance, 0) AND posted = COALESCE(journal_balance, 0) THEN 0 ELSE 1 END)
        FROM accounts""",
        "payments.balances is a hint that the journal can always correct: if the journal's own check holds, publish the balances again. "
        "If not, see there.",
    ),
    (
        "No debit or hold went below its account's limit",
        "debit or hold/debits and holds",
        "SELECT COUNT(*), SUM(CASE WHEN available < 0 THEN 1 ELSE 0 END) FROM journal WHERE leg IN ('DEBIT', 'HOLD')",
        "An account gave what it did not have. The lines are in `journal` with available < 0; the limit in force then stands in "
        "payments.inflight before them. Lowering a limit later is no violation.",
    ),
    (
        "No payment ended before it began",
        "time/times",
        """
        SELECT COUNT(*), SUM(CASE WHEN elapsed >= 0 AND first + elapsed = last THEN 0 ELSE 1 END) FROM (
            SELECT admitted_at AS first, elapsed_ms AS elapsed, at_ms AS last FROM payments
            UNION ALL SELECT admitted_at, elapsed_ms, confirmed_at FROM confirmed
        ) AS times""",
        "The log's clock went back, or the views were changed: `elapsed_ms` is the time of the record less that of the admission. The "
        "lines are in `payments` and `confirmed`; make the views again, and compare `at` of the payment's records in payments.status.",
    ),
)
