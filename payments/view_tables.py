"""The tables of the payment views, and what they say together (P6, P7). No rows are made here: see `payments.views`.

Money is integer minor units; times are append times of the log, ms; `shard` and `position` are partition and offset. What is summed is kept
per partition, and SQL adds the partitions up: so each partition is upserted on its own, in any order and as often as one likes. Sums of
money are DECIMAL(38,0), because legal amounts add up to more than 64 bits (9,224 payments of the largest amount do).
"""

from typing import NamedTuple

from transforms.tables import Table, columns
from transforms.topic_settings import DAY_MS

JOURNAL = Table(
    "journal",
    columns(
        "account_id TEXT, version BIGINT, payment_id TEXT, leg TEXT, contra TEXT, currency TEXT, amount BIGINT, balance BIGINT, "
        "available BIGINT, pending BIGINT, contra_balance BIGINT, at_ms BIGINT, shard BIGINT, position BIGINT"
    ),
    ("account_id", "version"),
)
ACCOUNTS = Table(
    "accounts",
    columns(
        "account_id TEXT, shard BIGINT, currency TEXT, balance BIGINT, available BIGINT, pending BIGINT, debits_posted BIGINT, "
        "credits_posted BIGINT, overdraft_limit BIGINT, daily_limit BIGINT, one_in_flight BOOLEAN, closed BOOLEAN, frozen BOOLEAN, "
        "min_balance BIGINT, max_balance BIGINT, balance_sum DECIMAL(38,0), postings BIGINT, average_balance BIGINT, entries BIGINT, "
        "posted DECIMAL(38,0), journal_balance BIGINT, last_payment_id TEXT, last_payment_at BIGINT, revision BIGINT, as_of BIGINT"
    ),
    ("account_id",),
    "revision",
)
CONTRA = Table(
    "contra",
    columns("name TEXT, side TEXT, shard BIGINT, currency TEXT, balance BIGINT, position BIGINT"),
    ("name",),
    "position",
)
_STATUS = (
    "payment_id TEXT, admitted_at BIGINT, kind TEXT, status TEXT, reason TEXT, detail TEXT, reference TEXT, currency TEXT, amount BIGINT, "
    "stage TEXT, terminal BOOLEAN, at_ms BIGINT, elapsed_ms BIGINT"
)
PAYMENTS = Table("payments", columns(_STATUS + ", hop BIGINT"), ("payment_id", "admitted_at"), "hop")
ATTEMPTS = Table(
    "attempts",
    columns(
        "shard BIGINT, position BIGINT, payment_id TEXT, status TEXT, reason TEXT, original TEXT, currency TEXT, "
        "amount BIGINT, at_ms BIGINT"
    ),
    ("shard", "position"),
)
CONFIRMED = Table(
    "confirmed",
    columns(
        "payment_id TEXT, admitted_at BIGINT, kind TEXT, debtor_account TEXT, creditor_account TEXT, currency TEXT, amount BIGINT, "
        "reference TEXT, confirmed_at BIGINT, elapsed_ms BIGINT, hops BIGINT"
    ),
    ("payment_id", "admitted_at"),
)
DEAD_LETTERS = Table(
    "dead_letters",
    columns(
        "id TEXT, stage TEXT, topic TEXT, shard BIGINT, position BIGINT, at_ms BIGINT, code TEXT, detail TEXT, "
        "attempt BIGINT, key BLOB, value BLOB"
    ),
    ("id",),
)
OVERDUE = Table(
    "overdue",
    columns("payment_id TEXT, since BIGINT, status TEXT, sla_ms BIGINT, at_ms BIGINT"),
    ("payment_id", "since"),
)
STATUS_COUNTS = Table(
    "status_counts",
    columns(
        "shard BIGINT, stage TEXT, attempt BOOLEAN, kind TEXT, status TEXT, reason TEXT, currency TEXT, count BIGINT, "
        "amount DECIMAL(38,0), position BIGINT"
    ),
    ("shard", "stage", "attempt", "kind", "status", "reason", "currency"),
    "position",
)
INCOMING = Table("incoming", columns("shard BIGINT, records BIGINT"), ("shard",), "records")
FLOWS = Table(
    "flows",
    columns(
        "shard BIGINT, topic TEXT, start BIGINT, currency TEXT, flow TEXT, count BIGINT, amount DECIMAL(38,0), position BIGINT"
    ),
    ("shard", "topic", "start", "currency", "flow"),
    "position",
)

TABLES = (
    JOURNAL,
    ACCOUNTS,
    CONTRA,
    PAYMENTS,
    ATTEMPTS,
    CONFIRMED,
    DEAD_LETTERS,
    OVERDUE,
    STATUS_COUNTS,
    INCOMING,
    FLOWS,
)

FLOW_NAMES = ("admitted", "confirmed", "rejected", "departed", "arrived")
MINUTE_MS = 60_000


# --- what the tables say together, in SQL that DuckDB, SQLite and PostgreSQL know ---


