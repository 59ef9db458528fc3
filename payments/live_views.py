"""Live views as pure rules: the rows of single records, and what SQL makes of them (P6, P7).

A record gives rows that depend on it alone and carry its identity: where it was caused, not where it stands. So a record that stands twice
on the wire, a chunk that is read again, and readers that overtake one another leave the same tables, without a filter and without state.
What is summed, the views of `payments.views` sum from offset 0; here SQL does, over the lines.
"""

from typing import Any

from payments import topics
from payments.view_tables import (
    ATTEMPTS,
    CONFIRMED,
    DEAD_LETTERS,
    JOURNAL,
    MINUTE_MS,
    OVERDUE,
    PAYMENTS,
)
from payments.views import attempt_row, confirmed_row, dead_letter_row, journal_row, payment_row
from schemas.payments import AccountBalance, LedgerEntry, PaymentConfirmed, PaymentOverdue, PaymentStatus
from schemas.rails import DeadLetter, Record
from transforms.fold import DEAD_LETTERS as LETTERS
from transforms.tables import Row, Table, columns
from transforms.topic_settings import DAY_MS

BALANCES = Table(
    "balances",
    columns(
        "account_id TEXT, currency TEXT, balance BIGINT, available BIGINT, pending BIGINT, debits_posted BIGINT, credits_posted BIGINT, "
        "overdraft_limit BIGINT, daily_limit BIGINT, one_in_flight BOOLEAN, closed BOOLEAN, frozen BOOLEAN, last_payment_id TEXT, "
        "revision BIGINT, as_of BIGINT"
    ),
    ("account_id",),
    "revision",
)
# Lines of which there is one for each key: the version is what never differs between two of the same key.
_JOURNAL = JOURNAL._replace(version="at_ms")
_ATTEMPTS = ATTEMPTS._replace(version="at_ms")
_CONFIRMED = CONFIRMED._replace(version="confirmed_at")
_LETTERS = DEAD_LETTERS._replace(version="attempt")
_OVERDUE = OVERDUE._replace(version="at_ms")

LIVE_TABLES = (_JOURNAL, BALANCES, PAYMENTS, _ATTEMPTS, _CONFIRMED, _LETTERS, _OVERDUE)

LIVE_TOPICS = (topics.JOURNAL, topics.BALANCES, topics.STATUS, topics.CONFIRMED, topics.OVERDUE, LETTERS)


def live_row(record: Record, event: Any) -> tuple[Table, Row] | None:
    """The row of a record of one of LIVE_TOPICS; None for one that has none, such as a tick."""
    kind = type(event)
    # Where the record was caused: the same in each of its repeats. An upsert has a revision instead.
    shard, position = (record.origin.source.partition, record.origin.offset) if record.origin else (-1, -1)
    if kind is LedgerEntry:
        return _JOURNAL, journal_row(shard, position, event)
    if kind is PaymentStatus:
        return (_ATTEMPTS, attempt_row(shard, position, event)) if event.attempt else (PAYMENTS, payment_row(event))
    if kind is AccountBalance:
        return BALANCES, balance_row(event)
    if kind is PaymentConfirmed:
        return _CONFIRMED, confirmed_row(event)
    if kind is DeadLetter:
        return _LETTERS, dead_letter_row(event)
    if kind is PaymentOverdue:
        return _OVERDUE, (event.payment_id, event.since, event.status, event.sla_ms, event.at)
    return None


def balance_row(state: AccountBalance) -> Row:
    """A published state of an account."""
    return (
        *(state.account_id, state.currency, state.balance, state.available, state.debits_pending, state.debits_posted),
        *(state.credits_posted, state.overdraft_limit, state.daily_limit, state.one_in_flight, state.closed),
        *(state.frozen, state.last_payment_id, state.revision, state.as_of),
    )


TRIAL_BALANCE = """
SELECT currency, SUM(accounts) AS accounts, SUM(in_transit) AS in_transit, SUM(outside) AS outside,
       SUM(accounts + in_transit + outside) AS total
FROM (
    SELECT currency, CASE WHEN leg IN ('CREDIT', 'UNWIND') THEN amount WHEN leg IN ('DEBIT', 'CAPTURE') THEN -amount ELSE 0 END AS accounts,
           CASE WHEN contra LIKE '~transit/%' THEN 1 ELSE 0 END
               * CASE WHEN leg IN ('CREDIT', 'UNWIND') THEN -amount WHEN leg IN ('DEBIT', 'CAPTURE') THEN amount ELSE 0 END AS in_transit,
           CASE WHEN contra LIKE '~outside/%' THEN 1 ELSE 0 END
               * CASE WHEN leg IN ('CREDIT', 'UNWIND') THEN -amount WHEN leg IN ('DEBIT', 'CAPTURE') THEN amount ELSE 0 END AS outside
    FROM journal
) AS postings
GROUP BY currency
"""


def _windows(window_ms: int) -> str:
    return f"""
SELECT start, currency, SUM(confirmed) AS confirmed, SUM(confirmed_amount) AS confirmed_amount, SUM(departed) AS departed,
       SUM(arrived) AS arrived
FROM (
    SELECT confirmed_at - confirmed_at % {window_ms} AS start, currency, 1 AS confirmed, amount AS confirmed_amount, 0 AS departed,
           0 AS arrived
    FROM confirmed
    UNION ALL
    SELECT at_ms - at_ms % {window_ms}, currency, 0, 0, CASE WHEN leg IN ('DEBIT', 'CAPTURE') THEN amount ELSE 0 END,
           CASE WHEN leg IN ('CREDIT', 'UNWIND') THEN amount ELSE 0 END
    FROM journal WHERE contra LIKE '~transit/%'
) AS flows
GROUP BY start, currency
"""


STATES = """
SELECT kind, status, COALESCE(reason, '') AS reason, currency, COUNT(*) AS count, SUM(amount) AS amount
FROM payments GROUP BY kind, status, COALESCE(reason, ''), currency
"""

LIVE_VIEWS = {
    "states": STATES,
    "trial_balance": TRIAL_BALANCE,
    "minutes": _windows(MINUTE_MS),
    "days": _windows(DAY_MS),
}
"""SQL views by name, for PostgreSQL."""