def _flows_per(window_ms: int) -> str:
    """Flows per currency and window, `start <= at < start + window_ms`; a window in which nothing happened has no row.

    In flight at the end of a window = all that departed up to then - all that arrived: the sum of the in-transit accounts of all shards
    at that cut by the log's clock.
    """
    each = ", ".join(
        f"CAST(SUM(CASE WHEN flow = '{flow}' THEN count ELSE 0 END) AS BIGINT) AS {flow}, "
        f"CAST(SUM(CASE WHEN flow = '{flow}' THEN amount ELSE 0 END) AS DECIMAL(38,0)) AS {flow}_amount"
        for flow in FLOW_NAMES
    )
    names = ", ".join(f"{flow}, {flow}_amount" for flow in FLOW_NAMES)
    return f"""
SELECT start, currency, {names},
       CAST(SUM(departed - arrived) OVER (PARTITION BY currency ORDER BY start) AS BIGINT) AS in_flight,
       CAST(SUM(departed_amount - arrived_amount) OVER (PARTITION BY currency ORDER BY start) AS DECIMAL(38,0)) AS in_flight_amount
FROM (
    SELECT start - start % {window_ms} AS start, currency, {each} FROM flows GROUP BY start - start % {window_ms}, currency
) AS windows
"""


MINUTES = _flows_per(MINUTE_MS)
DAYS = _flows_per(DAY_MS)
COUNTS = """
SELECT stage, attempt, kind, status, reason, currency, CAST(SUM(count) AS BIGINT) AS count, CAST(SUM(amount) AS DECIMAL(38,0)) AS amount
FROM status_counts GROUP BY stage, attempt, kind, status, reason, currency
"""
"""How often each kind of status was said, and of how much money."""

TRIAL_BALANCE = """
SELECT currency, shard, CAST(SUM(accounts) AS DECIMAL(38,0)) AS accounts, CAST(SUM(in_transit) AS DECIMAL(38,0)) AS in_transit,
       CAST(SUM(outside) AS DECIMAL(38,0)) AS outside, CAST(SUM(accounts) + SUM(in_transit) + SUM(outside) AS DECIMAL(38,0)) AS total
FROM (
    SELECT currency, shard, COALESCE(journal_balance, 0) AS accounts, 0 AS in_transit, 0 AS outside FROM accounts
    UNION ALL
    SELECT currency, shard, 0, CASE WHEN side = 'transit' THEN balance ELSE 0 END, CASE WHEN side = 'outside' THEN balance ELSE 0 END
    FROM contra
) AS postings
GROUP BY currency, shard
"""
"""Per currency and partition: accounts + in transit + outside = 0, the accounts by their own side of each pair and the others by theirs."""

BOOKS = """
SELECT
    (SELECT COALESCE(SUM(records), 0) FROM incoming) AS incoming,
    (SELECT COALESCE(SUM(count), 0) FROM counts WHERE stage = 'payments.admission' AND NOT attempt AND status = 'ACTC') AS admitted,
    (SELECT COALESCE(SUM(count), 0) FROM counts WHERE stage = 'payments.admission' AND NOT attempt AND status = 'RJCT')
        AS rejected_at_admission,
    (SELECT COUNT(*) FROM attempts) AS duplicates,
    (SELECT COUNT(*) FROM dead_letters WHERE stage = 'payments.admission') AS dead_letters,
    (SELECT COUNT(*) FROM payments WHERE status = 'ACCC') AS confirmed,
    (SELECT COUNT(*) FROM payments WHERE status = 'RJCT' AND stage <> 'payments.admission') AS rejected_after_admission,
    (SELECT COUNT(*) FROM payments WHERE status = 'CANC') AS cancelled,
    (SELECT COUNT(*) FROM payments WHERE status = 'PDNG') AS open_holds,
    (SELECT COUNT(*) FROM payments WHERE status IN ('RCVD', 'ACTC', 'ACSP')) AS in_flight
"""
"""One row; its equations are BOOK_EQUATIONS."""

DERIVED = {"minutes": MINUTES, "days": DAYS, "counts": COUNTS, "trial_balance": TRIAL_BALANCE, "books": BOOKS}
"""SQL views by name; a later one may read an earlier one."""


class Equation(NamedTuple):
    """left = the sum of the parts."""

    left: str
    parts: tuple[str, ...]

    def holds(self, books: dict[str, int]) -> bool:
        return books[self.left] == sum(books[part] for part in self.parts)


BOOK_EQUATIONS = (
    Equation("incoming", ("admitted", "rejected_at_admission", "duplicates", "dead_letters")),
    Equation("admitted", ("confirmed", "rejected_after_admission", "cancelled", "open_holds", "in_flight")),
)
"""The books close when these hold. The first is between topics, the second between statuses said and states reached."""

BALANCE_AT = """
SELECT version, balance, available, pending, currency, at_ms, payment_id FROM journal
WHERE account_id = ? AND at_ms <= ? ORDER BY version DESC LIMIT 1
"""
"""Parameters: account, time (ms). The account's last journal entry up to that time, if there is one."""
